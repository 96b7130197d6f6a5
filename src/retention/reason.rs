//! Why a backup or WAL stays or goes, in words.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::{BackupId, Bucket, Period};
use crate::policy::CalendarSpan;

/// Why a backup is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// The newest good one.
    Newest,
    /// Among the newest good ones, however old.
    KeepLast(u32),
    /// Among the newest good ones that can be restored without another.
    Redundancy(u32),
    /// Newer than the newest good one: it may become good.
    Unproven,
    KeepWithin(CalendarSpan),
    /// The one that stands for a period.
    Keeper {
        period: Period,
        bucket: Bucket,
    },
    /// The period is not over.
    CurrentPeriod(Bucket),
    /// Times of the window of point-in-time recovery are recovered from it.
    PointInTime,
    ParentOf(BackupId),
    Hold {
        id: String,
        reason: String,
    },
    /// Its recovery point is later than now.
    Future,
    /// Of the cluster that the source had before: the new one has too few good backups.
    EarlierCluster,
    /// Its source is not in the policy, which says nothing about it.
    UnknownSource,
    /// Of a manifest: these regions have what it describes; none: which have it is not known.
    Managed(Vec<String>),
    /// Of a snapshot or recovery point that drctl did not make, or cannot tell whether it did.
    Foreign(String),
    /// Whether it is there cannot be found out.
    Undetermined(String),
    /// Its state in AWS is not final.
    InProgress(String),
    /// AWS is reading it.
    InUse(String),
}

impl KeepReason {
    /// Returns the word that programs tell it by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::KeepLast(_) => "keep-last",
            Self::Redundancy(_) => "minimum-redundancy",
            Self::Unproven => "newer-than-newest-good",
            Self::KeepWithin(_) => "keep-within",
            Self::Keeper { period, .. } => period.rule(),
            Self::CurrentPeriod(_) => "current-period",
            Self::PointInTime => "pitr",
            Self::ParentOf(_) => "parent",
            Self::Hold { .. } => "hold",
            Self::Future => "future",
            Self::EarlierCluster => "earlier-cluster",
            Self::UnknownSource => "unknown-source",
            Self::Managed(_) => "managed",
            Self::Foreign(_) => "foreign",
            Self::Undetermined(_) => "undetermined",
            Self::InProgress(_) => "in-progress",
            Self::InUse(_) => "in-use",
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest good backup"),
            Self::KeepLast(count) => write!(f, "keep_last {count}"),
            Self::Redundancy(count) => write!(f, "minimum_redundancy {count}"),
            Self::Unproven => f.write_str("newer than the newest good backup"),
            Self::KeepWithin(span) => write!(f, "keep_within {span}"),
            Self::Keeper { period, bucket } => write!(f, "{} {bucket}", period.rule()),
            Self::CurrentPeriod(bucket) => write!(f, "{bucket} is not over"),
            Self::PointInTime => f.write_str("point-in-time recovery begins from it"),
            Self::ParentOf(child) => write!(f, "parent of {child}"),
            Self::Hold { id, reason } => write!(f, "hold {id}: {reason}"),
            Self::Future => f.write_str("dated in the future"),
            Self::EarlierCluster => {
                f.write_str("of the cluster before: the new one does not have enough good backups yet")
            }
            Self::UnknownSource => f.write_str("its source is not in the policy"),
            Self::Managed(regions) if regions.is_empty() => {
                f.write_str("whether AWS still has its data is not known")
            }
            Self::Managed(regions) => write!(f, "its data stays in {}", regions.join(" and ")),
            Self::Foreign(why) => write!(f, "{why}: drctl removes only what it made"),
            Self::Undetermined(why) => write!(f, "whether it is there is not known: {why}"),
            Self::InProgress(status) => write!(f, "it is `{status}` in AWS"),
            Self::InUse(by) => f.write_str(by),
        }
    }
}

impl Serialize for KeepReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Words<'a> {
            code: &'a str,
            text: String,
        }
        Words { code: self.code(), text: self.to_string() }.serialize(serializer)
    }
}

/// Why a backup goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoveReason {
    /// Another one stands for its period.
    Superseded { bucket: Bucket, by: BackupId },
    /// It is older than every rule.
    Expired,
    /// Of a manifest: what it describes was removed from every region.
    NoneLeft,
}

impl fmt::Display for RemoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superseded { bucket, by } => write!(f, "{by} is kept for {bucket}"),
            Self::Expired => f.write_str("older than every rule"),
            Self::NoneLeft => f.write_str("what it describes was removed from every region"),
        }
    }
}

impl Serialize for RemoveReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What becomes of the manifest of a backup that AWS keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ManifestFate {
    /// These regions have what it describes; none: which have it is not known.
    Stays(Vec<String>),
    Goes(RemoveReason),
}
