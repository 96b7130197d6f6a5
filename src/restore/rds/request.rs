use chrono::{DateTime, Utc};

use super::Overrides;
use crate::model::{SourceName, SystemName};
use crate::policy::{Prices, RdsSource};

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct RdsRestoreRequest {
    pub system: SystemName,
    pub source: SourceName,
    pub config: RdsSource,
    pub target: RdsTarget,
    /// Restore from and in this region only.
    pub region: Option<String>,
    /// Identifier of the new instance.
    pub to: String,
    /// Settings to change from what was recorded.
    pub overrides: Overrides,
    /// Set for a temporary one.
    pub lifetime: Option<Lifetime>,
    /// AWS's prices; `None` where the policy has none.
    pub prices: Option<Prices>,
    /// Whether to wait until every block is there, and RDS's first backup of it is complete.
    pub hydrate: bool,
    /// Whether RDS keeps automated backups of it only once it replaces production.
    pub backups_later: bool,
}

/// The data to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RdsTarget {
    /// The prefix of a backup's id.
    Backup(String),
    /// The latest restorable time.
    Latest,
    /// Everything committed until then.
    Time(DateTime<Utc>),
}

/// When something temporary may be deleted, and who requested it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub until: DateTime<Utc>,
    pub owner: String,
}
