//! What one region has of a source, as plain data.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::model::{BackupId, CloudBackupCopy, Manifest};
use crate::retention::holding::{LeftAlone, SnapshotQuota};
use crate::retention::reason::KeepReason;

/// A snapshot or recovery point of a backup that a repository has the manifest of.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundCopy {
    pub backup: BackupId,
    pub copy: CloudBackupCopy,
    /// It can be restored.
    pub is_good: bool,
    /// 0 where AWS does not say what it takes up.
    pub bytes: u64,
    /// Why it stays whatever the rules say, as far as the listing shows it.
    pub stays: Option<KeepReason>,
    /// AWS refuses to delete it before.
    pub locked_until: Option<DateTime<Utc>>,
}

/// Everything of a source in a region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionListing {
    pub copies: Vec<FoundCopy>,
    /// ARNs, in any region, that a copy to this one is being made of.
    pub copied_from: Vec<String>,
    pub quota: Option<SnapshotQuota>,
    /// Recorded copies of which it is not known whether they are there, by ARN, and why.
    pub unseen: BTreeMap<String, String>,
    /// Where they are, and why nothing is known of it.
    pub left: Vec<LeftAlone>,
}

/// A copy that is planned to go, with the manifest that it has to agree with.
#[derive(Clone, Copy, Debug)]
pub struct RecordedCopy<'a> {
    pub manifest: &'a Manifest,
    pub copy: &'a CloudBackupCopy,
}
