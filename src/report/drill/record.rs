//! Clean-up, repetition, and the record itself.

use super::{DrillReport, facts};
use crate::drill::DrillRecord;
use crate::drill::evidence::StoredDrill;
use crate::model::RepositoryName;
use crate::report::page::{Block, Cell, Section, Tone, utc};
use crate::text::format_time;

pub(super) fn cleanup(record: &DrillRecord) -> Section {
    let cleanup = &record.cleanup;
    let mut blocks = vec![match (cleanup.is_complete, cleanup.left.is_empty()) {
        (true, true) => Block::Notice(Tone::Good, "Nothing of the drill is left.".to_owned()),
        _ => Block::Notice(Tone::Bad, "Not everything was removed.".to_owned()),
    }];
    let lists = [
        ("Left:", &cleanup.left),
        ("Removed:", &cleanup.removed),
        ("Leftovers of earlier drills that were removed:", &cleanup.leftovers_removed),
    ];
    for (words, items) in lists {
        if !items.is_empty() {
            blocks.extend([Block::Text(words.to_owned()), Block::List(items.clone())]);
        }
    }
    if let Some(cost) = record.cost {
        blocks.push(Block::Text(format!("It cost {cost:.2} US dollars.")));
    }
    Section::new("Clean-up", blocks)
}

/// Returns the command that repeats a drill with the same backup, or the same target.
pub fn repeat_command(record: &DrillRecord) -> String {
    let (identity, sample) = (&record.identity, &record.sample);
    let what = match (sample.target, &sample.backup, sample.seed) {
        (Some(target), _, _) => format!(" --point-in-time {}", format_time(target)),
        (None, Some(backup), _) => format!(" --backup {backup}"),
        (None, None, Some(seed)) => format!(" --seed {seed}"),
        (None, None, None) => String::new(),
    };
    let as_of = sample.as_of.map(|time| format!(" --as-of {}", format_time(time))).unwrap_or_default();
    format!("drctl drill run --scenario {} --source {}{what}{as_of}", identity.scenario, identity.source)
}

pub(super) fn repeat(record: &DrillRecord) -> Section {
    let text =
        "It needs the policy, the repositories and the identity; it restores into a sandbox and removes it.";
    Section::new(
        "How to repeat it",
        vec![Block::Command(repeat_command(record)), Block::Text(text.to_owned())],
    )
}

pub(super) fn evidence(report: &DrillReport<'_>) -> Section {
    let (stored, record) = (report.drill, &report.drill.record);
    let (identity, people) = (&record.identity, &record.people);
    let held: Vec<&str> = report.repositories.iter().map(RepositoryName::as_str).collect();
    let mut blocks: Vec<Block> =
        report.damage.iter().map(|damage| Block::Notice(Tone::Bad, damage.clone())).collect();
    blocks.push(facts([
        ("Drill", Some(Cell::code(identity.drill.as_str()))),
        ("System, source", Some(Cell::text(format!("{}, {}", identity.system, identity.source)))),
        ("Due", identity.occurrence.map(|at| Cell::text(utc(at)))),
        ("Trigger", Some(Cell::text(identity.trigger.as_str()))),
        ("Begun", Some(Cell::text(utc(record.begun)))),
        ("Ended", Some(Cell::text(utc(record.ended)))),
        ("Requested by", Some(Cell::text(&people.requested_by))),
        ("Run by", Some(Cell::text(format!("{} on {}", people.operator, people.host)))),
        ("CI job", people.job_url.as_ref().map(Cell::text)),
        ("Acknowledged", Some(acknowledged(stored))),
        ("SHA-256 of the record", Some(Cell::code(stored.sha256.to_string()))),
        ("Stored as", Some(Cell::code(&report.key))),
        ("In", Some(Cell::text(held.join(", ")))),
        (
            "Record before",
            Some(identity.previous.as_ref().map_or(Cell::text("none: it is the first"), |previous| {
                Cell::code(format!("{} SHA-256 {}", previous.drill, previous.sha256))
            })),
        ),
        ("SHA-256 of the policy", Some(Cell::code(identity.policy_sha256.to_string()))),
        ("drctl", Some(Cell::text(&identity.drctl_version))),
        ("SHA-256 of drctl", identity.drctl_sha256.map(|sha256| Cell::code(sha256.to_string()))),
    ]));
    Section::new("The record", blocks)
}

fn acknowledged(drill: &StoredDrill) -> Cell {
    match &drill.acknowledgement {
        Some(seen) => Cell::text(format!("by {} at {}: {}", seen.by, utc(seen.at), seen.note)),
        None => Cell::text("not yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::{Scenario, passed};

    #[test]
    fn a_drill_is_repeated_with_what_it_restored() {
        let mut record = passed();
        let command = "drctl drill run --scenario region-loss --source database";
        assert_eq!(
            repeat_command(&record),
            format!("{command} --backup 20261101T030000Z-database-logical-2222")
        );
        record.sample.backup = None;
        record.sample.seed = Some(7);
        assert_eq!(repeat_command(&record), format!("{command} --seed 7"));
        record.identity.scenario = Scenario::PointInTime;
        record.sample.target = Some(record.begun);
        let command = command.replace("region-loss", "point-in-time");
        assert_eq!(repeat_command(&record), format!("{command} --point-in-time 2026-11-01T05:00:00Z"));
    }
}
