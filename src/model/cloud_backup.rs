use serde::{Deserialize, Serialize};

/// An AWS-managed backup: a snapshot of RDS, or a recovery point of AWS Backup. Its bytes are in no
/// repository; the repository holds what a restore needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudBackup {
    /// ARN of the source.
    pub resource: String,
    /// The immutable ID in RDS (`DbiResourceId`), which survives renames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    pub encrypted: bool,
    /// The AWS Backup plan that created it; drctl only records it. `None`: drctl created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The allocated storage, GiB; AWS does not report how much of it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated_gib: Option<u64>,
    /// Its complete copies when the manifest was written: the original first.
    pub held: Vec<CloudBackupCopy>,
}

impl CloudBackup {
    pub fn held_in(&self, region: &str) -> Option<&CloudBackupCopy> {
        self.held.iter().find(|copy| copy.region == region)
    }
}

/// A copy of an AWS-managed backup in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudBackupCopy {
    pub region: String,
    /// ARN of the snapshot or recovery point.
    pub arn: String,
    /// Vault of AWS Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// The key that it is encrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
}
