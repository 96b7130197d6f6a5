//! What RDS's automated backups are kept in: base backups and every segment of log since.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::super::Outcome;
use super::postgres::Postgres;
use super::state::now;
use super::storage::{Folder, Storage};

const ARCHIVED_WITHIN: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(5);

/// A base backup. Recovery may stop at its end at the earliest.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) data: Arc<Folder>,
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
}

#[derive(Debug)]
pub(crate) struct Archive {
    /// Holds the segments.
    log: Folder,
    bases: Mutex<Vec<Base>>,
    /// Everything up to it has been archived.
    latest: Mutex<Option<DateTime<Utc>>>,
    /// Scripted: nothing gets in any more.
    is_stalled: AtomicBool,
}

impl Archive {
    pub(super) fn new(storage: &Arc<Storage>) -> Outcome<Self> {
        Ok(Self {
            log: storage.folder("archive")?,
            bases: Mutex::default(),
            latest: Mutex::default(),
            is_stalled: AtomicBool::new(false),
        })
    }

    pub(super) fn log(&self) -> &Folder {
        &self.log
    }

    /// Takes a base backup of a server that archives to here.
    pub(super) fn take_base(&self, server: &Postgres) -> Outcome<Base> {
        let from = now();
        let data = Arc::new(server.copy("base")?);
        let base = Base { data, from, until: now() };
        self.add(base.clone());
        Ok(base)
    }

    pub(super) fn add(&self, base: Base) {
        lock(&self.bases).push(base);
    }

    pub(super) fn bases(&self) -> Vec<Base> {
        lock(&self.bases).clone()
    }

    /// Archives all that was committed until now. A commit of RDS's own comes after it, so that there is
    /// something to stop at.
    pub(super) fn advance(&self, server: &Postgres) -> Outcome<()> {
        if self.is_stalled() {
            return Ok(());
        }
        let until = now();
        let beat = "INSERT INTO rds_heartbeat2 VALUES (1, clock_timestamp()) ON CONFLICT (id) DO UPDATE SET value = clock_timestamp()";
        let switch = "SELECT pg_walfile_name(pg_switch_wal())";
        let segment = server.query("rdsadmin", &[beat.to_owned(), switch.to_owned()])?;
        let begun = Instant::now();
        while !self.log.path().join(&segment).exists() {
            if begun.elapsed() > ARCHIVED_WITHIN {
                return Err(format!("segment {segment} was not archived").into());
            }
            std::thread::sleep(STEP);
        }
        let mut latest = lock(&self.latest);
        *latest = Some(latest.map_or(until, |before| before.max(until)));
        Ok(())
    }

    pub(super) fn stall(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }

    /// The earliest and the latest time that can be restored.
    pub(super) fn window(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let earliest = lock(&self.bases).iter().map(|base| base.until).min()?;
        let latest = (*lock(&self.latest))?;
        (earliest <= latest).then_some((earliest, latest))
    }

    /// The newest base backup that a restore to this time can start from.
    pub(super) fn base_for(&self, at: DateTime<Utc>) -> Option<Base> {
        lock(&self.bases).iter().filter(|base| base.until <= at).max_by_key(|base| base.until).cloned()
    }

    /// Brings another archive to where this one is.
    pub(super) fn replicate_to(&self, other: &Self) -> Outcome<()> {
        let latest = *lock(&self.latest);
        for entry in std::fs::read_dir(self.log.path())? {
            let entry = entry?;
            let target: PathBuf = other.log.path().join(entry.file_name());
            let is_whole = entry.path().extension().is_none_or(|extension| extension != "part");
            if is_whole && !target.exists() {
                std::fs::copy(entry.path(), &target)?;
                other.log.storage().give(&target)?;
            }
        }
        let known = other.bases().len();
        for base in self.bases().into_iter().skip(known) {
            other.add(Base { data: Arc::new(base.data.copy("base")?), ..base });
        }
        *lock(&other.latest) = latest;
        Ok(())
    }
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
