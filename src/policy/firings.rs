//! When cron lines fire. Days on which the clocks change are those of the zone.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::automation::CronLine;

/// Returns when any of the lines fires, later than `after` and no later than `until`, in order.
pub fn firings(
    lines: &[CronLine],
    zone: Tz,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let of_line = |line: &CronLine| {
        let firings = line.cron().iter_after(after.with_timezone(&zone));
        firings.map(|at| at.with_timezone(&Utc)).take_while(|at| *at <= until).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = lines.iter().flat_map(of_line).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// How long after its time a drill may begin; never more than half of the time to the next.
const DRILL_GRACE: TimeDelta = TimeDelta::hours(24);

/// Returns the end of the time in which a drill that is due has to begin.
pub fn drill_grace_ends(lines: &[CronLine], zone: Tz, due: DateTime<Utc>) -> DateTime<Utc> {
    let half = next_firing(lines, zone, due).map(|next| (next - due) / 2);
    due + half.map_or(DRILL_GRACE, |half| half.min(DRILL_GRACE))
}

/// Returns the first firing later than `after`.
pub fn next_firing(lines: &[CronLine], zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let after = after.with_timezone(&zone);
    let next = lines.iter().filter_map(|line| line.cron().find_next_occurrence(&after, false).ok());
    next.min().map(|at| at.with_timezone(&Utc))
}

/// Returns the last firing no later than `until`.
pub fn last_firing(lines: &[CronLine], zone: Tz, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let until = until.with_timezone(&zone);
    let last = lines.iter().filter_map(|line| line.cron().find_previous_occurrence(&until, true).ok());
    last.max().map(|at| at.with_timezone(&Utc))
}
