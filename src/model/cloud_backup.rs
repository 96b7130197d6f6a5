use serde::{Deserialize, Serialize};

/// What a backup is that AWS keeps: a snapshot of RDS, or a recovery point of AWS Backup. Its bytes are in no
/// repository; beside it there lies what a restore needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudBackup {
    /// ARN of what was backed up.
    pub resource: String,
    /// What RDS calls it for ever (`DbiResourceId`), whatever becomes of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    pub encrypted: bool,
    /// The plan of AWS Backup that had it made: it is that plan's, and drctl only knows of it. `None`: drctl did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What its storage has room for, GiB; AWS does not say how much of it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated_gib: Option<u64>,
    /// Where it stood complete when the manifest was written: where it was made first, then the copies.
    pub held: Vec<CloudBackupCopy>,
}

impl CloudBackup {
    pub fn held_in(&self, region: &str) -> Option<&CloudBackupCopy> {
        self.held.iter().find(|copy| copy.region == region)
    }
}

/// A backup that AWS keeps, in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudBackupCopy {
    pub region: String,
    /// Of the snapshot or recovery point.
    pub arn: String,
    /// Of AWS Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// It is encrypted with this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
}
