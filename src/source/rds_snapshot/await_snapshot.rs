use super::prepare::SnapshotCapture;
use crate::aws::rds::{Rds, Snapshot, SnapshotId};
use crate::aws::{PollError, PolledState};
use crate::event::Events;
use crate::platform::CancellationToken;
use crate::text::error_chain;

/// Waits until a snapshot, or its copy in another region, is available.
pub(super) async fn wait(
    rds: &Rds,
    id: &SnapshotId,
    prepared: &SnapshotCapture<'_>,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Snapshot, PollError> {
    let subject = format!("snapshot `{}` in {}", id.as_str(), rds.region());
    let ask = async || Ok(rds.snapshot(id).await?.map_or(PolledState::Absent, Snapshot::seen));
    prepared.poll.wait(&subject, events, cancel, ask).await
}

/// Warns before the quota of manual snapshots ends the backups: only retention removes old ones.
pub(super) async fn warn_of_quota(rds: &Rds, like: &SnapshotId, events: &Events) {
    match rds.snapshot_quota(like).await {
        Ok(Some((used, most))) if used * 5 >= most * 4 => events.warning(format!(
            "{used} of {most} manual snapshots{} are used in {}: have AWS raise the quota, or remove old ones, before it ends the backups",
            if matches!(like, SnapshotId::Cluster(_)) { " of clusters" } else { "" },
            rds.region()
        )),
        Ok(_) => {}
        Err(failure) => tracing::info!("{}", error_chain(&failure)),
    }
}
