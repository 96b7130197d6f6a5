use std::collections::BTreeSet;

use super::run::Run;
use super::{PlannedSource, SourcePlan};
use crate::model::{BackupId, BackupKind};
use crate::policy::Source;
use crate::repository::Listing;
use crate::source::{SourceContext, SourceError};

impl Run<'_> {
    /// Queries the service for backups of earlier runs, and decides what this one takes.
    pub(super) async fn plan_source(
        &self,
        planned: &PlannedSource,
        kind: BackupKind,
    ) -> Result<SourcePlan, SourceError> {
        let source = &planned.source;
        let context = SourceContext {
            system: &self.policy.system,
            source: &source.name,
            events: self.events,
            cancel: self.cancel,
        };
        let in_flight = planned.opened.in_flight(kind, &context).await?;
        let committed =
            if in_flight.is_empty() { Some(BTreeSet::new()) } else { self.committed(source).await };
        let (rpo, now) = (self.policy.objectives.rpo, self.clock.now());
        let plan = SourcePlan::new(kind, in_flight, committed.as_ref(), rpo, now);
        for backup in &plan.orphaned {
            self.events.warning(format!(
                "orphaned snapshot {backup}: no repository has its manifest, and it is too old to be resumed, since its settings at that time are not known"
            ));
        }
        Ok(plan)
    }

    /// Returns every backup of the source in any repository; `None` where one of them could not be queried.
    async fn committed(&self, source: &Source) -> Option<BTreeSet<BackupId>> {
        let unknown = |name: &str, reason: String| {
            self.events.warning(format!(
                "repository {name} cannot say which backups of {} it has, so none that an interrupted run began is resumed: {reason}",
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
