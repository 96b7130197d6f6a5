//! AWS-managed backups of a source, region by region.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::aws::rds::SwitchedOver;
use crate::model::{BackupId, SourceName};

/// AWS-managed backups of every source that has any.
pub type Regions = BTreeMap<SourceName, CloudInventory>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudInventory {
    pub service: Service,
    /// The current owner of the name; `None`: it could not be queried, or there is none.
    pub live: Option<LiveDatabase>,
    /// The region of the database or resource first.
    pub regions: Vec<RegionInventory>,
    /// It is also dumped, into repositories.
    pub is_dumped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveDatabase {
    /// Its permanent RDS resource id: another database of the same name has another one.
    pub resource_id: String,
    /// drctl restored it from backups of this source, or of another source of the same database, so that
    /// snapshots of the originals have its data, too.
    pub is_restored: bool,
    /// Databases whose name, and data, a blue/green switchover passed to it.
    pub predecessors: Vec<SwitchedOver>,
}

impl LiveDatabase {
    /// Returns whether a snapshot of that database has no data of this one.
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
    /// Backups that are restorable there.
    pub backups: Vec<BackupId>,
    pub automated: Option<AutomatedReach>,
    /// RDS's automated backups of another database that had the name.
    pub of_other: Option<ForeignBackup>,
    /// The newest of AWS Backup, which may be a plan's instead of drctl's.
    pub point: Option<NewestPoint>,
    /// When the plan's continuous recovery point was created. AWS Backup does not report its range.
    pub continuous_since: Option<DateTime<Utc>>,
    /// What could not be listed there, as text.
    pub unread: Vec<String>,
    /// Why it could not be queried, so that nothing is promised for it.
    pub unknown: Option<String>,
}

/// Backups of a database that had the name before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForeignBackup {
    pub resource_id: String,
    pub until: DateTime<Utc>,
}

/// The range of RDS's automated backups: any point in time between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AutomatedReach {
    /// `None`: not reported by RDS.
    pub earliest: Option<DateTime<Utc>>,
    pub until: DateTime<Utc>,
}

/// A recovery point of AWS Backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewestPoint {
    pub arn: String,
    pub vault: String,
    pub created: DateTime<Utc>,
    /// It was created by a plan of AWS Backup.
    pub of_plan: bool,
}
