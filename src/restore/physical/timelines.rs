//! How far each timeline leads, to find the latest recoverable data.

use std::fmt;

use chrono::{DateTime, Utc};

use super::PhysicalRestoreError;
use super::select::{BaseBackup, parents, replay_from};
use super::target::shown;
use super::wal_survey::WalArchives;
use crate::model::{BackupId, Lsn, Timeline};
use crate::restore::Refusal;

/// How far a timeline can be followed from a base backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    pub timeline: Timeline,
    /// The newest backup that leads along it.
    pub backup: BackupId,
    pub end: Lsn,
    /// Everything committed before is there, by the clock of the archiving host.
    pub until: DateTime<Utc>,
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timeline, backup, end, until } = self;
        write!(f, "timeline {timeline}: everything until {}, position {end}, from {backup}", shown(*until))
    }
}

/// Returns the timelines that can be followed from any of the backups. `bases`: newest first.
pub(super) async fn branches(
    bases: &[BaseBackup],
    log: &WalArchives,
) -> Result<Vec<Branch>, PhysicalRestoreError> {
    let mut branches = Vec::new();
    for timeline in log.together.timelines() {
        let fit = bases.iter().find_map(|base| {
            parents(base, bases.iter()).ok()?;
            Some((base, replay_from(base, timeline, &log.together).ok()?))
        });
        let Some((base, reach)) = fit else { continue };
        let until = log.moment(&reach).await?.complete;
        branches.push(Branch {
            timeline,
            backup: base.manifest.id.clone(),
            end: reach.end.lsn,
            until: until.unwrap_or_default().max(base.manifest.recovery_point),
        });
    }
    Ok(branches)
}

/// Refuses the newest timeline as the default where an ancestor or a sibling has later data: a restored
/// server that archived for a while must not replace production.
pub(super) fn ends_early(newest: Timeline, branches: &[Branch]) -> Option<Refusal> {
    let own = branches.iter().find(|branch| branch.timeline == newest)?;
    let furthest = branches.iter().max_by_key(|branch| branch.until)?;
    (furthest.until > own.until).then(|| {
        let branches: String = branches.iter().map(|branch| format!("\n    {branch}")).collect();
        let message = format!(
            "the newest timeline, {newest}, is not the one that leads to the latest there is, and none was chosen:{branches}"
        );
        Refusal::usage("forked", message).with("furthest", furthest.timeline)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_timeline_is_taken_only_where_none_leads_further() {
        let timeline = |number| Timeline::new(number).unwrap();
        let branch = |number, minute: u32| Branch {
            timeline: timeline(number),
            backup: "20261120T115900Z-database-base-2222".parse().unwrap(),
            end: Lsn(0x500_0000),
            until: format!("2026-11-20T12:{minute:02}:00Z").parse().unwrap(),
        };
        assert!(ends_early(timeline(2), &[branch(1, 10), branch(2, 30)]).is_none());
        assert!(ends_early(timeline(2), &[branch(1, 10), branch(2, 10)]).is_none());
        let refusal = ends_early(timeline(3), &[branch(1, 30), branch(3, 17)]).unwrap().to_string();
        assert!(refusal.contains("timeline 1: everything until 2026-11-20T12:30:00"), "{refusal}");
        assert!(refusal.contains("timeline 3: everything until 2026-11-20T12:17:00"), "{refusal}");
        // That nothing leads along it is told otherwise.
        assert!(ends_early(timeline(3), &[branch(1, 30)]).is_none());
    }
}
