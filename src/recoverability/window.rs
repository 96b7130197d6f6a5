use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::BackupId;

/// Every moment of it can be recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveryWindow {
    /// `None`: it is not known how far back it goes.
    pub from: Option<DateTime<Utc>>,
    pub until: DateTime<Utc>,
    /// The oldest base backup that leads through it; `None`: AWS keeps it.
    pub backup: Option<BackupId>,
    /// What is missing behind it, where there is later WAL.
    pub gap: Option<String>,
}

impl RecoveryWindow {
    pub fn contains(&self, time: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= time) && time <= self.until
    }
}
