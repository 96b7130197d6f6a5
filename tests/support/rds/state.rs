//! What exists, region by region, as plain values. Nothing here acts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::archive::Archive;
use super::cluster_state::Cluster;
use super::error::{Answered, ApiError};
use super::postgres::Postgres;
use super::settings::Settings;
use super::storage::Folder;

pub(crate) const ACCOUNT: &str = "123456789012";

pub(crate) type Tags = BTreeMap<String, String>;

/// A call that changes something, or would have.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) region: String,
    pub(crate) action: String,
    /// What was sent, without passwords.
    pub(crate) parameters: BTreeMap<String, String>,
    /// What the call names and what stood in its tags when it came.
    pub(crate) touched: Vec<(String, Tags)>,
    /// The error it was answered with.
    pub(crate) error: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) regions: BTreeMap<String, Region>,
    pub(super) calls: Vec<Call>,
    /// Each status that each thing ever had: region, identifier, status.
    pub(super) history: Vec<(String, String, String)>,
    serial: u64,
}

impl State {
    pub(super) fn region(&mut self, name: &str) -> &mut Region {
        self.regions.entry(name.to_owned()).or_insert_with(|| Region::new(name))
    }

    /// A number nothing else has.
    pub(super) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

#[derive(Debug, Default)]
pub(super) struct Region {
    pub(super) instances: BTreeMap<String, Instance>,
    pub(super) snapshots: BTreeMap<String, Snapshot>,
    pub(super) clusters: BTreeMap<String, Cluster>,
    pub(super) cluster_snapshots: BTreeMap<String, Snapshot>,
    /// Automated backups by their ARN: of what lives here, of what did, and of what is replicated to here.
    pub(super) backups: BTreeMap<String, Backup>,
    /// Of clusters that are gone, by their resource ids.
    pub(super) cluster_backups: BTreeMap<String, Backup>,
    pub(super) parameter_groups: BTreeMap<String, ParameterGroup>,
    pub(super) cluster_parameter_groups: BTreeMap<String, ParameterGroup>,
    /// The VPC of each.
    pub(super) subnet_groups: BTreeMap<String, String>,
    pub(super) option_groups: BTreeSet<String>,
    pub(super) events: Vec<Event>,
    pub(super) quotas: Quotas,
}

impl Region {
    fn new(name: &str) -> Self {
        let defaults = |kind: &str| {
            let group = |family: &str| {
                let group = ParameterGroup::new(name, kind, &format!("default.{family}"), family);
                (group.name.clone(), group)
            };
            BTreeMap::from(["postgres15", "aurora-postgresql15"].map(group))
        };
        Self {
            parameter_groups: defaults("pg"),
            cluster_parameter_groups: defaults("cluster-pg"),
            subnet_groups: BTreeMap::from([("default".to_owned(), "vpc-default".to_owned())]),
            option_groups: BTreeSet::from(["default:postgres-15".to_owned()]),
            ..Self::default()
        }
    }

    pub(super) fn instance(&mut self, id: &str) -> Answered<&mut Instance> {
        self.instances.get_mut(id).ok_or_else(|| ApiError::instance_missing(id))
    }

    pub(super) fn snapshot(&mut self, id: &str) -> Answered<&mut Snapshot> {
        self.snapshots.get_mut(id).ok_or_else(|| ApiError::snapshot_missing(id))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Quotas {
    pub(crate) manual_snapshots: usize,
    pub(crate) manual_cluster_snapshots: usize,
    pub(crate) instances: usize,
    pub(crate) copies_in_progress: usize,
    pub(crate) replicated_backups: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            manual_snapshots: 100,
            manual_cluster_snapshots: 100,
            instances: 40,
            copies_in_progress: 20,
            replicated_backups: 20,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) arn: String,
    pub(crate) resource_id: String,
    pub(crate) settings: Settings,
    /// What waits for the maintenance window.
    pub(crate) pending: Option<Settings>,
    /// The name that waits with it.
    pub(crate) pending_id: Option<String>,
    pub(crate) status: String,
    /// `in-sync`, or `pending-reboot`.
    pub(crate) parameters_status: String,
    pub(crate) created: DateTime<Utc>,
    pub(crate) cluster: Option<String>,
    /// A change has been accepted, and its status may not show it yet.
    pub(crate) is_busy: bool,
    /// ARNs of the automated backups that other regions keep of it.
    pub(crate) replicated_to: BTreeSet<String>,
    pub(crate) initializing: Option<Initializing>,
    pub(super) server: Option<Arc<Postgres>>,
    pub(super) archive: Option<Arc<Archive>>,
    /// So many descriptions do not show it yet.
    pub(super) hidden: usize,
}

impl Instance {
    /// Where it listens. Its name says nothing: all servers are on this machine.
    pub(crate) fn port(&self) -> Option<u16> {
        self.server.as_ref().map(|server| server.port())
    }
}

/// Blocks still come from the object store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initializing {
    pub(crate) since: Instant,
    pub(crate) takes: Duration,
}

impl Initializing {
    /// In percent; none once it is over.
    pub(crate) fn progress(&self) -> Option<u32> {
        let gone = self.since.elapsed();
        if gone >= self.takes {
            return None;
        }
        u32::try_from(gone.as_millis() * 100 / self.takes.as_millis().max(1)).ok()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) arn: String,
    /// `manual`, `automated`, `awsbackup`.
    pub(crate) kind: String,
    /// Or the cluster, as the fields below.
    pub(crate) instance: String,
    pub(crate) resource_id: String,
    pub(crate) instance_created: DateTime<Utc>,
    pub(crate) status: String,
    /// In percent, where it is shown.
    pub(crate) progress: Option<u32>,
    pub(crate) created: Option<DateTime<Utc>>,
    pub(crate) original_created: Option<DateTime<Utc>>,
    /// Everything that was committed before it is in it.
    pub(crate) database_time: Option<DateTime<Utc>>,
    /// The instance's when it was taken.
    pub(crate) settings: Settings,
    pub(crate) tags: Tags,
    /// Region and ARN of what it is a copy of.
    pub(crate) copied_from: Option<(String, String)>,
    pub(crate) shared_with: BTreeSet<String>,
    pub(super) data: Option<Arc<Folder>>,
    /// Tells it from another that had its name.
    pub(super) serial: u64,
    pub(super) hidden: usize,
}

impl Snapshot {
    pub(crate) fn size(&self) -> Option<u64> {
        self.data.as_ref().and_then(|data| data.size().ok())
    }
}

/// What a restore to a point in time starts from.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    pub(crate) arn: String,
    pub(crate) instance: String,
    pub(crate) instance_arn: String,
    pub(crate) resource_id: String,
    /// Where the instance is.
    pub(crate) region: String,
    /// `active`, `retained`, `replicating`, `pending`.
    pub(crate) status: String,
    pub(crate) instance_created: DateTime<Utc>,
    pub(crate) settings: Settings,
    pub(super) archive: Arc<Archive>,
}

#[derive(Clone, Debug)]
pub(crate) struct ParameterGroup {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) family: String,
    pub(crate) description: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) tags: Tags,
}

impl ParameterGroup {
    /// `kind` is `pg`, or `cluster-pg`.
    pub(super) fn new(region: &str, kind: &str, name: &str, family: &str) -> Self {
        Self {
            name: name.to_owned(),
            arn: arn(region, kind, name),
            family: family.to_owned(),
            description: format!("parameter group {name}"),
            parameters: BTreeMap::new(),
            tags: Tags::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) source: String,
    /// `db-instance`, `db-snapshot`.
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) category: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) arn: String,
}

pub(crate) fn arn(region: &str, kind: &str, name: &str) -> String {
    format!("arn:aws:rds:{region}:{ACCOUNT}:{kind}:{name}")
}

/// Region, kind and name of an ARN; an automated snapshot's name has a colon in it.
pub(super) fn parse_arn(arn: &str) -> Option<(&str, &str, &str)> {
    let mut parts = arn.strip_prefix("arn:aws:rds:")?.splitn(4, ':');
    let (region, account, kind, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (account == ACCOUNT).then_some((region, kind, name))
}

/// The world's time: servers stamp their commits with it.
pub(super) fn now() -> DateTime<Utc> {
    drctl::platform::Clock::now(&drctl::platform::SystemClock)
}

/// As RDS writes times.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
