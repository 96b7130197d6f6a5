//! Finds the temporary resources that drctl created in RDS and left behind, and deletes expired ones.
//!
//! *Invariants.* Only databases with all of drctl's tags are listed at all, and each is checked again before
//! its deletion: see [`crate::aws::rds::Temporary`]. Backups have no expiry there: retention deletes them.

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use crate::aws::rds::{DeleteRefusal, Rds, Removal, RemovedBy, Temporary};
use crate::aws::{Poll, Waiter};
use crate::event::Events;
use crate::platform::CancellationToken;
use crate::policy::{AwsLocation, Policy, RdsDatabase};
use crate::text::error_chain;

/// A temporary resource, and whether it will be deleted.
#[derive(Clone, Debug)]
pub struct TemporaryLeftover {
    pub region: String,
    pub temporary: Temporary,
    /// `None`: it is deleted.
    pub refusal: Option<DeleteRefusal>,
    place: AwsLocation,
}

/// The temporary resources found.
#[derive(Clone, Debug, Default)]
pub struct CleanupPlan {
    /// Regions that were queried.
    pub asked: Vec<String>,
    pub leftovers: Vec<TemporaryLeftover>,
    /// Regions that could not be queried, and why.
    pub unknown: Vec<(String, String)>,
}

impl CleanupPlan {
    pub fn to_remove(&self) -> impl Iterator<Item = &TemporaryLeftover> {
        self.leftovers.iter().filter(|leftover| leftover.refusal.is_none())
    }
}

/// Queries every region of every RDS source.
pub async fn plan(policy: &Policy, now: DateTime<Utc>) -> CleanupPlan {
    let mut places: Vec<(AwsLocation, bool)> = Vec::new();
    for source in &policy.sources {
        let Some(rds) = source.rds() else { continue };
        let is_cluster = matches!(rds.database, RdsDatabase::Cluster(_));
        let others = rds.regions.iter().map(|region| rds.place.in_region(&region.name));
        for place in [rds.place.clone()].into_iter().chain(others) {
            match places.iter_mut().find(|(known, _)| is_same(known, &place)) {
                Some((_, with_clusters)) => *with_clusters |= is_cluster,
                None => places.push((place, is_cluster)),
            }
        }
    }
    let looked = places.iter().map(async |(place, with_clusters)| {
        let rds = Rds::to_look(place).await.map_err(|error| error_chain(&error))?;
        rds.temporary(&policy.system, *with_clusters).await.map_err(|failure| error_chain(&failure))
    });
    let mut plan = CleanupPlan::default();
    for ((place, _), found) in places.iter().zip(join_all(looked).await) {
        match found {
            Err(reason) => plan.unknown.push((place.region.clone(), reason)),
            Ok(found) => {
                plan.asked.push(place.region.clone());
                plan.leftovers.extend(found.into_iter().map(|temporary| TemporaryLeftover {
                    region: place.region.clone(),
                    refusal: temporary.refusal(&policy.system, RemovedBy::Expiry(now)),
                    temporary,
                    place: place.clone(),
                }));
            }
        }
    }
    plan
}

/// Returns whether both are the same region of the same account.
fn is_same(one: &AwsLocation, other: &AwsLocation) -> bool {
    one.region == other.region
        && one.endpoint == other.endpoint
        && one.credentials.to_string() == other.credentials.to_string()
}

/// Deletes one, if it is unchanged since it was planned; a cluster after its instances. `Err`: why the call
/// failed.
pub async fn remove(
    policy: &Policy,
    leftover: &TemporaryLeftover,
    now: DateTime<Utc>,
    (events, cancel): (&Events, &CancellationToken),
) -> Result<Removal, String> {
    let rds = Rds::connect(&leftover.place).await.map_err(|error| error_chain(&error))?;
    let waiter = Waiter { poll: Poll::from(&leftover.place), events, cancel };
    let by = RemovedBy::Expiry(now);
    let removal = rds.remove_with_members(&leftover.temporary, &policy.system, by, &waiter).await;
    removal.map_err(|failure| error_chain(&failure))
}
