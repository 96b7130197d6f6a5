//! How things go from one status to the next: by the clock, and no further than a test lets them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Outcome;
use super::Shared;
use super::state::{Event, Instance, Snapshot};

const STEP: Duration = Duration::from_millis(3);

/// How long a thing stays in a status at the least.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    pub(crate) snapshot_creating: Duration,
    pub(crate) copy_pending: Duration,
    pub(crate) copying: Duration,
    pub(crate) creating: Duration,
    pub(crate) backing_up: Duration,
    pub(crate) modifying: Duration,
    /// From the answer to a modification until the status shows it.
    pub(crate) modification_begins: Duration,
    pub(crate) rebooting: Duration,
    pub(crate) deleting: Duration,
    /// How long blocks come from the object store after a restore.
    pub(crate) initializing: Duration,
    /// The log is archived when somebody asks and this has passed; RDS does it every five minutes.
    pub(crate) archive_every: Duration,
    /// Between two looks of a replica of automated backups at its source.
    pub(crate) replicate_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let some = Duration::from_millis;
        Self {
            snapshot_creating: some(30),
            copy_pending: some(20),
            copying: some(30),
            creating: some(30),
            backing_up: some(20),
            modifying: some(30),
            modification_begins: some(15),
            rebooting: some(20),
            deleting: some(20),
            initializing: some(50),
            archive_every: some(100),
            replicate_every: some(100),
        }
    }
}

/// What a thing is: regions and identifiers are given again, this is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) region: String,
    pub(super) id: String,
    /// Of an instance its resource id, of a snapshot its serial number.
    pub(super) identity: String,
}

impl Key {
    pub(super) fn of_instance(region: &str, instance: &Instance) -> Self {
        Self { region: region.to_owned(), id: instance.id.clone(), identity: instance.resource_id.clone() }
    }

    pub(super) fn of_snapshot(region: &str, snapshot: &Snapshot) -> Self {
        Self { region: region.to_owned(), id: snapshot.id.clone(), identity: snapshot.serial.to_string() }
    }
}

/// Region, identifier and status that nothing leaves.
pub(super) type Holds = BTreeSet<(String, String, String)>;

impl Shared {
    /// Does something to an instance if it is still there.
    pub(super) fn with_instance<T>(&self, key: &Key, act: impl FnOnce(&mut Instance) -> T) -> Option<T> {
        let mut state = self.state();
        let instance = state.region(&key.region).instances.get_mut(&key.id)?;
        (instance.resource_id == key.identity).then(|| act(instance))
    }

    /// Does something to a snapshot, of an instance or of a cluster, if it is still there.
    pub(super) fn with_snapshot<T>(&self, key: &Key, act: impl FnOnce(&mut Snapshot) -> T) -> Option<T> {
        let mut state = self.state();
        let region = state.region(&key.region);
        let found = [region.snapshots.get_mut(&key.id), region.cluster_snapshots.get_mut(&key.id)];
        let mut found = found.into_iter().flatten().filter(|one| one.serial.to_string() == key.identity);
        found.next().map(act)
    }

    /// Puts an instance into a status and keeps it there for a while. False: it is gone.
    pub(super) async fn instance_stays(&self, key: &Key, status: &str, at_least: Duration) -> bool {
        self.enter(key, status)
            && self.stay(key, status, at_least).await
            && self.with_instance(key, |instance| instance.status == status).unwrap_or(false)
    }

    /// As above for a snapshot.
    pub(super) async fn snapshot_stays(&self, key: &Key, status: &str, at_least: Duration) -> bool {
        let is_there = self.with_snapshot(key, |snapshot| status.clone_into(&mut snapshot.status)).is_some();
        is_there && self.stay(key, status, at_least).await && self.with_snapshot(key, |_| ()).is_some()
    }

    pub(super) async fn stay(&self, key: &Key, status: &str, at_least: Duration) -> bool {
        self.remember(key, status);
        let begun = Instant::now();
        tokio::time::sleep(at_least).await;
        let held = (key.region.clone(), key.id.clone(), status.to_owned());
        while self.script().holds.contains(&held) {
            tokio::time::sleep(STEP).await;
        }
        begun.elapsed() >= at_least
    }

    /// The last status of a way, or the one a test wants it to end in.
    pub(super) fn end_of(&self, key: &Key) -> String {
        let ends = &self.script().ends;
        ends.get(&(key.region.clone(), key.id.clone())).cloned().unwrap_or_else(|| "available".to_owned())
    }

    pub(super) fn end_instance(&self, key: &Key, status: &str) {
        if self.enter(key, status) {
            self.remember(key, status);
        }
    }

    /// What is being deleted gets no other status.
    fn enter(&self, key: &Key, status: &str) -> bool {
        let enter = |instance: &mut Instance| {
            let may = instance.status != "deleting" || status == "deleting";
            if may {
                status.clone_into(&mut instance.status);
            }
            may
        };
        self.with_instance(key, enter).unwrap_or(false)
    }

    pub(super) fn end_snapshot(&self, key: &Key, status: &str) {
        let is_there = self.with_snapshot(key, |snapshot| {
            status.clone_into(&mut snapshot.status);
            if status == "available" {
                snapshot.progress = Some(100);
            }
        });
        if is_there.is_some() {
            self.remember(key, status);
        }
    }

    pub(super) fn remember(&self, key: &Key, status: &str) {
        self.state().history.push((key.region.clone(), key.id.clone(), status.to_owned()));
    }

    pub(super) fn tell(&self, region: &str, event: Event) {
        self.state().region(region).events.push(event);
    }

    /// Work that goes on behind the answers. What fails in it fails the thing, and is kept for the test.
    pub(super) fn run(self: &Arc<Self>, what: &str, job: impl Future<Output = Outcome<()>> + Send + 'static) {
        let (shared, what) = (Arc::downgrade(self), what.to_owned());
        let job = async move {
            if let Err(error) = job.await
                && let Some(shared) = shared.upgrade()
            {
                shared.script().failures.push(format!("{what}: {error}"));
            }
        };
        let mut jobs = self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while jobs.try_join_next().is_some() {}
        jobs.spawn(job);
    }
}

/// Work on files and processes, away from the threads that answer.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    tokio::task::spawn_blocking(work).await?
}
