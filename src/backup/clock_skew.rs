use std::time::Duration;

use super::error::BackupError;
use crate::platform::Clock;
use crate::repository::{ClockSkew, Repositories};

/// For the time of a store, at most.
const CLOCK_WITHIN: Duration = Duration::from_secs(15);

/// Refuses to go on where this host's clock is too far from a store's. A store that does not answer soon is not
/// waited for: opening it says what is wrong with it, after all its retries.
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
