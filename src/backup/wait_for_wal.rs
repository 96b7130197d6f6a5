use std::time::Duration;

use super::MissingRepository;
use super::run::Run;
use crate::event::{Phase, PhaseTimer};
use crate::model::{Manifest, RepositoryName, SourceName};
use crate::policy::Source;
use crate::recoverability::missing_wal::Obstacle;
use crate::recoverability::survey::missing_of;
use crate::repository::Repository;
use crate::wal::Archive;

const STEP: Duration = Duration::from_millis(500);

impl Run<'_> {
    /// Waits until the WAL that a base backup needs is in every repository that has the backup. Returns those
    /// where it is missing, or is of another server, and why.
    pub(super) async fn wait_for_wal(
        &self,
        manifest: &Manifest,
        held: &[RepositoryName],
    ) -> Vec<MissingRepository> {
        if manifest.physical.is_none() {
            return vec![];
        }
        let Some(archive) = Archive::from_manifest(manifest) else {
            let reason = "the WAL it needs is not known: the server's system identifier could not be read";
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
        let mut never = Vec::new();
        let missing = loop {
            let mut missing = Vec::new();
            let mut left = Vec::new();
            for repository in waiting {
                if let Some(obstacle) = missing_of(repository, &archive, manifest).await {
                    let reason = obstacle.to_string();
                    let lacking = MissingRepository { repository: repository.name.clone(), reason };
                    // What is archived there already does not change.
                    if matches!(obstacle, Obstacle::OtherHistory(_)) {
                        never.push(lacking);
                    } else {
                        missing.push(lacking);
                        left.push(repository);
                    }
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
        never.extend(missing);
        never
    }

    fn log_wait(&self, source: &SourceName) -> Duration {
        let base = self.policy.source(source).and_then(Source::base);
        base.map(|base| base.wal_wait).unwrap_or_default()
    }
}
