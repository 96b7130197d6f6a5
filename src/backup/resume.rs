use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::execute::Run;
use crate::model::{BackupId, BackupKind};
use crate::policy::Source;
use crate::repository::Listing;
use crate::source::{self, SourceError};

/// A snapshot that is older was not left by a run of these days: its manifest was lost, and is not made up.
/// AWS Backup itself says how a resource was set up, whatever a recovery point's age.
const GONE_ON_WITH: TimeDelta = TimeDelta::hours(48);

/// What earlier runs began in AWS and did not commit.
#[derive(Debug, Default)]
pub(super) struct ResumableBackup {
    /// Oldest first.
    pub(super) backups: Vec<BackupId>,
    /// The newest of them is as good as a new one: its data is inside of the RPO.
    pub(super) is_enough: bool,
}

impl Run<'_> {
    pub(super) async fn due(
        &self,
        source: &Source,
        kind: BackupKind,
    ) -> Result<ResumableBackup, SourceError> {
        let begun = source::begun(source, kind, &self.policy.system, self.events, self.cancel).await?;
        if begun.is_empty() {
            return Ok(ResumableBackup::default());
        }
        // A manifest that cannot be seen now may stand all the same, and a second one would contradict it.
        let Some(committed) = self.committed(source).await else { return Ok(ResumableBackup::default()) };
        let now = self.clock.now();
        let (backups, old): (Vec<_>, Vec<_>) = begun
            .into_iter()
            .filter(|backup| !committed.contains(backup))
            .partition(|backup| kind != BackupKind::Snapshot || now - backup.begun() < GONE_ON_WITH);
        for backup in old {
            self.events.warning(format!(
                "{backup} is in AWS, and no repository has its manifest: it is too old to go on with, since how the database was set up then is not known"
            ));
        }
        let age = backups.last().and_then(|newest| (now - newest.begun()).to_std().ok());
        let is_enough = age.is_some_and(|age| age < self.policy.objectives.rpo);
        Ok(ResumableBackup { backups, is_enough })
    }

    /// Every backup of the source in any repository; `None` where one of them could not be asked.
    async fn committed(&self, source: &Source) -> Option<BTreeSet<BackupId>> {
        let unknown = |name: &str, reason: String| {
            self.events.warning(format!(
                "repository {name} cannot say which backups of {} it has, so none that an earlier run began is gone on with: {reason}",
                source.name
            ));
        };
        if let Some(lost) = self.repositories.lost().first() {
            unknown(lost.name.as_str(), lost.reason());
            return None;
        }
        let listing = Listing::of_source(&self.repositories, &self.policy.system, &source.name).await;
        if let Some(lost) = listing.unlisted.first() {
            unknown(lost.name.as_str(), lost.reason());
            return None;
        }
        Some(listing.holders().into_keys().collect())
    }
}
