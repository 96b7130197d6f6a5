use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::error::BackupError;
use crate::platform::Clock;
use crate::repository::{Repositories, Repository};
use crate::store::{StoreError, require_admin};

/// How far this host's clock may be from a store's. S3 itself refuses at 15 minutes; backup ids, object
/// locks and retention go wrong before.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// For the time of a store, at most.
const CLOCK_WITHIN: Duration = Duration::from_secs(15);

/// Compares this host's clock with those of the stores, all at once. A store that does not answer soon is not judged
/// here, and not waited for: opening it says what is wrong with it, after all its retries.
pub(super) async fn check_clocks(
    repositories: &Repositories,
    stall: Duration,
    clock: &dyn Clock,
) -> Result<(), BackupError> {
    let within = (stall / 8).min(CLOCK_WITHIN);
    let asked = repositories
        .iter()
        .map(async |repository| (repository, tokio::time::timeout(within, server_time(repository)).await));
    for (repository, told) in join_all(asked).await {
        let Ok(Ok(theirs)) = told else { continue };
        let skew = clock.now() - theirs;
        if skew.abs() > CLOCK_TOLERANCE {
            return Err(BackupError::Clock { repository: repository.name.clone(), skew });
        }
    }
    Ok(())
}

async fn server_time(repository: &Repository) -> Result<DateTime<Utc>, StoreError> {
    require_admin(&*repository.store)?.server_time().await
}
