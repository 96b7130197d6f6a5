use std::path::Path;

use serde::Serialize;

use super::known::{OwnCommands, library};
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::style;
use crate::cli::table::{Cell, TextTable};
use crate::runbook::{Document, Origin, RunbookFault, SeverityWord};
use crate::text::{count, format_duration};

#[derive(Serialize)]
struct RunbooksDocument {
    runbooks: Vec<RunbookRow>,
}

#[derive(Serialize)]
struct RunbookRow {
    name: String,
    /// The file; null: the program's own.
    file: Option<String>,
    title: Option<String>,
    severity: Option<SeverityWord>,
    trigger: Option<String>,
    takes_seconds: Option<u64>,
    review_seconds: Option<u64>,
    steps: usize,
    faults: Vec<RunbookFault>,
}

pub(super) fn run(directory: Option<&Path>, context: &Context) -> Result<Exit, CommandError> {
    let library = library(directory, context)?;
    let rows: Vec<RunbookRow> = library
        .runbooks()
        .map(|document| {
            let (runbook, faults) = document.read(&library, &OwnCommands(context.refuse_words));
            let header = runbook.as_ref().map(|runbook| &runbook.header);
            RunbookRow {
                name: document.name.clone(),
                file: file(document),
                title: runbook.as_ref().map(|runbook| runbook.title.clone()),
                severity: header.map(|header| header.severity.into()),
                trigger: header.map(|header| header.trigger.clone()),
                takes_seconds: header.map(|header| header.takes.as_secs()),
                review_seconds: header.map(|header| header.review.as_secs()),
                steps: runbook.as_ref().map_or(0, |runbook| runbook.steps.len()),
                faults,
            }
        })
        .collect();
    let is_faulty = rows.iter().any(|row| !row.faults.is_empty());
    if context.output.is_json() {
        context.output.document("runbooks", &RunbooksDocument { runbooks: rows });
    } else {
        show(context, &rows);
    }
    if is_faulty {
        context.output.note("hint: `drctl runbook check` says what is wrong.");
    }
    Ok(Exit::Done)
}

fn file(document: &Document) -> Option<String> {
    match &document.origin {
        Origin::File(path) => Some(path.display().to_string()),
        Origin::BuiltIn => None,
    }
}

fn show(context: &Context, rows: &[RunbookRow]) {
    let output = &context.output;
    if rows.is_empty() {
        output.line("There are no runbooks.");
        return;
    }
    let head = [Cell::new("RUNBOOK"), Cell::new(""), Cell::new("TAKES").right(), Cell::new("WHEN")];
    let mut table = TextTable::head(head);
    for row in rows {
        let takes = row
            .takes_seconds
            .map_or("-".to_owned(), |seconds| format_duration(std::time::Duration::from_secs(seconds)));
        let when = match row.faults.len() {
            0 => Cell::new(row.trigger.clone().unwrap_or_default()),
            faults => {
                Cell::new(format!("cannot be run: {}", count(faults as u64, "fault"))).style(style::BAD)
            }
        };
        let severity = row.severity.map_or("-", SeverityWord::as_str);
        table.row([Cell::new(&row.name), Cell::new(severity), Cell::new(takes).right(), when]);
    }
    table.lines().iter().for_each(|line| output.line(line));
}
