//! As much of AWS Backup as a client of its jobs sees, over HTTP: vaults, recovery points, jobs of backup,
//! copy and restore, plans, and RDS's tags of snapshots. One listener stands for every region; requests say which they mean by what
//! they are signed for.
//!
//! What is backed up is real: a resource is a directory, a recovery point a copy of it, and a restore
//! copies it into a new one. Jobs go through their states by themselves, a moment in each; a test holds
//! them at a state, decides how they end, and has requests fail.
//!
//! *Not here.* KMS, and whether a role may do what a job needs.

mod answer;
pub(crate) mod course;
pub(crate) mod fault;
mod files;
mod jobs;
mod operations;
pub(crate) mod plans;
mod points;
mod restores;
mod route;
mod serve;
mod snapshots;
pub(crate) mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Outcome;
use world::World;

/// Ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct BackupVaults {
    pub(crate) address: SocketAddr,
    world: Arc<Mutex<World>>,
    _root: tempfile::TempDir,
}

impl BackupVaults {
    /// With a vault in each of these regions.
    pub(crate) async fn start(vaults: &[(&str, &str)]) -> Outcome<Self> {
        let root = super::scratch::folder()?;
        let mut world = World::new(root.path().to_owned());
        for (region, vault) in vaults {
            world.add_vault(region, vault);
        }
        let world = Arc::new(Mutex::new(world));
        let address = serve::listen(Arc::clone(&world)).await?;
        Ok(Self { address, world, _root: root })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What there is now, to look at and to change.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An S3 bucket, an EFS file system, …: whatever its ARN says, a directory that a test fills.
    pub(crate) fn resource(&self, region: &str, arn: &str) -> PathBuf {
        self.world().add_resource(region, arn)
    }

    /// Waits until it is so.
    pub(crate) async fn until<T>(&self, what: &str, seen: impl Fn(&World) -> Option<T>) -> Outcome<T> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = seen(&self.world()) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(format!("it never came to this: {what}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
