use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::BackupId;

/// A window in which any point in time is recoverable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveryWindow {
    /// `None`: its begin is unknown.
    pub from: Option<DateTime<Utc>>,
    pub until: DateTime<Utc>,
    /// The oldest base backup that leads through it; `None`: an AWS-managed backup.
    pub backup: Option<BackupId>,
    /// What is missing after it, where later WAL exists.
    pub gap: Option<String>,
}

impl RecoveryWindow {
    pub fn contains(&self, time: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= time) && time <= self.until
    }
}
