use std::time::Duration;

use super::error::BackupError;
use crate::platform::Clock;
use crate::repository::{ClockSkew, Repositories};

/// The time limit for the clock of a store.
const CLOCK_WITHIN: Duration = Duration::from_secs(15);

/// Refuses to continue where this host's clock differs too much from a store's. A slow store is not waited
/// for: opening it reports its error, after all its retries.
pub(super) async fn check_clocks(
    repositories: &Repositories,
    stall: Duration,
    clock: &dyn Clock,
) -> Result<(), BackupError> {
    let within = (stall / 8).min(CLOCK_WITHIN);
    match ClockSkew::find(repositories, within, clock).await.into_iter().next() {
        Some(ClockSkew { repository, ahead }) => Err(BackupError::Clock { repository, skew: ahead }),
        None => Ok(()),
    }
}
