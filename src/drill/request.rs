use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::look_back::EarlierView;
use super::sample::SampleRequest;
use super::{People, Trigger};
use crate::model::{RepositoryName, Sha256Hex, SourceName};
use crate::policy::{AwsBackupSource, Check, Prices, RdsSource, Reference, Source};
use crate::runbook::Runbook;

/// What to drill, and by which criteria.
#[derive(Clone, Debug)]
pub struct DrillRequest {
    pub source: SourceName,
    pub sample: SampleRequest,
    /// Read from this repository only; the others that are in use are not called.
    pub from: Option<RepositoryName>,
    /// Backups are read as they were at an earlier time.
    pub earlier: Option<EarlierView>,
    /// Where sandboxes are made.
    pub root: PathBuf,
    /// Go on where it cannot be proven that the sandbox has no network.
    pub allow_unverified: bool,
    /// The database that the checks ask; `None`: that of the dump.
    pub database: Option<String>,
    /// The role that asks: the application's; `None`: a superuser, to whom a missing grant does not matter.
    pub role: Option<String>,
    /// How the policy logs in to a cluster that was restored, where no role is given.
    pub login_role: Option<String>,
    pub checks: Vec<Check>,
    pub rto: Duration,
    pub rpo: Duration,
    /// It is given up after this long.
    pub deadline: Duration,
    /// What the policy allows for and a drill does not measure: name, time.
    pub allowances: Vec<(String, Duration)>,
    pub people: People,
    pub trigger: Trigger,
    pub occurrence: Option<DateTime<Utc>>,
    pub policy_sha256: Sha256Hex,
    /// This program, which the restored server runs to fetch WAL.
    pub drctl: PathBuf,
    /// Segments that are prefetched, and concurrent transfers.
    pub prefetch: usize,
    pub parallel: usize,
    pub tools: Option<PathBuf>,
    /// For the scenarios in RDS.
    pub rds: Option<RdsDrill>,
    /// The runbook whose steps restore dumps.
    pub runbook: Option<RunbookDrill>,
    /// For the scenario in AWS Backup.
    pub resource: Option<ResourceDrill>,
    /// For the scenario of a whole application.
    pub application: Option<ApplicationDrill>,
    /// What a real recovery would do otherwise.
    pub deviations: Vec<String>,
}

/// What a drill restores of an application beside its database.
#[derive(Clone, Debug)]
pub struct ApplicationDrill {
    /// The members of the recovery point, in its order; the drilled source is one of them.
    pub members: Vec<Source>,
    pub references: Vec<Reference>,
}

/// A runbook that a drill runs.
#[derive(Clone, Debug)]
pub struct RunbookDrill {
    pub runbook: Runbook,
    /// Of its parameters and decisions, as the policy has them.
    pub parameters: BTreeMap<String, String>,
    /// What its commands have beside: the policy, and the identity that opens backups.
    pub environment: Vec<(String, String)>,
}

/// What a drill of AWS Backup restores from.
#[derive(Clone, Debug)]
pub struct ResourceDrill {
    pub config: AwsBackupSource,
    /// From and in this region only.
    pub region: Option<String>,
}

/// What an RDS drill restores from.
#[derive(Clone, Debug)]
pub struct RdsDrill {
    pub config: RdsSource,
    /// From and in this region only.
    pub region: Option<String>,
    pub prices: Option<Prices>,
}
