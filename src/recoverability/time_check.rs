//! Backups that are dated in the future. Pure.

use chrono::{DateTime, Utc};

use crate::catalog::{BackupEntry, intact_copies};
use crate::model::Manifest;
use crate::repository::{CLOCK_TOLERANCE, Inventory};

/// Returns whether a time is later than any correct clock could report.
pub fn is_future(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    time > now + CLOCK_TOLERANCE
}

/// Returns whether a clock was wrong when a backup was taken, or is wrong now, so that its age is unknown.
pub fn is_dated_in_future(manifest: &Manifest, now: DateTime<Utc>) -> bool {
    is_future(manifest.recovery_point, now)
}

/// Returns the intact copies of all backups whose age is known.
pub fn countable_copies(entries: &[BackupEntry], now: DateTime<Utc>) -> Inventory {
    let mut inventory = intact_copies(entries);
    inventory.backups.retain(|record| !is_dated_in_future(&record.manifest, now));
    inventory
}
