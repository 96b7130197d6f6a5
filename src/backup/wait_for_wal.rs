use std::time::Duration;

use super::MissingRepository;
use super::run::Run;
use crate::event::{Phase, PhaseTimer};
use crate::model::{Manifest, Physical, RepositoryName, SourceName};
use crate::pipeline::Identities;
use crate::policy::Source;
use crate::repository::Repository;
use crate::text::{error_chain, format_duration};
use crate::wal::{self, Archive};

const STEP: Duration = Duration::from_millis(500);
/// For a listing.
const ASKED_WITHIN: Duration = Duration::from_secs(60);

impl Run<'_> {
    /// Waits until the log that a base backup needs is in every repository that has the backup. Gives those
    /// where it is not, and why.
    pub(super) async fn await_log(
        &self,
        manifest: &Manifest,
        held: &[RepositoryName],
    ) -> Vec<MissingRepository> {
        let Some(physical) = &manifest.physical else { return vec![] };
        let Some(archive) = Archive::of(manifest) else {
            let reason = "nobody knows whose log it needs: the server's system identifier could not be read";
            let missing = |name: &RepositoryName| MissingRepository {
                repository: name.clone(),
                reason: reason.to_owned(),
            };
            return held.iter().map(missing).collect();
        };
        let within = self.log_wait(&manifest.source);
        let begun = std::time::Instant::now();
        let mut phases = PhaseTimer::new(self.events);
        phases.begin(Phase::AwaitLog);
        let mut waiting: Vec<&Repository> =
            self.repositories.iter().filter(|repository| held.contains(&repository.name)).collect();
        let missing = loop {
            let mut missing = Vec::new();
            let mut left = Vec::new();
            for repository in waiting {
                if let Some(reason) = lacking(repository, &archive, physical).await {
                    missing.push(MissingRepository { repository: repository.name.clone(), reason });
                    left.push(repository);
                }
            }
            waiting = left;
            if waiting.is_empty() || begun.elapsed() > within {
                break missing;
            }
            tokio::select! {
                () = tokio::time::sleep(STEP) => {}
                () = self.cancel.cancelled() => break missing,
            }
        };
        phases.end();
        missing
    }

    fn log_wait(&self, source: &SourceName) -> Duration {
        let base = self.policy.source(source).and_then(Source::base);
        base.map(|base| base.log_wait).unwrap_or_default()
    }
}

async fn lacking(repository: &Repository, archive: &Archive, physical: &Physical) -> Option<String> {
    let identities = Identities::default();
    let asked = wal::lacking(&*repository.store, archive, physical, &identities);
    match tokio::time::timeout(ASKED_WITHIN, asked).await {
        Ok(Ok(lacking)) => lacking.map(|lacking| lacking.to_string()),
        Ok(Err(error)) => Some(error_chain(&error)),
        Err(_) => {
            Some(format!("it did not say what write-ahead log it has in {}", format_duration(ASKED_WITHIN)))
        }
    }
}
