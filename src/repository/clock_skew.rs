use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::{Repositories, Repository};
use crate::model::RepositoryName;
use crate::platform::Clock;
use crate::store::{StoreError, require_admin};

/// The tolerated difference between this host's clock and a store's. S3 itself refuses requests at 15
/// minutes; backup ids, object locks and retention go wrong before.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// How far this host's clock is ahead of a store's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockSkew {
    pub repository: RepositoryName,
    pub ahead: TimeDelta,
}

impl ClockSkew {
    /// Compares this host's clock with those of the stores, concurrently, and returns those that differ too
    /// much. A store that does not answer `within` this time is not judged: opening it reports its error.
    pub async fn find(repositories: &Repositories, within: Duration, clock: &dyn Clock) -> Vec<Self> {
        let asked = repositories.iter().map(async |repository| {
            let theirs = tokio::time::timeout(within, server_time(repository)).await.ok()?.ok()?;
            Some(Self { repository: repository.name.clone(), ahead: clock.now() - theirs })
        });
        let found = join_all(asked).await.into_iter().flatten();
        found.filter(|skew| skew.ahead.abs() > CLOCK_TOLERANCE).collect()
    }
}

async fn server_time(repository: &Repository) -> Result<DateTime<Utc>, StoreError> {
    require_admin(&*repository.store)?.server_time().await
}
