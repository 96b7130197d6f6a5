//! A calendar that is read at a glance: months as rows, days as cells, each with the strongest reason that something of
//! that day stays.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use chrono::{Datelike as _, NaiveDate};

use crate::cli::style;
use crate::model::BackupKind;
use crate::retention::{KeepReason, Period, PlannedBackup};

/// What a cell says, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
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

impl Mark {
    const ALL: [Self; 11] = [
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

    fn letter(self) -> char {
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

    fn meaning(self) -> &'static str {
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

    fn style(self) -> Style {
        let colour = |colour: AnsiColor| colour.on_default();
        match self {
            Self::Nothing => style::FAINT,
            Self::Removed => style::BAD,
            Self::Other | Self::Parent => Style::new(),
            Self::PointInTime => colour(AnsiColor::Blue),
            Self::Newest => style::STRONG,
            Self::Day => colour(AnsiColor::Green),
            Self::Week => colour(AnsiColor::Cyan),
            Self::Month => colour(AnsiColor::Magenta),
            Self::Year => colour(AnsiColor::Yellow),
            Self::Hold => style::WARN,
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

/// Returns the calendar of the backups of one kind, and what its letters mean.
pub(super) fn lines<'b>(
    backups: impl IntoIterator<Item = &'b PlannedBackup>,
    kind: BackupKind,
) -> Vec<String> {
    let mut days: BTreeMap<NaiveDate, Mark> = BTreeMap::new();
    for backup in backups.into_iter().filter(|backup| backup.id.kind() == kind) {
        let mark = days.entry(backup.recovery_point.date_naive()).or_insert(Mark::Nothing);
        *mark = (*mark).max(Mark::of_backup(backup));
    }
    let (Some((first, _)), Some((last, _))) = (days.first_key_value(), days.last_key_value()) else {
        return vec![];
    };
    let faint = style::FAINT;
    let numbers: String =
        (1..=31).map(|day| if day % 5 == 0 { format!("{day:>2}") } else { "  ".to_owned() }).collect();
    let mut lines = vec![format!("  {faint}{kind:<8}{}{faint:#}", numbers.trim_end())];
    let (mut year, mut month) = (first.year(), first.month());
    while (year, month) <= (last.year(), last.month()) {
        let cells = (1..=31).filter_map(|day| NaiveDate::from_ymd_opt(year, month, day));
        let cells = cells.map(|date| {
            let mark = days.get(&date).copied().unwrap_or(Mark::Nothing);
            let style = mark.style();
            format!(" {style}{}{style:#}", mark.letter())
        });
        lines.push(format!("  {year:04}-{month:02} {}", cells.collect::<String>()));
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    let used = Mark::ALL.into_iter().filter(|mark| days.values().any(|used| used == mark));
    let legend: Vec<String> = used
        .map(|mark| {
            let style = mark.style();
            format!("{style}{}{style:#} {}", mark.letter(), mark.meaning())
        })
        .collect();
    lines.push(format!("          {}", legend.join(", ")));
    lines
}
