use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use thiserror::Error;

use super::base_after_gap::base_behind_gaps;
use super::listing::{self, ListError};
use super::{
    Archive, ArchiverFacts, CommitTimes, Gap, KeptError, LastArchived, ReplayPosition, ReplayRange,
    TimelineDivergence, TimelineTarget, WalInventory, complete_by_server,
};
use crate::model::{BackupId, Segment, Timeline, WalName};
use crate::pipeline::Identities;
use crate::repository::Repository;
use crate::store::StoreError;

/// What one repository has of a cluster's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// The oldest first.
    pub timelines: Vec<TimelineStatus>,
    /// From here on everything up to the end is there: what begins later can be brought to it.
    pub whole_since: Option<ReplayPosition>,
    /// Where it ends; `None` where there is nothing.
    pub reach: Option<ReplayRange>,
    pub moment: CommitTimes,
    /// Where log is missing: the newest base backup behind that, which can be brought to the end.
    pub base: Option<BackupId>,
    /// The server was told that this is archived, and it is not there.
    pub lost: Option<WalName>,
    /// The newest log is not of the server's own timeline.
    pub beside: Option<TimelineDivergence>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineStatus {
    pub timeline: Timeline,
    /// Whole segments.
    pub segments: u64,
    pub newest: Option<Segment>,
    pub gaps: Vec<Gap>,
    /// Nobody finds the way to it.
    pub lacks_history: bool,
}

/// How good that is, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveHealth {
    Ok,
    /// Three quarters of the objective are gone.
    Late,
    /// What is there is inside the objective, and the server's log does not come any more.
    Stalled,
    /// There is log, and nothing says up to when: what was kept with it is lost.
    UnknownTime,
    NotReached,
    /// Segments are missing between others.
    Gap,
    /// What the server was told is archived is not there.
    Lost,
    ObjectiveMissed,
    Nothing,
}

impl ArchiveHealth {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Stalled => "stalled",
            Self::UnknownTime => "unknown time",
            Self::NotReached => "not reached",
            Self::Gap => "gap",
            Self::Lost => "lost",
            Self::ObjectiveMissed => "objective missed",
            Self::Nothing => "nothing archived",
        }
    }
}

/// Why it is not known what a repository has.
#[derive(Debug, Error)]
pub enum ArchiveStatusError {
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error("failed to look for base backups")]
    Bases(#[source] StoreError),
}

/// Asks one repository. What the server was told must have been asked before; `server`: what it says itself, if it
/// is the one whose log this is.
pub async fn standing(
    repository: &Repository,
    archive: &Archive,
    acknowledged: Option<&LastArchived>,
    server: Option<&ArchiverFacts>,
) -> Result<ArchiveStatus, ArchiveStatusError> {
    let store = &*repository.store;
    let holdings = listing::holdings(store, archive, None, &Identities::default()).await?;
    let on = server.map(|server| server.timeline);
    let end = end(&holdings, on);
    let mut moment = match &end {
        Some((_, reach)) => listing::moment(store, archive, reach).await.map_err(ListError::Store)?,
        None => CommitTimes { complete: None, newest_commit: None },
    };
    if let (Some((_, reach)), Some(server)) = (&end, server) {
        moment.complete = moment.complete.max(complete_by_server(server, reach));
    }
    let lost = match acknowledged {
        Some(told) => told.is_lost_from(repository).await?.then_some(told.file),
        None => None,
    };
    let mut standing = ArchiveStatus {
        lost,
        base: None,
        beside: on.and_then(|on| TimelineDivergence::of_held(&holdings, on)),
        timelines: holdings
            .timelines()
            .map(|timeline| TimelineStatus {
                timeline,
                segments: holdings.count(timeline),
                newest: holdings.newest(timeline),
                gaps: holdings.gaps(timeline),
                lacks_history: holdings.without_history().any(|without| without == timeline),
            })
            .collect(),
        whole_since: end.as_ref().map(|(since, _)| *since),
        reach: end.map(|(_, reach)| reach),
        moment,
    };
    if let Some(reach) = standing.reach.as_ref().filter(|_| standing.has_gaps()) {
        let base = base_behind_gaps(store, archive, &holdings, reach).await;
        standing.base = base.map_err(ArchiveStatusError::Bases)?;
    }
    Ok(standing)
}

/// From where everything is there up to the end of the server's timeline, and that end; of the newest one with any
/// segment where the server's has none.
fn end(holdings: &WalInventory, on: Option<Timeline>) -> Option<(ReplayPosition, ReplayRange)> {
    let timelines: Vec<_> = holdings.timelines().collect();
    let of_server = on.filter(|on| holdings.count(*on) > 0);
    let with_any = || timelines.into_iter().rev().find(|timeline| holdings.count(*timeline) > 0);
    let newest = of_server.or_else(with_any)?;
    let since = holdings.whole_since(newest)?;
    Some((since, holdings.reach(since, TimelineTarget::Timeline(newest))))
}

impl ArchiveStatus {
    pub fn has_gaps(&self) -> bool {
        self.timelines.iter().any(|timeline| !timeline.gaps.is_empty() || timeline.lacks_history)
    }

    /// Whether log is missing that no base backup makes up for.
    fn is_broken(&self) -> bool {
        self.has_gaps() && self.base.is_none()
    }

    /// How long ago the moment was up to which everything is there.
    pub fn behind(&self, now: DateTime<Utc>) -> Option<Duration> {
        let complete = self.moment.complete?;
        Some((now - complete).to_std().unwrap_or_default())
    }

    pub fn verdict(&self, rpo: Duration, now: DateTime<Utc>) -> ArchiveHealth {
        match self.behind(now) {
            None if self.reach.is_none() => ArchiveHealth::Nothing,
            None if self.is_broken() => ArchiveHealth::Gap,
            None => ArchiveHealth::UnknownTime,
            Some(behind) if behind > rpo => ArchiveHealth::ObjectiveMissed,
            Some(_) if self.lost.is_some() => ArchiveHealth::Lost,
            Some(_) if self.is_broken() => ArchiveHealth::Gap,
            Some(behind) if behind > rpo * 3 / 4 => ArchiveHealth::Late,
            Some(_) => ArchiveHealth::Ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_is_said_before_the_objective_is_missed() {
        let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
        let hour = Duration::from_secs(3600);
        let standing = |minutes: Option<i64>| ArchiveStatus {
            timelines: vec![],
            whole_since: None,
            reach: None,
            lost: None,
            beside: None,
            base: None,
            moment: CommitTimes {
                complete: minutes.map(|minutes| now - chrono::TimeDelta::minutes(minutes)),
                newest_commit: None,
            },
        };
        for (minutes, verdict) in [
            (Some(-5), ArchiveHealth::Ok),
            (Some(45), ArchiveHealth::Ok),
            (Some(46), ArchiveHealth::Late),
            (Some(61), ArchiveHealth::ObjectiveMissed),
            (None, ArchiveHealth::Nothing),
        ] {
            assert_eq!(standing(minutes).verdict(hour, now), verdict, "{minutes:?}");
        }
    }
}
