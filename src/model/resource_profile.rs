use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The restore metadata of a recovery point, recorded by AWS Backup when it was created. A restore starts
/// from it and need not query its region again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceProfile {
    /// `RDS`, `EFS`, `S3`, …
    pub resource_type: String,
    /// Region of the resource: some of the metadata is only valid there.
    pub region: String,
    pub metadata: BTreeMap<String, String>,
}
