use super::prepare::SnapshotCapture;
use crate::aws::rds::{Rds, Snapshot, SnapshotId};
use crate::aws::{PollError, Waiter};
use crate::event::Events;
use crate::source::capture::CaptureContext;
use crate::text::error_chain;

impl SnapshotCapture<'_> {
    pub(super) fn waiter<'a>(&self, context: &CaptureContext<'a>) -> Waiter<'a> {
        Waiter { poll: self.poll, events: context.events, cancel: context.cancel }
    }

    /// Waits until a snapshot, or its copy in another region, is available.
    pub(super) async fn wait(
        &self,
        rds: &Rds,
        id: &SnapshotId,
        context: &CaptureContext<'_>,
    ) -> Result<Snapshot, PollError> {
        let subject = format!("snapshot `{}` in {}", id.as_str(), rds.region());
        self.waiter(context).until(&subject, async || rds.snapshot(id).await, Snapshot::seen).await
    }
}

/// Warns before the quota of manual snapshots blocks backups: only retention deletes old ones.
pub(super) async fn warn_of_quota(rds: &Rds, like: &SnapshotId, events: &Events) {
    match rds.snapshot_quota(like).await {
        Ok(Some((used, most))) if used * 5 >= most * 4 => events.warning(format!(
            "{used} of {most} manual snapshots{} are used in {}: have AWS raise the quota, or keep fewer (`drctl retention plan`), before it ends the backups",
            if matches!(like, SnapshotId::Cluster(_)) { " of clusters" } else { "" },
            rds.region()
        )),
        Ok(_) => {}
        Err(failure) => tracing::info!("{}", error_chain(&failure)),
    }
}
