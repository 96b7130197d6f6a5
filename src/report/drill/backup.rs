//! Which backup was restored, and where.

use super::facts;
use crate::drill::DrillRecord;
use crate::report::figures::lasting;
use crate::report::page::{Block, Cell, Column, Section, Table, Tone, utc};
use crate::text::{count, format_size};

pub(super) fn sample(record: &DrillRecord) -> Section {
    let sample = &record.sample;
    let seed = sample.seed.map(|seed| format!(", with seed {seed}")).unwrap_or_default();
    let chosen = format!("{} of {}{seed}", sample.method, count(sample.candidates, "candidate"));
    let age = sample.age_seconds.map(|age| format!(" ({} before the drill)", lasting(age)));
    let mut blocks = vec![facts([
        ("Incident", Some(Cell::text(record.identity.scenario.incident()))),
        ("Chosen", Some(Cell::text(chosen))),
        ("Backup", sample.backup.as_ref().map(|backup| Cell::code(backup.as_str()))),
        ("Kind", sample.kind.map(|kind| Cell::text(kind.to_string()))),
        (
            "Recovery point",
            sample.recovery_point.map(|at| Cell::text(format!("{}{}", utc(at), age.unwrap_or_default()))),
        ),
        ("Target", sample.target.map(|at| Cell::text(utc(at)))),
        ("Read from", sample.repository.as_ref().map(|name| Cell::text(name.as_str()))),
        ("As it was at", sample.as_of.map(|at| Cell::text(utc(at)))),
        ("System identifier", sample.system_identifier.map(|id| Cell::code(id.to_string()))),
        ("Opened with", sample.key_fingerprint.as_ref().map(|print| Cell::code(format!("SHA-256 {print}")))),
        ("Key holder", record.people.key_holder.as_ref().map(Cell::text)),
    ])];
    if sample.backup.is_none() {
        blocks.insert(0, Block::Notice(Tone::Bad, "There was no backup to restore.".to_owned()));
    }
    if !sample.artifacts.is_empty() {
        let head =
            vec![Column::text("Artifact"), Column::number("Data"), Column::text("SHA-256 of the data")];
        let rows = sample.artifacts.iter().map(|artifact| {
            vec![
                Cell::text(&artifact.name),
                Cell::text(format_size(artifact.bytes)),
                Cell::code(artifact.sha256.to_string()),
            ]
        });
        blocks.push(Block::Table(Table { head, rows: rows.collect() }));
    }
    if !sample.passed_over.is_empty() {
        let head = vec![Column::text("Passed over"), Column::text("Why")];
        let rows = sample.passed_over.iter();
        let rows = rows.map(|over| vec![Cell::code(over.backup.as_str()), Cell::text(&over.reason)]);
        blocks.push(Block::Table(Table { head, rows: rows.collect() }));
    }
    Section::new("The backup, and how it was chosen", blocks)
}

pub(super) fn environment(record: &DrillRecord) -> Section {
    let environment = &record.environment;
    let isolation = environment.isolation.as_ref().map(|isolation| {
        let tone = if isolation == "unverified" { Tone::Warning } else { Tone::Good };
        Cell::text(isolation).tone(tone)
    });
    let mut blocks = vec![facts([
        ("Sandbox", Some(Cell::text(environment.sandbox.as_deref().unwrap_or("none was started")))),
        ("Isolation", isolation),
        ("Host", Some(Cell::text(&record.people.host))),
        ("Operating system", Some(Cell::text(&environment.operating_system))),
        ("PostgreSQL", environment.postgres.as_ref().map(Cell::text)),
        ("Processors", Some(Cell::text(environment.processors.to_string()))),
        ("Memory", environment.memory_bytes.map(|bytes| Cell::text(format_size(bytes)))),
        ("Free disk space", environment.disk_free_bytes.map(|bytes| Cell::text(format_size(bytes)))),
    ])];
    if !environment.isolation_probes.is_empty() {
        blocks.push(Block::Text("What was tried out of the sandbox:".to_owned()));
        blocks.push(Block::List(environment.isolation_probes.clone()));
    }
    Section::new("Where it was restored", blocks)
}
