use std::path::Path;

use serde::Serialize;

use super::known::{OwnCommands, find, library};
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::style;
use crate::runbook::{Document, RunbookFault, RunbookFaults};
use crate::text::count;

#[derive(Serialize)]
struct ChecksDocument {
    runbooks: Vec<CheckRow>,
}

#[derive(Serialize)]
struct CheckRow {
    name: String,
    file: String,
    steps: usize,
    faults: Vec<RunbookFault>,
}

pub(super) fn run(
    names: &[String],
    directory: Option<&Path>,
    context: &Context,
) -> Result<Exit, CommandError> {
    let library = library(directory, context)?;
    let documents: Vec<&Document> = match names {
        [] => library.runbooks().collect(),
        names => names.iter().map(|name| find(&library, name)).collect::<Result<_, _>>()?,
    };
    let rows: Vec<CheckRow> = documents
        .into_iter()
        .map(|document| {
            let (runbook, faults) = document.read(&library, &OwnCommands(context.refuse_words));
            let steps = runbook.map_or(0, |runbook| runbook.steps.len());
            CheckRow { name: document.name.clone(), file: document.shown(), steps, faults }
        })
        .collect();
    let faulty = rows.iter().filter(|row| !row.faults.is_empty()).count();
    let total: usize = rows.iter().map(|row| row.faults.len()).sum();
    if context.output.is_json() {
        context.output.document("runbook-checks", &ChecksDocument { runbooks: rows });
    } else {
        let (good, bad) = (style::GOOD, style::BAD);
        for CheckRow { name, file, steps, faults } in rows {
            if faults.is_empty() {
                context.output.line(format!("{good}ok{good:#} {name}: {}", count(steps as u64, "step")));
            } else {
                context.output.line(format!("{bad}faulty{bad:#} {name}"));
                context.output.line(RunbookFaults { file, faults }.to_string());
            }
        }
    }
    if faulty > 0 {
        let faults = count(total as u64, "fault");
        context.output.reason(format!("{faults} in {}", count(faulty as u64, "runbook")));
        return Ok(Exit::Usage);
    }
    Ok(Exit::Done)
}
