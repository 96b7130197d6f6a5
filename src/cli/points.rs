//! `drctl list --points`.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Context;
use super::catalog_view::CatalogView;
use super::error::CommandError;
use super::exit::Exit;
use super::style;
use super::table::{Cell, TextTable};
use crate::catalog::{BackupEntry, intact_copies};
use crate::model::RepositoryName;
use crate::recoverability::assess::KnownRepository;
use crate::recoverability::missing_wal::MissingWal;
use crate::repository::Inventory;
use crate::repository::points::{RecoveryPoint, recovery_points};
use crate::text::{count, format_time};

#[derive(Serialize)]
struct PointsDocument<'a> {
    system: &'a str,
    /// Whether the repositories were queried.
    refreshed: bool,
    points: Vec<PointRow<'a>>,
}

#[derive(Serialize)]
struct PointRow<'a> {
    label: String,
    restorable: bool,
    #[serde(flatten)]
    point: &'a RecoveryPoint,
}

/// Lists the recovery points, newest first.
pub(super) async fn list(
    context: &Context,
    known: CatalogView,
    limit: Option<usize>,
) -> Result<Exit, CommandError> {
    let entries = known.entries_with_lost().await?;
    let of_all: Vec<&BackupEntry> = entries.iter().collect();
    let lacking = known.missing_wal(&of_all, &entries).await;
    let names: Vec<RepositoryName> =
        known.policy.repositories.iter().map(|repository| repository.name.clone()).collect();
    let points = recovery_points(&restorable(&entries, &lacking), &names);
    let shown = &points[..limit.unwrap_or(points.len()).min(points.len())];
    let places = known.places();
    if context.output.is_json() {
        let rows = shown.iter().map(|point| PointRow {
            label: point.label(),
            restorable: point.is_restorable(),
            point,
        });
        let (system, refreshed) = (known.policy.system.as_str(), known.refreshed.is_some());
        context.output.document("points", &PointsDocument { system, refreshed, points: rows.collect() });
    } else {
        show(context, shown, points.len(), &places);
    }
    let all_asked = places.iter().all(|place| place.reached);
    let is_done = known.is_whole() && (all_asked || !points.is_empty());
    known.catalog.close().await;
    Ok(if is_done { Exit::Done } else { Exit::Partly })
}

/// Returns the backups, each in the repositories that could give it back now.
pub(super) fn restorable(entries: &[BackupEntry], lacking: &MissingWal) -> Inventory {
    let mut inventory = intact_copies(entries);
    for record in &mut inventory.backups {
        let id = record.manifest.id.clone();
        record.holders.retain(|name| lacking.obstacle(&id, name).is_none());
    }
    inventory
}

fn show(context: &Context, shown: &[RecoveryPoint], total: usize, places: &[KnownRepository]) {
    let output = &context.output;
    if shown.is_empty() {
        output.line(match places.iter().all(|place| place.reached) {
            true => "There are no recovery points.",
            false => "No recovery point is known, and not every repository could be queried.",
        });
        output.note("hint: `[recovery_point]` in the policy says which sources belong together; `drctl backup` takes them as one.");
        return;
    }
    let titles = ["POINT", "TIME", "MEMBERS", "STATE"].map(Cell::new);
    let names = places.iter().map(|place| {
        let unreached = if place.reached { "" } else { " (not reached)" };
        Cell::new(format!("{}{unreached}", place.name))
    });
    let mut table = TextTable::head(titles.into_iter().chain(names));
    for point in shown {
        let there = point.members.iter().filter(|member| !member.backups.is_empty()).count();
        let cells = [
            Cell::new(point.id.as_str()),
            Cell::new(format_time(point.time)),
            Cell::new(format!("{there} of {}", point.members.len())),
            Cell::new(point.label()),
        ];
        let copies = point.copies.iter().map(|copy| match copy.lacks.is_empty() {
            true => Cell::new("restorable").style(style::GOOD),
            false => {
                let lacks: Vec<_> = copy.lacks.iter().map(|source| source.as_str()).collect();
                Cell::new(format!("lacks {}", lacks.join(", "))).style(style::WARN)
            }
        });
        table.row(cells.into_iter().chain(copies));
    }
    table.lines().iter().for_each(|line| output.line(line));
    for point in shown.iter().filter(|point| !point.is_restorable()) {
        let gone: BTreeSet<_> = point.missing().collect();
        for member in point.members.iter().filter(|member| !member.is_restorable) {
            let why = match gone.contains(&member.source) {
                true => "no backup of it is left",
                false => "what its backup builds on is gone, or no copy is good",
            };
            output.warn(format!("{} is incomplete: {}: {why}", point.id, member.source));
        }
    }
    let of = if total > shown.len() { format!(" of {total}") } else { String::new() };
    let points = count(shown.len() as u64, "recovery point");
    output.line(format!("{}{points}{of}{:#}", style::FAINT, style::FAINT));
}
