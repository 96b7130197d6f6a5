use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Lsn, Timeline};

/// A checkpoint in a cluster's WAL. Servers that continue copies of one cluster have none in common after they
/// parted, although their system identifier, timeline and positions are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where its record begins.
    pub at: Lsn,
    /// Where recovery from it begins.
    pub redo: Lsn,
    pub timeline: Timeline,
    /// By the server's clock, in whole seconds.
    pub time: DateTime<Utc>,
}
