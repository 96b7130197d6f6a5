//! What a command writes on its standard output, as one artifact.

use std::io::Read;

use async_trait::async_trait;
use thiserror::Error;

use super::capture::{ArtifactSink, Capture, CaptureContext, Captured, SinkError, Source, SourceError};
use super::deadline::Deadline;
use super::manual_restore::{IN_DIRECTORY, plain};
use crate::event::{Phase, PhaseTimer};
use crate::model::BackupKind;
use crate::pipeline::Produce;
use crate::platform::{CancellationToken, Piped, ProcessError, Program, SecretError};
use crate::policy::CommandSource;
use crate::text::format_duration;

/// How many lines of its standard error are kept.
const STDERR_LINES: usize = 20;

/// A source that is a command.
#[derive(Debug)]
pub(super) struct CommandBackups {
    pub(super) kinds: Vec<BackupKind>,
    pub(super) config: CommandSource,
}

/// Why a command's output could not be captured.
#[derive(Debug, Error)]
pub enum CommandError {
    #[error("the policy names no program")]
    NoProgram,
    #[error("failed to get the environment variable `{name}` of the command")]
    Environment { name: String, source: SecretError },
    #[error("failed to run the command")]
    Start(#[source] ProcessError),
    #[error("failed to store what the command writes")]
    Store(#[source] SinkError),
    #[error("the command did not end in {}", format_duration(*.0))]
    Deadline(std::time::Duration),
    #[error("the command wrote nothing: an empty output would hide that it failed")]
    Empty,
    #[error("interrupted")]
    Interrupted,
}

#[async_trait(?Send)]
impl Source for CommandBackups {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn prepare(&self, _kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        let program = program(&self.config, &self.config.command).await.map_err(SourceError::new)?;
        Ok(Box::new(CommandCapture { program, config: &self.config }))
    }
}

/// Returns a command of the source with its environment.
pub async fn program(config: &CommandSource, words: &[String]) -> Result<Program, CommandError> {
    let [path, arguments @ ..] = words else { return Err(CommandError::NoProgram) };
    let mut program = Program::new(path).args(arguments).keep_stderr(STDERR_LINES);
    for (name, reference) in &config.environment {
        let value = reference.resolve().await;
        let value = value.map_err(|source| CommandError::Environment { name: name.clone(), source })?;
        program = program.secret_env(name, &value);
    }
    Ok(program)
}

struct CommandCapture<'c> {
    program: Program,
    config: &'c CommandSource,
}

#[async_trait(?Send)]
impl Capture for CommandCapture<'_> {
    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        let mut phases = PhaseTimer::new(context.events);
        phases.begin(Phase::Capture);
        let begun = context.clock.now();
        let deadline = Deadline::begin(self.config.deadline, context.cancel);
        let stored = self.store(sink, deadline.stop()).await;
        let artifact = match stored {
            Ok(artifact) => artifact,
            Err(_) if context.cancel.is_cancelled() => {
                return Err(SourceError::new(CommandError::Interrupted));
            }
            Err(_) if deadline.is_over() => {
                return Err(SourceError::new(CommandError::Deadline(self.config.deadline)));
            }
            Err(error) => return Err(SourceError::new(error)),
        };
        phases.end();
        let commands = vec![
            IN_DIRECTORY.to_owned(),
            format!("{} > {}", plain(&artifact), self.config.file_name),
            format!("echo '{}  {}' | sha256sum --check", artifact.plain.sha256, self.config.file_name),
        ];
        let captured = Captured::of_content(begun, self.program.name(), vec![artifact]);
        Ok(Captured { manual_restore: commands, ..captured })
    }
}

impl CommandCapture<'_> {
    async fn store(
        &self,
        sink: &mut dyn ArtifactSink,
        stop: &CancellationToken,
    ) -> Result<crate::model::Artifact, CommandError> {
        let child = self.program.pipe(stop).map_err(CommandError::Start)?;
        let artifact = sink.store(&self.config.file_name, Box::new(NotEmpty { child, read: 0 }), None).await;
        artifact.map_err(CommandError::Store)
    }
}

/// Fails where the child writes nothing.
struct NotEmpty {
    child: Piped,
    read: usize,
}

impl Read for NotEmpty {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.child.read(buffer)?;
        self.read = self.read.saturating_add(count);
        Ok(count)
    }
}

impl Produce for NotEmpty {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        let lines = self.child.finish()?;
        if self.read == 0 {
            return Err(Box::new(CommandError::Empty));
        }
        Ok(lines)
    }
}
