//! What a calendar says of one day: the strongest reason for which something of it stays. Pure.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::reason::KeepReason;
use super::source_plan::PlannedBackup;
use crate::model::{BackupKind, Period};

/// What a cell says, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DayMark {
    Nothing,
    Removed,
    Other,
    Parent,
    PointInTime,
    Newest,
    Day,
    Week,
    Month,
    Year,
    Hold,
}

impl DayMark {
    /// In the order of a legend.
    pub const ALL: [Self; 11] = [
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Year,
        Self::Hold,
        Self::Newest,
        Self::PointInTime,
        Self::Parent,
        Self::Other,
        Self::Removed,
        Self::Nothing,
    ];

    pub fn letter(self) -> char {
        match self {
            Self::Nothing => '.',
            Self::Removed => 'x',
            Self::Other => 'o',
            Self::Parent => 'c',
            Self::PointInTime => 'p',
            Self::Newest => 'n',
            Self::Day => 'd',
            Self::Week => 'w',
            Self::Month => 'm',
            Self::Year => 'y',
            Self::Hold => 'h',
        }
    }

    pub fn meaning(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Removed => "all of it goes",
            Self::Other => "kept for another reason",
            Self::Parent => "kept backups build on it",
            Self::PointInTime => "point-in-time recovery",
            Self::Newest => "newest",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
            Self::Hold => "hold",
        }
    }

    fn of_reason(reason: &KeepReason) -> Self {
        match reason {
            KeepReason::Keeper { period: Period::Day, .. } => Self::Day,
            KeepReason::Keeper { period: Period::Week, .. } => Self::Week,
            KeepReason::Keeper { period: Period::Month, .. } => Self::Month,
            KeepReason::Keeper { period: Period::Year, .. } => Self::Year,
            KeepReason::Hold { .. } => Self::Hold,
            KeepReason::PointInTime => Self::PointInTime,
            KeepReason::ParentOf(_) => Self::Parent,
            KeepReason::Newest
            | KeepReason::KeepLast(_)
            | KeepReason::Redundancy(_)
            | KeepReason::Unproven
            | KeepReason::CurrentPeriod(_) => Self::Newest,
            KeepReason::KeepWithin(_)
            | KeepReason::Future
            | KeepReason::EarlierCluster
            | KeepReason::UnknownSource
            | KeepReason::Managed(_)
            | KeepReason::Foreign(_)
            | KeepReason::Undetermined(_)
            | KeepReason::InProgress(_)
            | KeepReason::InUse(_) => Self::Other,
        }
    }

    fn of_backup(backup: &PlannedBackup) -> Self {
        if backup.is_removed() {
            return Self::Removed;
        }
        backup.reasons().iter().map(Self::of_reason).max().unwrap_or(Self::Other)
    }
}

/// Returns the days that have backups of a kind, each with its mark.
pub fn day_marks<'b>(
    backups: impl IntoIterator<Item = &'b PlannedBackup>,
    kind: BackupKind,
) -> BTreeMap<NaiveDate, DayMark> {
    let mut days: BTreeMap<NaiveDate, DayMark> = BTreeMap::new();
    for backup in backups.into_iter().filter(|backup| backup.id.kind() == kind) {
        let mark = days.entry(backup.recovery_point.date_naive()).or_insert(DayMark::Nothing);
        *mark = (*mark).max(DayMark::of_backup(backup));
    }
    days
}
