use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What AWS Backup said of a recovery point when it was made: a restore begins with it. Its region need not be
/// asked again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceProfile {
    /// `RDS`, `EFS`, `S3`, …
    pub resource_type: String,
    /// Where the resource was: some of the metadata means something there only.
    pub region: String,
    pub metadata: BTreeMap<String, String>,
}
