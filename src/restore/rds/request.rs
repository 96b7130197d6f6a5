use chrono::{DateTime, Utc};

use super::Overrides;
use crate::model::{SourceName, SystemName};
use crate::policy::{Prices, RdsSource};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct RdsRestoreRequest {
    pub system: SystemName,
    pub source: SourceName,
    pub config: RdsSource,
    pub target: RdsTarget,
    /// Only from there, and there.
    pub region: Option<String>,
    /// Identifier of the new instance.
    pub to: String,
    /// What is made otherwise than it was recorded.
    pub overrides: Overrides,
    /// Set for one that is not to stay.
    pub lifetime: Option<Lifetime>,
    /// What AWS charges; `None` where the policy does not say.
    pub prices: Option<Prices>,
    /// Whether to wait until every block is there, and RDS's first backup of it is complete.
    pub hydrate: bool,
    /// Whether RDS is to keep automated backups of it only when it takes production's place.
    pub backups_later: bool,
}

/// Which data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RdsTarget {
    /// The beginning of a backup's id.
    Backup(String),
    /// As much as there is.
    Latest,
    /// Everything committed until then.
    Time(DateTime<Utc>),
}

/// When something temporary may be removed, and who had it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub until: DateTime<Utc>,
    pub owner: String,
}
