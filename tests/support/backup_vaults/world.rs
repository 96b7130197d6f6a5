use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use drctl::platform::{Clock as _, SystemClock};
use serde_json::Value;

use super::course::{Ending, JobKind};
use super::fault::{Fault, Trouble};
use super::jobs::{BackupJob, CopyJob};
use super::plans::Plan;
use super::restores::RestoreJob;

pub(crate) const ACCOUNT: &str = "123456789012";

/// Everything there is, in every region.
#[derive(Debug)]
pub(crate) struct World {
    pub(super) root: PathBuf,
    pub(crate) regions: BTreeMap<String, Region>,
    /// By ARN.
    pub(crate) resources: BTreeMap<String, PathBuf>,
    /// Every request that was understood.
    pub(crate) calls: Vec<Call>,
    pub(crate) faults: Vec<Fault>,
    /// Endings of jobs that are not yet begun, first come first served; then they complete.
    pub(crate) endings: Vec<(JobKind, Ending)>,
    /// In each state.
    pub(crate) pace: Duration,
    /// Jobs of a kind do not leave this state.
    pub(crate) held: BTreeMap<JobKind, &'static str>,
    /// Whether a copy gets the tags of what it is a copy of.
    pub(crate) tags_are_copied: bool,
    /// Deletion answers 200 and does nothing but mark it as expired.
    pub(crate) cannot_delete: bool,
    /// What a recovery point that is whole says: `COMPLETED`, or the newer `AVAILABLE`.
    pub(crate) whole: &'static str,
    pub(super) made: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Region {
    pub(crate) vaults: BTreeMap<String, Vault>,
    pub(crate) backup_jobs: Vec<BackupJob>,
    pub(crate) copy_jobs: Vec<CopyJob>,
    pub(crate) restore_jobs: Vec<RestoreJob>,
    pub(crate) plans: Vec<Plan>,
}

#[derive(Debug, Default)]
pub(crate) struct Vault {
    pub(crate) lock: Option<Lock>,
    pub(crate) access_policy: Option<String>,
    /// Nobody may list what is in it.
    pub(crate) is_closed: bool,
    /// By ARN.
    pub(crate) points: BTreeMap<String, Point>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lock {
    pub(crate) least_days: Option<i64>,
    pub(crate) most_days: Option<i64>,
    /// From then on nobody can lift it: compliance. `None`: governance.
    pub(crate) fixed_from: Option<DateTime<Utc>>,
}

/// A recovery point.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) arn: String,
    pub(crate) resource: String,
    pub(crate) status: &'static str,
    pub(crate) created: DateTime<Utc>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) lifecycle: Value,
    /// The plan that had it made.
    pub(crate) plan: Option<String>,
    /// The vault it was copied from.
    pub(crate) copied_from: Option<String>,
    pub(crate) files: PathBuf,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) region: String,
    pub(crate) operation: &'static str,
    /// Labels of its path.
    pub(crate) about: Vec<String>,
    pub(crate) body: Value,
}

/// By this host's clock.
pub(super) fn now() -> DateTime<Utc> {
    SystemClock.now()
}

impl Call {
    pub(crate) fn changes_something(&self) -> bool {
        ["Start", "Delete", "Update", "Put", "Tag", "AddTags"]
            .iter()
            .any(|verb| self.operation.starts_with(verb))
    }
}

impl World {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            regions: BTreeMap::new(),
            resources: BTreeMap::new(),
            calls: Vec::new(),
            faults: Vec::new(),
            endings: Vec::new(),
            pace: Duration::from_millis(20),
            held: BTreeMap::new(),
            tags_are_copied: false,
            cannot_delete: false,
            whole: "COMPLETED",
            made: 0,
        }
    }

    pub(crate) fn add_vault(&mut self, region: &str, vault: &str) {
        self.regions.entry(region.to_owned()).or_default().vaults.entry(vault.to_owned()).or_default();
    }

    pub(crate) fn vault(&mut self, region: &str, vault: &str) -> Option<&mut Vault> {
        self.regions.get_mut(region)?.vaults.get_mut(vault)
    }

    /// All of a vault.
    pub(crate) fn points(&self, region: &str, vault: &str) -> Vec<&Point> {
        let vault = self.regions.get(region).and_then(|region| region.vaults.get(vault));
        vault.map(|vault| vault.points.values().collect()).unwrap_or_default()
    }

    /// The requests that change something, by name, in the order they came.
    pub(crate) fn changes(&self) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.changes_something()).collect()
    }

    pub(crate) fn count(&self, operation: &str) -> usize {
        self.calls.iter().filter(|call| call.operation == operation).count()
    }

    /// How the next job of that kind ends.
    pub(crate) fn next(&mut self, kind: JobKind, ending: Ending) {
        self.endings.push((kind, ending));
    }

    pub(crate) fn fail(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn hold(&mut self, kind: JobKind, state: &'static str) {
        self.held.insert(kind, state);
    }

    pub(crate) fn release(&mut self) {
        self.held.clear();
    }

    pub(super) fn ending(&mut self, kind: JobKind) -> Ending {
        let at = self.endings.iter().position(|(of, _)| *of == kind);
        at.map_or(Ending::Completed, |at| self.endings.remove(at).1)
    }

    /// What befalls this request.
    pub(super) fn trouble(&mut self, region: &str, operation: &str) -> Option<Trouble> {
        let fault = self.faults.iter_mut().find(|fault| fault.fits(region, operation))?;
        fault.times = fault.times.saturating_sub(usize::from(fault.times != usize::MAX));
        Some(fault.trouble)
    }

    /// A number that nothing had before.
    pub(super) fn unique(&mut self) -> String {
        self.made += 1;
        format!("{:08x}-0000-4000-8000-{:012x}", 0xd2c7_1000_u32 + self.made, self.made)
    }

    /// Every job goes on.
    pub(super) fn tick(&mut self) {
        let regions: Vec<_> = self.regions.keys().cloned().collect();
        for region in regions {
            self.tick_backups(&region);
            self.tick_copies(&region);
            self.tick_restores(&region);
        }
    }
}
