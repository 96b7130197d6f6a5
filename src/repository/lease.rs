//! Leases on work, so that two hosts do not do the same work twice (FORMAT.md, "Leases").

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{FormatVersion, layout};
use crate::model::{RunId, SourceName, SystemName};
use crate::platform::{CancellationToken, Clock};
use crate::store::{
    ObjectInfo, Precondition, PutOptions, Store, StoreError, StoreErrorKind, list_all, require_admin,
};

/// How long a lease is valid without a renewal.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(60);
const LIMIT: u64 = 16 << 10;
const ATTEMPTS: usize = 5;

/// The contents of a lease object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub format: String,
    pub run: RunId,
    pub host: String,
    pub verb: String,
    pub since: DateTime<Utc>,
    pub renewed: DateTime<Utc>,
    pub ttl_seconds: u64,
    /// The work is done; the lease is free.
    #[serde(default)]
    pub released: bool,
}

/// The result of [`acquire`].
#[derive(Debug)]
pub enum Acquired {
    Held(Lease),
    /// Held by another run that is alive: it renewed the lease during the wait, or recently.
    Busy(Holder),
}

/// A held lease, renewed in the background. End it with [`Lease::release`]; dropping it lets it expire.
#[derive(Debug)]
pub struct Lease {
    desk: Arc<LeaseDesk>,
    heartbeat: JoinHandle<()>,
}

#[derive(Debug)]
struct LeaseDesk {
    store: Arc<dyn Store>,
    key: String,
    holder: Holder,
    etag: Mutex<String>,
    clock: Arc<dyn Clock>,
}

/// Acquires the lease under `key` for `run`. Waits, at most for the time to live, if it is unknown whether
/// its holder is alive.
///
/// `lost` is cancelled when another run takes the lease over: the holder must stop then. A store that is
/// unreachable for a renewal does not cancel it: nothing breaks without a lease.
pub async fn acquire(
    store: Arc<dyn Store>,
    key: String,
    run: &RunId,
    verb: &str,
    ttl: Duration,
    clock: Arc<dyn Clock>,
    lost: CancellationToken,
) -> Result<Acquired, StoreError> {
    let now = clock.now();
    let holder = Holder {
        format: FormatVersion::CURRENT.to_string(),
        run: run.clone(),
        host: crate::platform::host_name(),
        verb: verb.to_owned(),
        since: now,
        renewed: now,
        ttl_seconds: ttl.as_secs(),
        released: false,
    };
    let mut precondition = Precondition::Absent;
    for _ in 0..ATTEMPTS {
        let options = PutOptions { precondition: precondition.clone(), ..PutOptions::default() };
        match store.put(&key, encode(&holder), &options).await {
            Ok(written) => {
                // A store that ignores the precondition has let two runs write: the last write wins.
                match read(&*store, &key).await? {
                    Some((found, _)) if found.run != *run => return Ok(Acquired::Busy(found)),
                    _ => {}
                }
                let etag = Mutex::new(written.etag);
                let desk = Arc::new(LeaseDesk { store, key, holder, etag, clock });
                let heartbeat = tokio::spawn(Arc::clone(&desk).renew_until_lost(ttl / 3, lost));
                return Ok(Acquired::Held(Lease { desk, heartbeat }));
            }
            Err(error)
                if matches!(
                    error.kind,
                    StoreErrorKind::Exists | StoreErrorKind::Changed | StoreErrorKind::NotFound
                ) => {}
            Err(error) => return Err(error),
        }
        precondition = match read(&*store, &key).await? {
            None => Precondition::Absent,
            Some((found, info)) => match wait_for_expiry(&*store, &key, found, info, &lost).await? {
                Ok(etag) => Precondition::Unchanged(etag),
                Err(holder) => return Ok(Acquired::Busy(holder)),
            },
        };
    }
    Err(StoreError {
        operation: "take the lease",
        key,
        location: store.location(),
        kind: StoreErrorKind::Changed,
        detail: Some(format!("others changed it {ATTEMPTS} times")),
    })
}

/// Says in a repository that backups of a source are read for a while, so that retention leaves them alone. `None`: it
/// cannot be said, as where the caller may read only, or the store does not answer soon; a restore does without.
pub async fn announce_restore(
    store: &Arc<dyn Store>,
    system: &SystemName,
    source: &SourceName,
    run: &RunId,
    clock: Arc<dyn Clock>,
) -> Option<Lease> {
    const AT_ONCE: usize = 9;
    const PATIENCE: Duration = Duration::from_secs(5);
    let announced = async {
        let held = held(&**store, system).await.ok()?;
        let is_free = |name: &String| !held.iter().any(|(other, _)| other == name);
        let name = (1..=AT_ONCE).map(|n| layout::restore_lease(source, n)).find(is_free)?;
        let (key, lost) = (layout::lease(system, &name), CancellationToken::new());
        match acquire(Arc::clone(store), key, run, "restore", TIME_TO_LIVE, clock, lost).await {
            Ok(Acquired::Held(lease)) => Some(lease),
            Ok(Acquired::Busy(_)) | Err(_) => None,
        }
    };
    let lease = tokio::time::timeout(PATIENCE, announced).await.ok().flatten();
    if lease.is_none() {
        tracing::info!("{} does not know of this restore", store.location());
    }
    lease
}

/// Returns the leases of a system that are held now, by name, by the store's clock.
pub async fn held(store: &dyn Store, system: &SystemName) -> Result<Vec<(String, Holder)>, StoreError> {
    let now = require_admin(store)?.server_time().await?;
    let mut held = Vec::new();
    for object in list_all(store, &layout::leases(system)).await? {
        let Some(name) = layout::parse_lease(system, &object.key) else { continue };
        let Some((holder, info)) = read(store, &object.key).await? else { continue };
        let ttl = TimeDelta::seconds(i64::try_from(holder.ttl_seconds).unwrap_or(i64::MAX).min(600));
        if !holder.released && now - info.modified <= ttl {
            held.push((name.to_owned(), holder));
        }
    }
    Ok(held)
}

/// The etag of a lease that nobody holds any more, or its living holder.
async fn wait_for_expiry(
    store: &dyn Store,
    key: &str,
    found: Holder,
    info: ObjectInfo,
    cancel: &CancellationToken,
) -> Result<Result<String, Holder>, StoreError> {
    if found.released {
        return Ok(Ok(info.etag));
    }
    let ttl = Duration::from_secs(found.ttl_seconds).min(10 * TIME_TO_LIVE);
    let age = require_admin(store)?.server_time().await? - info.modified;
    if age > TimeDelta::from_std(ttl).unwrap_or(TimeDelta::MAX) {
        return Ok(Ok(info.etag));
    }
    // A living holder renews it every third of its time to live. One that does not is dead, whatever any
    // clock says.
    let begun = Instant::now();
    while begun.elapsed() < ttl {
        let step = (ttl / 10).max(Duration::from_millis(20));
        tokio::select! {
            () = tokio::time::sleep(step) => {}
            () = cancel.cancelled() => return Ok(Err(found)),
        }
        match read(store, key).await? {
            None => return Ok(Ok(info.etag)),
            Some((now, _)) if now.released => {}
            Some((now, changed)) if changed.etag != info.etag => return Ok(Err(now)),
            Some(_) => continue,
        }
        return Ok(Ok(read(store, key).await?.map_or(info.etag, |(_, fresh)| fresh.etag)));
    }
    Ok(Ok(info.etag))
}

fn encode(holder: &Holder) -> Bytes {
    serde_json::to_vec_pretty(holder).unwrap_or_default().into()
}

async fn read(store: &dyn Store, key: &str) -> Result<Option<(Holder, ObjectInfo)>, StoreError> {
    let (bytes, info) = match store.get(key, LIMIT).await {
        Ok(found) => found,
        Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice(&bytes) {
        Ok(holder) => Ok(Some((holder, info))),
        Err(error) => Err(StoreError {
            operation: "read the lease",
            key: key.to_owned(),
            location: store.location(),
            kind: StoreErrorKind::Corrupt,
            detail: Some(format!("{error}; if no drctl runs anywhere, delete the object")),
        }),
    }
}

impl LeaseDesk {
    async fn write(&self, released: bool) -> Result<(), StoreError> {
        let etag = self.etag.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let holder = Holder { renewed: self.clock.now(), released, ..self.holder.clone() };
        let options = PutOptions { precondition: Precondition::Unchanged(etag), ..PutOptions::default() };
        let written = self.store.put(&self.key, encode(&holder), &options).await?;
        *self.etag.lock().unwrap_or_else(PoisonError::into_inner) = written.etag;
        Ok(())
    }

    /// Returns whether the lease is still this run's. A renewal whose response was lost changes the etag just
    /// like a takeover; the stored holder tells them apart.
    async fn is_own_renewal(&self) -> bool {
        match read(&*self.store, &self.key).await {
            Ok(Some((found, info))) if found.run == self.holder.run && !found.released => {
                *self.etag.lock().unwrap_or_else(PoisonError::into_inner) = info.etag;
                true
            }
            _ => false,
        }
    }

    async fn renew_until_lost(self: Arc<Self>, every: Duration, lost: CancellationToken) {
        loop {
            tokio::time::sleep(every).await;
            match self.write(false).await {
                Ok(()) => {}
                Err(error) if matches!(error.kind, StoreErrorKind::Changed | StoreErrorKind::NotFound) => {
                    if self.is_own_renewal().await {
                        continue;
                    }
                    tracing::warn!("{error}");
                    lost.cancel();
                    return;
                }
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }
}

impl Lease {
    /// Releases the lease. Ignores a failure: the lease expires by itself.
    pub async fn release(self) {
        self.heartbeat.abort();
        let released = tokio::time::timeout(TIME_TO_LIVE, self.desk.write(true)).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::info!("the lease {} was left to expire", self.desk.key);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::SystemClock;
    use crate::store::directory::DirectoryStore;

    const TTL: Duration = Duration::from_secs(1);

    async fn take(store: &Arc<dyn Store>, seed: u32, lost: &CancellationToken) -> Acquired {
        let run = RunId::new("2026-11-20T22:02:51Z".parse().unwrap(), seed);
        let (store, clock) = (Arc::clone(store), Arc::new(SystemClock));
        acquire(store, "shop/leases/db.json".into(), &run, "backup", TTL, clock, lost.clone()).await.unwrap()
    }

    async fn store(root: &tempfile::TempDir) -> Arc<dyn Store> {
        Arc::new(DirectoryStore::create(root.path().join("store")).await.unwrap())
    }

    #[tokio::test]
    async fn a_living_holder_keeps_others_out_and_a_released_lease_does_not() {
        let root = tempfile::tempdir().unwrap();
        let (store, token) = (store(&root).await, CancellationToken::new());
        let Acquired::Held(lease) = take(&store, 1, &token).await else { panic!("not held") };
        assert!(matches!(take(&store, 2, &token).await, Acquired::Busy(holder) if holder.verb == "backup"));
        lease.release().await;
        let Acquired::Held(_) = take(&store, 2, &token).await else { panic!("not released") };
        assert!(!token.is_cancelled());
    }

    #[tokio::test]
    async fn those_that_are_held_are_listed_until_they_are_released() {
        let root = tempfile::tempdir().unwrap();
        let (store, token) = (store(&root).await, CancellationToken::new());
        let system = "shop".parse().unwrap();
        assert_eq!(held(&*store, &system).await.unwrap().len(), 0);
        let Acquired::Held(lease) = take(&store, 1, &token).await else { panic!("not held") };
        let listed = held(&*store, &system).await.unwrap();
        assert_eq!((listed[0].0.as_str(), listed[0].1.verb.as_str()), ("db", "backup"));
        lease.release().await;
        assert_eq!(held(&*store, &system).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_dead_holders_lease_is_taken_over_and_a_sleeper_learns_of_it() {
        let root = tempfile::tempdir().unwrap();
        let (store, first, second) = (store(&root).await, CancellationToken::new(), CancellationToken::new());
        let Acquired::Held(lease) = take(&store, 1, &first).await else { panic!("not held") };
        lease.heartbeat.abort();
        let Acquired::Held(_second) = take(&store, 2, &second).await else { panic!("not taken over") };
        // The first wakes up and tries to renew.
        Arc::clone(&lease.desk).renew_until_lost(Duration::from_millis(1), first.clone()).await;
        assert!(first.is_cancelled());
        assert!(!second.is_cancelled());
    }

    #[tokio::test]
    async fn a_renewal_whose_answer_was_lost_is_ones_own() {
        let root = tempfile::tempdir().unwrap();
        let (store, token) = (store(&root).await, CancellationToken::new());
        let Acquired::Held(lease) = take(&store, 1, &token).await else { panic!("not held") };
        let before = lease.desk.etag.lock().unwrap().clone();
        lease.desk.write(false).await.unwrap();
        // As if the response to that write had been lost.
        *lease.desk.etag.lock().unwrap() = before;
        assert!(lease.desk.write(false).await.is_err());
        assert!(lease.desk.is_own_renewal().await);
        lease.desk.write(false).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_just_one_gets_it() {
        let root = tempfile::tempdir().unwrap();
        let (store, token) = (store(&root).await, CancellationToken::new());
        let racers = (0..6).map(|seed| {
            let (store, token) = (Arc::clone(&store), token.clone());
            tokio::spawn(async move { take(&store, seed, &token).await })
        });
        let outcomes = futures_util::future::join_all(racers).await;
        let held = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Acquired::Held(_)))).count();
        assert_eq!(held, 1);
    }
}
