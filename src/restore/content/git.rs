//! A Git repository: its bundles in order, then the refs exactly as they were.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use super::fetch::ArtifactFetch;
use super::method::{ContentMethod, RestoredContent, TargetSurvey};
use super::new_directory::{NewDirectory, remove_directory};
use super::survey::ChainLink;
use super::target::{NewFile, new_path};
use super::{ContentRestoreError, ContentRestorePlan, ContentRestoreRequest};
use crate::model::{GitFacts, Manifest};
use crate::platform::{ProcessError, Program};
use crate::restore::{CreatedObject, Refusal};
use crate::run::RunContext;
use crate::source::git::{BUNDLE, GitHead, GitRefs, REFS, git};
use crate::text::{count, error_chain};

/// How long one command of Git may run.
const COMMAND: Duration = Duration::from_secs(6 * 3600);

/// A repository, as bundles.
#[derive(Clone, Copy, Debug)]
pub(super) struct GitRepository;

#[async_trait(?Send)]
impl ContentMethod for GitRepository {
    async fn survey(
        &self,
        run: &RunContext,
        request: &ContentRestoreRequest,
        chain: &[ChainLink],
    ) -> Result<TargetSurvey, ContentRestoreError> {
        // A bundle is beside the repository while it is unpacked.
        let bytes: u64 = chain.iter().map(|link| link.manifest.plain_size()).sum();
        let (path, mut refusals) = new_path(Path::new(&request.target.to), bytes.saturating_mul(2));
        if let Err(error) = git(None).arg("version").run(COMMAND, &run.cancel).await {
            refusals
                .push(Refusal::not_ready("no-git", format!("Git cannot be run: {}", error_chain(&error))));
        }
        if !request.target.paths.is_empty() || request.target.delta {
            let message = "`--path` and `--delta` are not for repositories: one is restored completely, to a new directory";
            refusals.push(Refusal::usage("whole-repository", message));
        }
        let mut notes = vec![];
        if let Some(facts) = chain.last().and_then(|link| link.details.git.as_ref()) {
            notes.push(told(facts));
        }
        Ok(TargetSurvey { to: path.display().to_string(), refusals, notes })
    }

    async fn restore(
        &self,
        fetch: &ArtifactFetch<'_>,
        plan: &ContentRestorePlan,
        created: &mut Vec<CreatedObject>,
    ) -> Result<RestoredContent, ContentRestoreError> {
        let directory = NewDirectory::create(Path::new(&plan.to))?;
        let repository = Repository { directory: directory.part(), fetch };
        let mut refs = GitRefs::default();
        for (at, link) in plan.chain.iter().enumerate() {
            let wanted = repository.refs(link).await?;
            if at == 0 {
                repository.init(&wanted).await?;
            }
            if link.manifest.artifact_of(BUNDLE).is_some() {
                repository.unbundle(link).await?;
            }
            repository.set_refs(&refs, &wanted).await?;
            refs = wanted;
        }
        let mut left_out = vec![];
        match &refs.head {
            GitHead::Ref(name) => {
                let name = String::from_utf8_lossy(name).into_owned();
                repository.run(repository.git().args(["symbolic-ref", "HEAD", &name])).await?;
            }
            GitHead::Detached(object) => {
                let set = repository.git().args(["update-ref", "--no-deref", "HEAD", object]);
                if repository.run(set).await.is_err() {
                    left_out.push("HEAD: it named a commit that no ref reaches".to_owned());
                }
            }
            GitHead::Unknown => {}
        }
        repository
            .run(repository.git().args(["fsck", "--connectivity-only", "--no-dangling", "--no-progress"]))
            .await?;
        let list = repository.git().args(["for-each-ref", "--format=%(objectname)%09%(refname)"]);
        let restored = GitRefs::parse(&repository.run(list).await?);
        if restored.as_ref().map(|restored| &restored.refs) != Ok(&refs.refs) {
            return Err(ContentRestoreError::Target(
                "the restored repository does not have exactly the refs that were recorded".to_owned(),
            ));
        }
        created.push(directory.publish(&fetch.run.id)?);
        let [branches, tags, others] = refs.counts();
        let counts = vec![told(&GitFacts { branches, tags, others, ..GitFacts::default() })];
        let mut notes = vec![format!("`git -C {} push --mirror URL` publishes it", plan.to)];
        if let Some(facts) = plan.chain.last().and_then(|link| link.details.git.as_ref()) {
            if facts.uses_lfs {
                notes.push("the contents of its Git LFS files are not in the backup".to_owned());
            }
            notes.extend(
                facts.submodules.iter().map(|name| format!("a submodule is not in the backup: {name}")),
            );
        }
        Ok(RestoredContent { counts, left_out, notes, ..RestoredContent::default() })
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        remove_directory(object, &run.id)
    }
}

fn told(facts: &GitFacts) -> String {
    let others = count(facts.others, "other ref");
    let branches =
        if facts.branches == 1 { "1 branch".to_owned() } else { format!("{} branches", facts.branches) };
    format!("{branches}, {}, {others}", count(facts.tags, "tag"))
}

/// A repository that is being restored.
struct Repository<'a> {
    directory: &'a Path,
    fetch: &'a ArtifactFetch<'a>,
}

impl Repository<'_> {
    fn git(&self) -> Program {
        // What only refs of an earlier backup reach is needed until the last one.
        git(Some(self.directory)).args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"])
    }

    async fn run(&self, program: Program) -> Result<Vec<u8>, ContentRestoreError> {
        match program.run_bytes(COMMAND, &self.fetch.run.cancel).await {
            Ok((bytes, _)) => Ok(bytes),
            Err(ProcessError::Interrupted { .. }) => Err(ContentRestoreError::Interrupted),
            Err(error) => Err(ContentRestoreError::Target(error_chain(&error))),
        }
    }

    async fn init(&self, refs: &GitRefs) -> Result<(), ContentRestoreError> {
        let format = if refs.is_sha256() { "sha256" } else { "sha1" };
        let init =
            git(None).args(["init", "--quiet", "--bare", "--template=", "--object-format", format, "--"]);
        self.run(init.arg(self.directory)).await.map(drop)
    }

    /// Reads the refs that a backup recorded.
    async fn refs(&self, link: &ChainLink) -> Result<GitRefs, ContentRestoreError> {
        let artifact = artifact(&link.manifest, REFS)?;
        let text = self.fetch.consume(link, artifact, |plain| {
            let mut text = Vec::new();
            plain.read_to_end(&mut text).map_err(super::fetch::ConsumeError::Read)?;
            Ok(text)
        });
        GitRefs::parse(&text.await?).map_err(|error| ContentRestoreError::Details {
            artifact: artifact.name.clone(),
            reason: error.to_string(),
        })
    }

    async fn unbundle(&self, link: &ChainLink) -> Result<(), ContentRestoreError> {
        let artifact = artifact(&link.manifest, BUNDLE)?;
        let path: PathBuf = self.directory.join("drctl.bundle");
        // Removed when this ends: it is never published.
        let file = NewFile::create(&path)?;
        let writer = file.writer()?;
        self.fetch.consume(link, artifact, move |plain| writer.write(plain)).await?;
        self.run(self.git().args(["bundle", "unbundle"]).arg(file.part())).await.map(drop)
    }

    /// In two transactions: a ref may have taken the place of the directory of another.
    async fn set_refs(&self, before: &GitRefs, wanted: &GitRefs) -> Result<(), ContentRestoreError> {
        for commands in [before.delete_commands(), wanted.create_commands()] {
            if !commands.is_empty() {
                self.run(self.git().args(["update-ref", "--stdin", "-z"]).input(commands)).await?;
            }
        }
        Ok(())
    }
}

fn artifact<'m>(
    manifest: &'m Manifest,
    name: &str,
) -> Result<&'m crate::model::Artifact, ContentRestoreError> {
    let found = manifest.artifact_of(name);
    found.ok_or_else(|| ContentRestoreError::NoArtifact { artifact: name.to_owned() })
}
