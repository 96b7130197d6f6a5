use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use super::bundle::BundleScope;
use super::error::GitError;
use super::mirror::Mirror;
use super::program::{Login, git};
use super::refs::{GitHead, GitRefs};
use super::{BUNDLE, REFS, manual_restore, remote};
use crate::event::{Phase, PhaseTimer};
use crate::model::{BackupId, BackupKind, Details, GitFacts};
use crate::pipeline::MemoryProducer;
use crate::platform::{CancellationToken, state_directory};
use crate::policy::GitSource;
use crate::source::capture::{
    ArtifactSink, Capture, CaptureContext, Captured, DETAILS, Requirements, Source, SourceError,
};
use crate::source::content_state::{StateWriter, announce, read_state};
use crate::source::deadline::Deadline;
use crate::source::incremental::{BaseScope, ContentSupport, IncrementalSupport};
use crate::text::count;

/// How long a remote may take to list its refs.
const ANSWER: Duration = Duration::from_secs(120);
/// Of how many branches the newest commit is searched for what is in other places.
const BRANCHES: usize = 100;

/// A source that is a Git repository.
#[derive(Debug)]
pub(crate) struct GitBackups {
    pub(crate) kinds: Vec<BackupKind>,
    pub(crate) config: GitSource,
}

#[async_trait(?Send)]
impl Source for GitBackups {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn prepare(&self, _kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        if self.config.remote.starts_with('-') {
            return Err(SourceError::new(GitError::Option { remote: self.config.remote.clone() }));
        }
        let login = Login::of(&self.config).await.map_err(SourceError::new)?;
        let deadline = Deadline::begin(self.config.deadline.min(ANSWER), &CancellationToken::new());
        let listed = remote::list(&self.config.remote, &login, &deadline).await.map_err(SourceError::new)?;
        Ok(Box::new(GitCapture { config: &self.config, login, listed }))
    }
}

struct GitCapture<'c> {
    config: &'c GitSource,
    login: Login,
    /// The remote's refs when it was asked whether it can be read.
    listed: GitRefs,
}

#[async_trait(?Send)]
impl Capture for GitCapture<'_> {
    fn requirements(&self) -> Requirements {
        Requirements {
            incremental: Some(IncrementalSupport::Content(ContentSupport {
                kind: BackupKind::Git,
                most: self.config.incrementals,
                fingerprint: self.config.remote.clone(),
                check,
                // A bundle repeats nothing of those before it, so that increments never outgrow what they build on.
                weigh: |_| 0,
            })),
            ..Requirements::default()
        }
    }

    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        let deadline = Deadline::begin(self.config.deadline, context.cancel);
        match self.capture(context, sink, &deadline).await {
            Ok(captured) => Ok(captured),
            Err(_) if context.cancel.is_cancelled() => Err(SourceError::new(GitError::Interrupted)),
            Err(_) if deadline.is_over() => Err(SourceError::new(GitError::Deadline(self.config.deadline))),
            Err(error) => Err(SourceError::new(error)),
        }
    }
}

/// Returns why the state that is kept of a backup cannot be used.
fn check(state: &Path, backup: &BackupId, remote: &str) -> Result<(), String> {
    refs_of(state, backup, remote).map(drop)
}

/// Returns the refs that a backup has, by its state.
fn refs_of(state: &Path, backup: &BackupId, remote: &str) -> Result<GitRefs, String> {
    let mut text = vec![];
    read_state(state, backup, remote, |line| {
        text.extend_from_slice(line);
        text.push(b'\n');
        Ok(())
    })?;
    GitRefs::parse(&text).map_err(|error| format!("its state `{}`: {error}", state.display()))
}

impl GitCapture<'_> {
    async fn capture(
        &self,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
        deadline: &Deadline,
    ) -> Result<Captured, GitError> {
        let mut phases = PhaseTimer::new(context.events);
        phases.begin(Phase::Fetch);
        let begun = context.clock.now();
        announce(context.base, context.events);
        let naming = context.naming;
        let folder = state_directory().join("git").join(naming.system.as_str()).join(naming.source.as_str());
        let directory = folder.join("mirror.git");
        let (remote, login) = (&self.config.remote, &self.login);
        let mirror = Mirror::fetch(&directory, remote, &self.listed, login, deadline, context.events).await?;
        phases.begin(Phase::Capture);
        let since = context.base.since();
        let mut warnings = vec![];
        let scope = match since {
            Some(since) => {
                // It was inspected when the parent was chosen.
                let before =
                    refs_of(&since.list, &since.manifest.id, &self.config.remote).unwrap_or_default();
                warnings.extend(lost_refs(&before, &mirror.refs));
                BundleScope { known: known(before, &mirror, deadline).await? }
            }
            None => BundleScope { known: vec![] },
        };
        let mut artifacts = vec![];
        if since.is_none() || scope.has_objects(&mirror, deadline).await? {
            let estimate = if since.is_none() { mirror.size(deadline).await } else { None };
            let stream = scope.stream(&mirror, deadline).await?;
            artifacts.push(sink.store(BUNDLE, Box::new(stream), estimate).await.map_err(GitError::Store)?);
        }
        let refs = Box::new(MemoryProducer::new(mirror.refs.to_bytes()));
        artifacts.push(sink.store(REFS, refs, None).await.map_err(GitError::Store)?);
        phases.begin(Phase::Details);
        let (facts, excluded) = facts(&mirror, deadline).await?;
        let details = Details { git: Some(facts), ..Details::default() };
        let text = serde_json::to_vec(&details).map_err(|error| GitError::Store(error.into()))?;
        let details = sink.store(DETAILS, Box::new(MemoryProducer::new(text)), None).await;
        artifacts.push(details.map_err(GitError::Store)?);
        phases.end();
        if let Some(path) = &context.base.keep {
            // Where it cannot be kept, the commit says so, and the next backup is a full one.
            let _kept = self.keep(path, naming.backup, &mirror.refs);
        }
        let chain = match &context.base.scope {
            BaseScope::Incremental { since, .. } => since.chain.as_deref().unwrap_or_default(),
            BaseScope::Full(_) => &[],
        };
        let manual_restore = manual_restore::commands(chain, &artifacts, mirror.refs.is_sha256());
        let version = mirror.read(&git(None).arg("version"), deadline).await?;
        let producer = String::from_utf8_lossy(&version).trim().to_owned();
        let captured = Captured::of_content(begun, producer, artifacts);
        let parent = since.map(|since| since.manifest.id.clone());
        Ok(Captured { parent, manual_restore, excluded, warnings, ..captured })
    }

    fn keep(&self, path: &Path, backup: &BackupId, refs: &GitRefs) -> std::io::Result<()> {
        let mut state = StateWriter::begin(path, backup, &self.config.remote)?;
        for line in refs.to_bytes().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            state.line(line)?;
        }
        state.end()
    }
}

/// Returns what the parent's refs named and the mirror still has.
async fn known(before: GitRefs, mirror: &Mirror, deadline: &Deadline) -> Result<Vec<String>, GitError> {
    let input: Vec<u8> = before.refs.values().flat_map(|object| format!("{object}\n").into_bytes()).collect();
    let check = mirror.git().args(["cat-file", "--batch-check"]).input(input);
    let answer = mirror.read(&check, deadline).await?;
    let mut known: Vec<String> = String::from_utf8_lossy(&answer)
        .lines()
        .filter(|line| !line.ends_with(" missing"))
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect();
    known.sort();
    known.dedup();
    Ok(known)
}

/// Warns where most of the refs are gone. Without their names: the journal is not encrypted.
fn lost_refs(before: &GitRefs, now: &GitRefs) -> Option<String> {
    let lost = before.refs.keys().filter(|name| !now.refs.contains_key(*name)).count();
    (lost >= 10 && lost > now.refs.len()).then(|| {
        let left = count(now.refs.len() as u64, "ref");
        format!("{lost} refs of the backup before are not in the remote any more, and it has {left} now: the backup before still has them")
    })
}

/// Returns what was captured, and what of it is in other places.
async fn facts(mirror: &Mirror, deadline: &Deadline) -> Result<(GitFacts, Vec<String>), GitError> {
    let refs = &mirror.refs;
    let head_object = match &refs.head {
        GitHead::Ref(name) => refs.refs.get(name),
        GitHead::Detached(object) => refs.refs.values().find(|tip| *tip == object),
        GitHead::Unknown => None,
    };
    let branches = refs.refs.iter().filter(|(name, _)| name.starts_with(b"refs/heads/"));
    let mut tips: Vec<&String> = head_object.into_iter().chain(branches.map(|(_, tip)| tip)).collect();
    tips.truncate(BRANCHES);
    let mut excluded = vec![];
    let mut grep = mirror.git().args(["grep", "--files-with-matches", "--fixed-strings", "-e", "filter=lfs"]);
    grep = grep.args(&tips).args(["--", ":(glob)**/.gitattributes"]);
    let uses_lfs = !tips.is_empty() && !mirror.found(&grep, deadline).await?.is_empty();
    if uses_lfs {
        excluded.push(
            "Git LFS is used: the contents of its files are on another server, and the backup has their pointers only".to_owned(),
        );
    }
    let mut submodules = vec![];
    if let Some(head) = head_object {
        let config = mirror.git().args(["config", "--blob"]).arg(format!("{head}:.gitmodules"));
        let config = config.args(["--get-regexp", r"^submodule\..*\.url$"]);
        let has_file = mirror.git().args(["ls-tree", "--name-only", head, ".gitmodules"]);
        if !mirror.found(&has_file, deadline).await?.is_empty() {
            let lines = mirror.found(&config, deadline).await?;
            submodules = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        }
    }
    if !submodules.is_empty() {
        let number = count(submodules.len() as u64, "submodule");
        excluded.push(format!("{number}: each is a repository of its own, and needs a source of its own"));
    }
    let [branches, tags, others] = refs.counts();
    Ok((GitFacts { branches, tags, others, uses_lfs, submodules }, excluded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_that_lost_most_of_its_refs_is_warned_of() {
        let refs = |count: usize| GitRefs {
            refs: (0..count).map(|n| (format!("refs/heads/{n}").into_bytes(), "1".repeat(40))).collect(),
            ..GitRefs::default()
        };
        assert_eq!(lost_refs(&refs(30), &refs(16)), None);
        assert_eq!(lost_refs(&refs(5), &refs(1)), None);
        assert_eq!(lost_refs(&refs(1), &refs(30)), None);
        assert!(lost_refs(&refs(30), &refs(1)).unwrap().contains("it has 1 ref now"));
    }
}
