use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::incidents::IncidentView;
use super::known::{library, of_policy};
use crate::cli::Context;
use crate::cli::catalog_view::CatalogView;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::style;
use crate::cli::table::{Cell, TextTable};
use crate::policy::Policy;
use crate::report::plain;
use crate::repository::journal::JournalRecord;
use crate::runbook::{Document, IncidentId, Origin, Rehearsed, Reviewed, parse, rehearsals};
use crate::text::{count, format_time};

#[derive(Serialize)]
struct StatusDocument {
    runbooks: Vec<Rehearsed>,
    open: Vec<OpenIncident>,
}

#[derive(Serialize)]
struct OpenIncident {
    incident: IncidentId,
    runbook: String,
    is_rehearsal: bool,
    since: DateTime<Utc>,
    by: String,
    /// When something was recorded last.
    last: DateTime<Utc>,
}

pub(super) async fn run(directory: Option<&Path>, context: &Context) -> Result<Exit, CommandError> {
    let library = library(directory, context)?;
    let known = CatalogView::open(context, false).await?;
    let runs = known.catalog.runs(None).await?;
    let is_whole = known.is_whole();
    known.catalog.close().await;
    let rehearsed = rehearsals(&reviews(library.runbooks()), &runs, context.clock.now());
    let view = IncidentView::open(context, known.policy).await;
    let open = open_incidents(&view);
    let is_read = view.incidents.unread.is_empty();
    view.close().await;
    let overdue = rehearsed.iter().filter(|one| one.is_overdue).count();
    if context.output.is_json() {
        context.output.document("runbook-status", &StatusDocument { runbooks: rehearsed, open });
    } else {
        show(context, &rehearsed);
        for OpenIncident { incident, runbook, by, last, .. } in &open {
            let (warn, last) = (style::WARN, format_time(*last));
            context.output.line(format!(
                "{warn}open{warn:#} {incident}: runbook {}, led by {}, last entry at {last}",
                plain(runbook),
                plain(by)
            ));
            context.output.note(format!("hint: `drctl runbook run --resume {incident}` resumes it."));
        }
    }
    if overdue > 0 {
        context.output.reason(format!("{} overdue", count(overdue as u64, "runbook")));
        context.output.note(
            "hint: `drctl runbook run NAME --rehearse` rehearses one; `[drill] runbook` lets drills run it.",
        );
        return Ok(Exit::ObjectiveMissed);
    }
    Ok(if is_whole && is_read { Exit::Done } else { Exit::Partly })
}

/// Returns how often runbooks are to be rehearsed; those without a header are for people alone.
fn reviews<'d>(documents: impl Iterator<Item = &'d Document>) -> Vec<Reviewed> {
    let runbooks = documents.filter_map(|document| {
        let (runbook, _) = parse(&document.name, &document.shown(), &document.text);
        Some(Reviewed { runbook: document.name.clone(), every: runbook?.header.review })
    });
    runbooks.collect()
}

fn open_incidents(view: &IncidentView) -> Vec<OpenIncident> {
    let open = view.incidents.all.iter().filter_map(|(id, merged)| {
        let incident = merged.incident(id);
        let opening = incident.opening().filter(|_| !incident.is_closed())?;
        Some(OpenIncident {
            incident: id.clone(),
            runbook: opening.runbook.clone(),
            is_rehearsal: opening.is_rehearsal,
            since: opening.since,
            by: incident.leader().to_owned(),
            last: incident.entries.last()?.at,
        })
    });
    open.collect()
}

fn show(context: &Context, rehearsed: &[Rehearsed]) {
    let head = ["RUNBOOK", "LAST", "AS", "BY", "FAILED", "DUE"].map(Cell::new);
    let mut table = TextTable::head(head);
    for one in rehearsed {
        let due = one.due.map_or("now".to_owned(), format_time);
        let due = if one.is_overdue { Cell::new(due).style(style::BAD) } else { Cell::new(due) };
        let Some(last) = &one.last else {
            table.row([
                Cell::new(&one.runbook),
                Cell::new("never"),
                Cell::new("-"),
                Cell::new("-"),
                Cell::new("-"),
                due,
            ]);
            continue;
        };
        let failed = match last.failed.is_empty() {
            true => Cell::new("-"),
            false => Cell::new(last.failed.join(", ")).style(style::WARN),
        };
        table.row([
            Cell::new(&one.runbook),
            Cell::new(format_time(last.at)),
            Cell::new(&last.kind),
            Cell::new(plain(&last.by)),
            failed,
            due,
        ]);
    }
    table.lines().iter().for_each(|line| context.output.line(line));
}

/// Returns the runbooks that `drctl status` looks at: those of the policy's directory, and the one that drills run. What
/// the program brings along is rehearsed where someone has decided for it.
pub(in crate::cli) fn reviewed(policy: &Policy) -> Result<Vec<Reviewed>, CommandError> {
    let of_drill = policy.drill.as_ref().and_then(|drill| drill.runbook.as_ref());
    let library = of_policy(policy)?;
    let adopted = library
        .runbooks()
        .filter(|document| matches!(document.origin, Origin::File(_)) || of_drill == Some(&document.name));
    Ok(reviews(adopted))
}

/// Returns what is wrong with the rehearsals: `None`: nothing.
pub(in crate::cli) fn concern(
    reviews: &[Reviewed],
    runs: &[JournalRecord],
    now: DateTime<Utc>,
) -> Option<String> {
    let overdue: Vec<String> = rehearsals(reviews, runs, now)
        .into_iter()
        .filter(|one| one.is_overdue)
        .map(|one| match one.last {
            Some(last) => format!("`{}` was run last at {}", one.runbook, format_time(last.at)),
            None => format!("`{}` was never run", one.runbook),
        })
        .collect();
    let noun = if overdue.len() == 1 { "a runbook is" } else { "runbooks are" };
    (!overdue.is_empty()).then(|| format!("{noun} overdue for a rehearsal: {}", overdue.join("; ")))
}
