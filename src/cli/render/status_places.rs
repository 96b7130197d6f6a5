//! What `drctl status` says of each place.

use std::time::Duration;

use crate::cli::catalog_view::word_style;
use crate::cli::style;
use crate::cli::table::Cell;
use crate::recoverability::region::NewestPoint;
use crate::recoverability::wal::{ForeignCluster, TimelineBranch};
use crate::status::{LocationStatus, LossImpact, ObjectiveVerdict, ReplacedCluster, SourceStatus};
use crate::text::{approximate_duration, count, format_time};

/// How many missing backups are named individually.
const LISTED: usize = 5;

/// Describes the backups that do not count in a location, and why.
fn not_counted(place: &LocationStatus) -> Vec<String> {
    let name = &place.location;
    let mut lines = Vec::new();
    lines.extend(place.bad_backups.iter().map(|backup| {
        format!("  {name}: {backup} was bad when `drctl verify` read it last, and does not count")
    }));
    lines.extend(place.damaged.iter().map(|backup| {
        let counts = place.log.as_ref().is_some_and(|log| log.base == *backup);
        let but = if counts {
            "; no other base backup can be used"
        } else {
            ", and an older one is used before it"
        };
        format!("  {name}: {backup} holds data that was damaged when it was copied{but}")
    }));
    lines.extend(place.other_history.iter().map(|(backup, why)| {
        format!("  {name}: {backup} cannot be restored with the WAL there, and does not count: {why}")
    }));
    lines.extend(
        place
            .future
            .iter()
            .map(|backup| format!("  {name}: {backup} is dated in the future, and does not count")),
    );
    let (gone, absent): (Vec<_>, Vec<_>) = place.missing.iter().partition(|missing| missing.is_gone());
    lines.extend(gone.iter().take(LISTED).map(|missing| format!("  {name}: {}: {missing}", missing.backup)));
    let more = gone.len().saturating_sub(LISTED);
    if more > 0 {
        lines.push(format!("  {name}: {more} more are missing; `drctl verify` lists all"));
    }
    if !absent.is_empty() {
        let is_or_are = if absent.len() == 1 { "is" } else { "are" };
        let backups = count(absent.len() as u64, "backup");
        lines.push(format!("  {name}: {backups} that another repository has {is_or_are} not there"));
    }
    lines
}

/// Describes what WAL adds in a location, and obstacles.
pub(in crate::cli) fn details(place: &LocationStatus) -> Vec<String> {
    let name = &place.location;
    let mut lines = not_counted(place);
    if let Some(automated) = &place.automated {
        let from = automated.earliest.map(|from| format!(" from {}", format_time(from))).unwrap_or_default();
        let until = format_time(automated.until);
        lines.push(format!("  {name}: any point in time{from} until {until}, by RDS's automated backups"));
    }
    if let Some(log) = &place.log {
        let commit = match log.newest_commit {
            Some(commit) => format!("newest commit {}", format_time(commit)),
            None => "no commit is known after the base backup".to_owned(),
        };
        lines.push(format!("  {name}: everything until {}, {commit}", format_time(log.until)));
        if let Some(TimelineBranch { timeline, newest }) = log.branch {
            lines.push(format!(
                "  {name}: that is along timeline {timeline} (`drctl restore --timeline {timeline}`); `--latest` alone follows timeline {newest}, another branch"
            ));
        }
        let is_bad = |gap: &str| place.bad_log.iter().any(|file| gap.ends_with(file.as_str()));
        if let Some(gap) = log.gap.as_ref().filter(|gap| !is_bad(gap)) {
            lines.push(match log.damaged_at {
                Some(at) if log.is_minimal => format!(
                    "  {name}: WAL after {at} is of no use: `wal_level` was `minimal` from there on, in {gap}; only a base backup that was taken after that leads on"
                ),
                Some(at) => format!("  {name}: later WAL is of no use: {gap} is damaged at {at} before it"),
                None => format!("  {name}: later WAL is of no use: {gap} is missing before it"),
            });
        }
    }
    if let Some(file) = &place.lost {
        lines.push(format!("  {name}: {file} is missing, which the server counts as archived"));
    }
    if let Some(ForeignCluster { server, kept }) = &place.stranger {
        lines.push(format!(
            "  {name}: its base backups and their WAL are of the cluster with system identifier {kept}, and the server of the policy is {server}: they bring nothing of it back"
        ));
    }
    if let Some(ReplacedCluster { live, kept }) = &place.replaced {
        let (until, old) = (format_time(kept.until), &kept.resource_id);
        lines.push(format!(
            "  {name}: what AWS has there until {until} is of {old}, which had the name before, and brings nothing back of {live}, which has it now"
        ));
    }
    lines.extend(place.bad_log.iter().map(|file| {
        format!("  {name}: {file} was bad when `drctl verify` read it last, and what comes after it cannot be recovered from there")
    }));
    if let Some(newest) = &place.newest {
        lines.extend(
            place.left_out.iter().map(|left| format!("  {name}: {} does not hold {left}", newest.backup)),
        );
    }
    let waiting = place.waiting.iter();
    if let (Some(why), Some(log)) = (&place.unproven, &place.log) {
        lines.push(format!(
            "  {name}: whether the WAL there is of the server that {} was taken from is not known: {why}",
            log.base
        ));
    }
    lines.extend(waiting.map(|(backup, why)| format!("  {name}: {backup} is not yet restorable: {why}")));
    lines
}

pub(in crate::cli) fn cost(standing: &SourceStatus, lost: &LossImpact) -> String {
    let (source, repository) = (&standing.source, &lost.location);
    match (lost.loses_seconds, &lost.left) {
        (Some(seconds), Some(left)) => format!(
            "if {repository} burned now with {source}, you would lose {} (restored from {left})",
            approximate_duration(Duration::from_secs(seconds))
        ),
        _ => match lost.unknown.first() {
            None => format!("if {repository} burned now with {source}, you would lose everything"),
            Some(unknown) => format!(
                "if {repository} burned now with {source}, you would have {unknown}, which could not be queried"
            ),
        },
    }
}

/// Describes a recovery point that is not drctl's backup, or not yet.
fn told(point: &NewestPoint) -> String {
    let whose = if point.of_plan { ", of the plan" } else { "" };
    format!("recovery point of {}{whose}", format_time(point.created))
}

pub(in crate::cli) fn row(source: &str, place: &LocationStatus) -> [Cell; 6] {
    let (id, state) = match (&place.newest, &place.log) {
        (Some(newest), None) if place.automated.is_some() => {
            (format!("{} and automated backups", newest.backup), newest.state.as_str())
        }
        (None, None) if place.automated.is_some() => ("automated backups".to_owned(), ""),
        (Some(newest), Some(log)) if log.base == newest.backup => {
            (format!("{} and WAL", newest.backup), newest.state.as_str())
        }
        (Some(newest), _) => (newest.backup.to_string(), newest.state.as_str()),
        (None, _) if place.point.is_some() => (place.point.as_ref().map(told).unwrap_or_default(), ""),
        (None, _) => ("none".to_owned(), ""),
    };
    let loses = place.loses().map(approximate_duration).unwrap_or_default();
    let mut verdict = place.verdict.as_str().to_owned();
    if place.behind && !matches!(place.verdict, ObjectiveVerdict::Behind | ObjectiveVerdict::Nothing) {
        verdict.push_str(", behind");
    }
    if place.bad > 0 {
        verdict.push_str(&format!(", {} bad", place.bad));
    }
    [
        Cell::new(source).style(style::STRONG),
        Cell::new(match place.location.is_region() {
            true => format!("region {}", place.location),
            false => place.location.to_string(),
        }),
        Cell::new(id),
        Cell::new(loses).right(),
        Cell::new(state).style(word_style(state)),
        Cell::new(verdict).style(word_style(place.verdict.as_str())),
    ]
}
