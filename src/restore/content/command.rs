//! What a command wrote: into a file, or into the source's `restore_command`.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use async_trait::async_trait;

use super::fetch::{ArtifactFetch, ConsumeError};
use super::method::{ContentMethod, RestoredContent, TargetSurvey};
use super::survey::ChainLink;
use super::target::{NewFile, lacks_room, new_path};
use super::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::model::{Artifact, Manifest};
use crate::platform::{PipeStdinError, ProcessError, scratch_directory};
use crate::policy::{CommandSource, SourceConfig};
use crate::restore::teardown::not_of_this_method;
use crate::restore::{CreatedObject, Refusal};
use crate::run::RunContext;
use crate::source::{DETAILS, command_program};
use crate::text::error_chain;

/// What `--to` is called where the source's `restore_command` takes the data.
const TO_COMMAND: &str = "restore_command";

/// The output of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandOutput;

#[async_trait(?Send)]
impl ContentMethod for CommandOutput {
    async fn survey(
        &self,
        _run: &RunContext,
        request: &ContentRestoreRequest,
        chain: &[ChainLink],
    ) -> Result<TargetSurvey, ContentRestoreError> {
        let mut survey = TargetSurvey { to: request.target.to.clone(), ..TargetSurvey::default() };
        let bytes = chain.iter().map(|link| link.manifest.plain_size()).sum();
        if request.target.to == TO_COMMAND {
            match restore_command(request) {
                Some(config) => {
                    survey.to = format!("`{}`", config.restore_command.join(" "));
                    survey.refusals.extend(lacks_room(&scratch_directory(), bytes));
                    survey.notes.push(
                        "the command is started only when the whole output was read and verified".to_owned(),
                    );
                }
                None => survey.refusals.push(Refusal::usage(
                    "no-restore-command",
                    format!("the policy names no `restore_command` for `{}`", request.source),
                )),
            }
        } else {
            let (path, refusals) = new_path(Path::new(&request.target.to), bytes);
            survey.to = path.display().to_string();
            survey.refusals.extend(refusals);
        }
        Ok(survey)
    }

    async fn restore(
        &self,
        fetch: &ArtifactFetch<'_>,
        plan: &ContentRestorePlan,
        created: &mut Vec<CreatedObject>,
    ) -> Result<RestoredContent, ContentRestoreError> {
        let [link, ..] = &plan.chain[..] else {
            return Err(ContentRestoreError::NoArtifact { artifact: "output".to_owned() });
        };
        let artifact = output(&link.manifest)?;
        let counts = vec![format!("{} bytes", artifact.plain.size)];
        match restore_command(&plan.request).filter(|_| plan.request.target.to == TO_COMMAND) {
            Some(config) => run_command(fetch, link, artifact, config).await?,
            None => {
                let path = PathBuf::from(&plan.to);
                let file = NewFile::create(&path)?;
                let writer = file.writer()?;
                fetch.consume(link, artifact, move |plain| writer.write(plain)).await?;
                file.publish()?;
                created.push(CreatedObject::File { path, run: fetch.run.id.clone() });
            }
        }
        Ok(RestoredContent { counts, ..RestoredContent::default() })
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        match object {
            CreatedObject::File { path, run: by } if *by == run.id => {
                std::fs::remove_file(path).map_err(|error| error.to_string())
            }
            _ => Err(not_of_this_method()),
        }
    }
}

fn restore_command(request: &ContentRestoreRequest) -> Option<&CommandSource> {
    match request.config.as_ref()? {
        SourceConfig::Command(config) if !config.restore_command.is_empty() => Some(config),
        _ => None,
    }
}

/// The only artifact beside the details.
fn output(manifest: &Manifest) -> Result<&Artifact, ContentRestoreError> {
    let is_output = |artifact: &&Artifact| !artifact.name.starts_with(DETAILS);
    let found = manifest.artifacts.iter().find(is_output);
    found.ok_or_else(|| ContentRestoreError::NoArtifact { artifact: "output".to_owned() })
}

/// A program that was given half of its input cannot be given it again: it is fetched whole first.
async fn run_command(
    fetch: &ArtifactFetch<'_>,
    link: &ChainLink,
    artifact: &Artifact,
    config: &CommandSource,
) -> Result<(), ContentRestoreError> {
    let target = |error: &(dyn std::error::Error + 'static)| ContentRestoreError::Target(error_chain(error));
    let directory = scratch_directory();
    let written = |source| ContentRestoreError::Write { path: directory.clone(), source };
    let scratch = tempfile::tempfile_in(&directory).map_err(written)?;
    let shared = Mutex::new(scratch.try_clone().map_err(written)?);
    let in_scratch = directory.clone();
    let copied = fetch.consume(link, artifact, move |plain| {
        let failed =
            |source| ConsumeError::Target(ContentRestoreError::Write { path: in_scratch.clone(), source });
        let mut file = shared.lock().map_err(|_| failed(io::Error::other("poisoned")))?;
        rewind(&mut file).map_err(failed)?;
        super::target::copy(plain, &mut *file, &in_scratch)
    });
    copied.await?;
    let mut scratch = scratch;
    scratch.seek(SeekFrom::Start(0)).map_err(written)?;
    let program = command_program(config, &config.restore_command).await.map_err(|error| target(&error))?;
    match program.feed(scratch, config.deadline, &fetch.run.cancel).await {
        Ok(_) => Ok(()),
        Err(PipeStdinError::Process(ProcessError::Interrupted { .. })) => {
            Err(ContentRestoreError::Interrupted)
        }
        Err(error) => Err(target(&error)),
    }
}

fn rewind(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0)).map(|_| ())
}
