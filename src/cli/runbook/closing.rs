//! The run of the journal that an incident ends with.

use super::incidents::IncidentView;
use crate::cli::Context;
use crate::model::Outcome;
use crate::platform::host_name;
use crate::repository::Unavailable;
use crate::repository::journal::{self, Detail, JournalRecord, RunbookRun};
use crate::repository::run_record;
use crate::runbook::{Incident, IncidentEvent, RUNBOOK, Runbook, StepState, states};
use crate::text::error_chain;

/// Records an incident that was closed, once. Returns the repositories without the record.
pub(super) async fn conclude(
    context: &Context,
    view: &IncidentView,
    runbook: &Runbook,
    incident: &Incident,
) -> Vec<Unavailable> {
    let (run, system) = (incident.id.run(), &view.policy.system);
    for repository in view.repositories.iter() {
        // It was closed before, and is resumed to see that.
        if journal::read(&*repository.store, system, run).await.is_ok() {
            return vec![];
        }
    }
    let Some(record) = record(runbook, incident) else { return vec![] };
    let unrecorded = match run_record::append(&view.repositories, system, record.clone()).await {
        Ok(unrecorded) => unrecorded,
        Err(error) => {
            let reason = error_chain(&error);
            let all = view.repositories.writable();
            all.map(|repository| Unavailable::new(repository, reason.clone())).collect()
        }
    };
    if let Some(catalog) = &view.catalog {
        let catalog = catalog.clone().of_repository(view.repositories.id());
        if let Err(error) = catalog.record_run(&record).await {
            context.output.warn(format!("the catalog does not know this run: {}", error_chain(&error)));
        }
    }
    unrecorded
}

/// Returns the record of a closed incident.
fn record(runbook: &Runbook, incident: &Incident) -> Option<JournalRecord> {
    let opening = incident.opening()?;
    let (begun, ended) = (incident.entries.first()?.at, incident.entries.last()?.at);
    let states = states(runbook, incident);
    let named = |wanted: &dyn Fn(&StepState) -> bool| -> Vec<String> {
        states.iter().filter(|(_, state)| wanted(state)).map(|(step, _)| step.name.clone()).collect()
    };
    let mut failed: Vec<String> = Vec::new();
    for entry in &incident.entries {
        if let IncidentEvent::Ended { step, is_expected: false, .. } = &entry.event
            && !failed.contains(step)
        {
            failed.push(step.clone());
        }
    }
    let run = RunbookRun {
        runbook: opening.runbook.clone(),
        sha256: opening.sha256,
        incident: Some(incident.id.to_string()),
        kind: if opening.is_rehearsal { "rehearsal" } else { "incident" }.to_owned(),
        by: incident.leader().to_owned(),
        steps: named(&|state| matches!(state, StepState::Done | StepState::Rehearsed)),
        skipped: named(&|state| *state == StepState::Skipped),
        failed,
    };
    let outcome = match run.failed.is_empty() && run.skipped.is_empty() {
        true => Outcome::Succeeded,
        false => Outcome::Degraded,
    };
    let said =
        |what: &str, steps: &[String]| (!steps.is_empty()).then(|| format!("{what}: {}", steps.join(", ")));
    let reasons = [said("steps that failed at first", &run.failed), said("steps skipped", &run.skipped)];
    let detail = Detail {
        method: Some(run.kind.clone()),
        reasons: reasons.into_iter().flatten().collect(),
        runbook: Some(run),
        ..Detail::default()
    };
    let id = incident.id.run();
    Some(JournalRecord::new(id, RUNBOOK, (begun, ended), &host_name(), outcome, detail))
}
