//! Restores the sample with a runbook's own commands: what a drill then proves is the runbook.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::request::{DrillRequest, RunbookDrill};
use super::stages::Stages;
use crate::model::{BackupId, Cause, Judgement, RepositoryName, Verdict};
use crate::platform::OnLine;
use crate::repository::journal::RunbookRun;
use crate::run::RunContext;
use crate::runbook::{
    Changes, CommandEnd, RestoredFacts, RunbookPhase, Step, StepAction, StepCommand, variable,
};

/// The code of a step that failed.
pub(super) const STEP_FAILED: &str = "runbook-step-failed";
/// The variable that names the file of the identity.
const IDENTITY: &str = "DRCTL_IDENTITY";
/// How many of the last lines of a failed step are shown.
const SHOWN: usize = 10;

/// What the steps are bound to.
pub(super) struct Bound<'a> {
    /// The sandbox's server and database.
    pub(super) target: String,
    pub(super) backup: &'a BackupId,
    pub(super) from: Option<&'a RepositoryName>,
}

/// Why a runbook restored nothing.
#[derive(Debug)]
pub(super) struct StepFailure {
    pub(super) verdict: Verdict,
    pub(super) is_interruption: bool,
}

/// Returns the steps that a drill runs: of the phases Recovery and Verification, what changes no production.
pub(super) fn drilled_steps(drill: &RunbookDrill) -> Vec<&Step> {
    let runbook = &drill.runbook;
    let answer = |decision: &str| {
        let given = drill.parameters.get(decision).cloned();
        given.or_else(|| runbook.answers(decision)?.first().cloned())
    };
    let steps = runbook.steps.iter().filter(|step| {
        let is_restoring = matches!(step.phase, RunbookPhase::Recovery | RunbookPhase::Verification);
        let is_command =
            matches!(step.action, StepAction::Run { changes: Changes::Nothing | Changes::Target, .. });
        let applies = step
            .when
            .as_ref()
            .is_none_or(|condition| answer(&condition.decision).as_ref() == Some(&condition.answer));
        is_restoring && is_command && applies
    });
    steps.collect()
}

/// Returns the variables of the steps. `Err`: the parameters without a value.
fn values(
    run: &RunContext,
    request: &DrillRequest,
    drill: &RunbookDrill,
    bound: &Bound<'_>,
) -> Result<BTreeMap<String, String>, Vec<String>> {
    let (mut values, mut missing) = (BTreeMap::new(), Vec::new());
    let identity = drill.environment.iter().find(|(name, _)| name == IDENTITY).map(|(_, value)| value);
    for (name, parameter) in &drill.runbook.header.parameters {
        let value = match name.as_str() {
            "source" => Some(request.source.to_string()),
            "target" => Some(bound.target.clone()),
            "backup" => Some(bound.backup.to_string()),
            "identity" if identity.is_some() => identity.cloned(),
            "from" if bound.from.is_some() => bound.from.map(ToString::to_string),
            _ => drill.parameters.get(name).cloned().or_else(|| parameter.default.clone()),
        };
        match value {
            Some(value) => {
                values.insert(variable(name), value);
            }
            None => missing.push(name.clone()),
        }
    }
    for step in &drill.runbook.steps {
        if let StepAction::Decide { answers } = &step.action {
            let given = drill.parameters.get(&step.name).or_else(|| answers.first());
            values.insert(variable(&step.name), given.cloned().unwrap_or_default());
        }
    }
    values.insert("SYSTEM".to_owned(), run.system.to_string());
    values.insert("INCIDENT".to_owned(), run.id.to_string());
    values.insert("ELAPSED".to_owned(), "0s".to_owned());
    values.extend(drill.environment.iter().cloned());
    if missing.is_empty() { Ok(values) } else { Err(missing) }
}

/// Runs the steps, one after the other, up to the first that fails.
pub(super) async fn restore_by_runbook(
    run: &RunContext,
    request: &DrillRequest,
    drill: &RunbookDrill,
    bound: &Bound<'_>,
    stages: &mut Stages,
) -> (Result<Option<RestoredFacts>, StepFailure>, RunbookRun) {
    let runbook = &drill.runbook;
    let mut record = RunbookRun {
        runbook: runbook.name.clone(),
        sha256: runbook.sha256,
        incident: None,
        kind: "drill".to_owned(),
        by: request.people.requested_by.clone(),
        steps: vec![],
        failed: vec![],
        skipped: vec![],
    };
    let values = match values(run, request, drill, bound) {
        Ok(values) => values,
        Err(missing) => {
            let message = format!(
                "runbook `{}` needs a value of {}: say it under `[drill.runbook_parameters]`",
                runbook.name,
                crate::text::quoted_list(&missing)
            );
            return (
                Err(not_restored(Judgement::Undetermined, Cause::Environment, "no-parameter", message)),
                record,
            );
        }
    };
    let mut facts = None;
    for step in drilled_steps(drill) {
        let StepAction::Run { script, .. } = &step.action else { continue };
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let own = Arc::clone(&lines);
        let on_line: OnLine = Arc::new(move |line: &str| {
            let mut lines = own.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() >= SHOWN {
                lines.remove(0);
            }
            lines.push(line.to_owned());
        });
        let command = StepCommand { script, deadline: step.deadline, values: &values, drctl: &request.drctl };
        let begun = Instant::now();
        let ended = command.run(&run.cancel, on_line).await;
        stages.end(&format!("step {}", step.name), begun, None);
        facts = ended.restored.or(facts);
        let is_expected =
            matches!(&ended.end, CommandEnd::Exited { status } if step.expect.statuses.contains(status));
        if is_expected {
            record.steps.push(step.name.clone());
            run.events.notice(format!("step `{}` of the runbook: {}", step.name, ended.end));
            continue;
        }
        if ended.end == CommandEnd::Interrupted {
            let mut not = not_restored(
                Judgement::Undetermined,
                Cause::Tool,
                "interrupted",
                "it was interrupted".to_owned(),
            );
            not.is_interruption = true;
            return (Err(not), record);
        }
        record.failed.push(step.name.clone());
        for line in ended.output.iter().rev().take(SHOWN).rev() {
            run.events.warning(format!("step `{}`: {line}", step.name));
        }
        let message = format!(
            "step `{}` of runbook `{}` ({}) did not end as it should: {}",
            step.name,
            runbook.name,
            runbook.position(step),
            ended.end
        );
        return (Err(not_restored(Judgement::Fail, Cause::Runbook, STEP_FAILED, message)), record);
    }
    if record.steps.is_empty() {
        let message = format!(
            "runbook `{}` has no command in its phases Recovery and Verification that a drill could run",
            runbook.name
        );
        return (
            Err(not_restored(Judgement::Fail, Cause::Runbook, "runbook-without-steps", message)),
            record,
        );
    }
    (Ok(facts), record)
}

fn not_restored(judgement: Judgement, cause: Cause, code: &'static str, message: String) -> StepFailure {
    let mut verdict = Verdict::default();
    verdict.add(judgement, cause, code, message);
    StepFailure { verdict, is_interruption: false }
}
