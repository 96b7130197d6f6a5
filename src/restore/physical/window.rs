use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::target::shown;
use crate::model::{BackupId, RepositoryName};
use crate::wal::{CommitTimes, Gap, ReplayEnd, ReplayPosition, ReplayRange};

/// What one repository alone can restore: any point in time between the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveryWindow {
    pub repository: RepositoryName,
    /// The oldest backup that leads through it.
    pub backup: BackupId,
    pub from: DateTime<Utc>,
    /// `None`: the time at which the last of its WAL was complete is unknown.
    pub until: Option<DateTime<Utc>>,
    pub end: ReplayPosition,
    /// Why it ends there, unless it is simply the end of the WAL.
    pub cut_by: Option<String>,
}

impl RecoveryWindow {
    pub(super) fn new(
        repository: RepositoryName,
        backup: BackupId,
        from: DateTime<Utc>,
        reach: &ReplayRange,
        moment: CommitTimes,
    ) -> Self {
        let until = moment.complete;
        Self { repository, backup, from, until, end: reach.end, cut_by: why(&reach.stop) }
    }
}

impl fmt::Display for RecoveryWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` has everything from {} to ", self.repository, shown(self.from))?;
        match self.until {
            Some(until) => write!(f, "{}", shown(until))?,
            None => f.write_str("an unknown time")?,
        }
        write!(f, " (position {} on timeline {})", self.end.lsn, self.end.timeline)?;
        match &self.cut_by {
            Some(why) => write!(f, ", where {why}"),
            None => Ok(()),
        }
    }
}

/// Returns what can be restored, a line each, to end a refusal.
pub(super) fn restorable(windows: &[RecoveryWindow]) -> String {
    if windows.is_empty() {
        return "; nothing can be restored to a point in time".to_owned();
    }
    windows.iter().map(|window| format!("\n    {window}")).collect()
}

/// Returns why the WAL ends, as text that follows "where"; `None` for its regular end.
pub(super) fn why(stop: &ReplayEnd) -> Option<String> {
    match stop {
        ReplayEnd::End => None,
        ReplayEnd::Gap(gap) => Some(format!("{} missing", missing(gap))),
        ReplayEnd::NoHistory(timeline) => {
            Some(format!("the history of timeline {timeline} is missing, so it is unknown where it forked"))
        }
        ReplayEnd::NotAChild(timeline) => Some(format!("timeline {timeline} did not come from there")),
        ReplayEnd::Damaged(damaged) => Some(damaged.to_string()),
    }
}

pub(super) fn missing(gap: &Gap) -> String {
    if gap.count == 1 {
        format!("segment {} is", gap.first)
    } else {
        format!("{} segments, {} to {}, are", gap.count, gap.first, gap.last)
    }
}
