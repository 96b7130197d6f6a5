//! AWS-managed backups of a source, region by region.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::aws::rds::SwitchedOver;
use crate::model::{BackupId, SourceName};

/// Of every source whose backups AWS keeps.
pub type Regions = BTreeMap<SourceName, CloudInventory>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudInventory {
    pub service: Service,
    /// The database that has the name now; `None`: it could not be asked, or there is none.
    pub live: Option<LiveDatabase>,
    /// That of the database or resource first.
    pub regions: Vec<RegionInventory>,
    /// Dumps of it are taken too, which repositories hold.
    pub is_dumped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveDatabase {
    /// What RDS calls it for ever: another of the same name has another.
    pub resource_id: String,
    /// drctl restored it from backups of this source, or of another source of the same database, so that the
    /// snapshots of the others are of its data, too.
    pub is_restored: bool,
    /// Those whose name a blue/green switchover gave to it, with their data.
    pub predecessors: Vec<SwitchedOver>,
}

impl LiveDatabase {
    /// Whether a snapshot of that database brings back nothing of this one.
    pub(crate) fn is_another_than(&self, resource_id: &str) -> bool {
        let is_own = self.resource_id == resource_id
            || self.predecessors.iter().any(|predecessor| predecessor.resource_id == resource_id);
        !self.is_restored && !is_own
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Rds,
    AwsBackup,
}

impl Service {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rds => "RDS",
            Self::AwsBackup => "AWS Backup",
        }
    }
}

/// One source in one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionInventory {
    pub region: String,
    /// Backups that could be restored there.
    pub backups: Vec<BackupId>,
    pub automated: Option<AutomatedReach>,
    /// What RDS's automated backups hold of another database that had the name.
    pub of_other: Option<ForeignBackup>,
    /// The newest of AWS Backup, which may be a plan's and no backup of drctl's.
    pub point: Option<NewestPoint>,
    /// When the plan's continuous recovery point began. AWS Backup says neither how far back nor how far it reaches.
    pub continuous_since: Option<DateTime<Utc>>,
    /// In words: what may be there besides, and could not be listed.
    pub unread: Vec<String>,
    /// Why it could not be asked, so that nothing is promised of it.
    pub unknown: Option<String>,
}

/// What is there of a database that had the name before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForeignBackup {
    pub resource_id: String,
    pub until: DateTime<Utc>,
}

/// What RDS's automated backups can bring back: every moment between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AutomatedReach {
    /// `None`: RDS does not say.
    pub earliest: Option<DateTime<Utc>>,
    pub until: DateTime<Utc>,
}

/// A recovery point of AWS Backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewestPoint {
    pub arn: String,
    pub vault: String,
    pub created: DateTime<Utc>,
    /// A plan of AWS Backup had it made.
    pub of_plan: bool,
}
