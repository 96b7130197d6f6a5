//! Leads a person through an incident: asks, runs one step, records it, and so on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::announce::Announcer;
use super::command::{CommandRun, StepCommand};
use super::fill::fill;
use super::incident::{CommandEnd, Incident, IncidentEvent, SeverityWord};
use super::model::{Runbook, Step, StepAction};
use super::next::{Next, next, states, values};
use super::store::{Appended, IncidentError, Recorder};
use crate::platform::{CancellationToken, Clock, OnLine};

/// What a person is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    pub step: &'a Step,
    /// From 1, of all.
    pub number: usize,
    pub total: usize,
    /// Where it is in the file.
    pub position: String,
    /// Its command or text, with its variables filled in.
    pub text: String,
    pub kind: QuestionKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// Whether to run, do, send or decide it.
    Do,
    /// It began, and it is not known what became of it.
    Unfinished { since: DateTime<Utc>, on: String },
    /// It ended in another way than expected.
    Unexpected(CommandEnd),
}

/// What a person says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Run or send it, or run it again.
    Run,
    /// It is done, manually.
    Done {
        note: String,
    },
    Skip {
        why: String,
    },
    Answer {
        answer: String,
        why: String,
    },
    /// Leave it as it is, to be resumed.
    Pause,
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// There is no terminal, and no answer on stdin.
    NoOperator,
    Interrupted,
}

/// The person who leads.
#[async_trait]
pub trait Operator: Send {
    async fn ask(&mut self, question: &Question<'_>) -> Result<Reply, NoReply>;

    /// Shows a step that needs no answer, before it is run.
    fn begins(&mut self, question: &Question<'_>);

    /// Shows what became of a step.
    fn ended(&mut self, event: &IncidentEvent);

    /// Shows that repositories do not have the newest entry.
    fn not_recorded(&mut self, appended: &Appended);
}

/// What a run needs beside the person.
pub struct Means<'m> {
    pub announcer: &'m dyn Announcer,
    pub clock: &'m dyn Clock,
    pub cancel: CancellationToken,
    /// Run without asking what changes no production and needs no person.
    pub assume_yes: bool,
    /// The policy, which commands find in `$DRCTL_POLICY`.
    pub policy: PathBuf,
    /// This program.
    pub drctl: PathBuf,
    /// Takes the output of commands.
    pub on_line: OnLine,
}

/// How far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Led {
    /// To its end. `skipped`: steps that were skipped.
    Closed {
        skipped: usize,
    },
    /// A person left it.
    Paused,
    /// The next step needs a person, and there is none.
    NoOperator {
        step: String,
    },
    Interrupted,
}

/// Leads through an incident, from where it is, to its end or until it is left.
///
/// # Errors
/// Where an entry cannot be recorded: nothing is run of which no trace would be left.
pub async fn lead(
    recorder: &mut Recorder<'_>,
    runbook: &Runbook,
    operator: &mut dyn Operator,
    means: &Means<'_>,
) -> Result<Led, IncidentError> {
    loop {
        let incident = recorder.incident();
        let policy = means.policy.display().to_string();
        let values = values(&incident, &policy, means.clock.now());
        let (step, kind) = match next(runbook, &incident) {
            Next::Closed => return Ok(Led::Closed { skipped: skipped(runbook, &incident) }),
            Next::Close => {
                let skipped = skipped(runbook, &incident);
                record(recorder, operator, IncidentEvent::Closed { is_complete: skipped == 0 }).await?;
                return Ok(Led::Closed { skipped });
            }
            Next::Do(step) => (step, QuestionKind::Do),
            // Nothing happened yet that could happen twice.
            Next::Clarify { step, .. } if step.needs_person() => (step, QuestionKind::Do),
            Next::Clarify { step, since, on } => (step, QuestionKind::Unfinished { since, on }),
            Next::Judge { step, end } => (step, QuestionKind::Unexpected(end)),
        };
        let question = question(runbook, step, kind, &values);
        let is_rehearsal = incident.opening().is_some_and(|opening| opening.is_rehearsal);
        if is_rehearsal && question.kind == QuestionKind::Do && is_only_rehearsed(step) {
            let (step, text) = (step.name.clone(), question.text.clone());
            operator.begins(&question);
            record(recorder, operator, IncidentEvent::Rehearsed { step, text }).await?;
            continue;
        }
        if step.needs_person() && !has_begun(&incident, step) {
            record(recorder, operator, IncidentEvent::Began { step: step.name.clone(), command: None })
                .await?;
        }
        let runs_by_itself = means.assume_yes
            && question.kind == QuestionKind::Do
            && !step.needs_person()
            && !step.changes_production();
        let reply = match runs_by_itself {
            true => {
                operator.begins(&question);
                Ok(Reply::Run)
            }
            false => operator.ask(&question).await,
        };
        let event = match reply {
            Ok(Reply::Run) if !step.needs_person() => {
                act(recorder, step, &question.text, &values, operator, means).await?;
                if means.cancel.is_cancelled() {
                    record(recorder, operator, paused("interrupted")).await?;
                    return Ok(Led::Interrupted);
                }
                continue;
            }
            // Of what a person does there is nothing to run.
            Ok(Reply::Run) => continue,
            Ok(Reply::Done { note }) => IncidentEvent::Done { step: step.name.clone(), note },
            Ok(Reply::Skip { why }) => IncidentEvent::Skipped { step: step.name.clone(), why },
            Ok(Reply::Answer { answer, why }) => {
                IncidentEvent::Decided { step: step.name.clone(), answer, why }
            }
            Ok(Reply::Pause) => {
                record(recorder, operator, paused("the operator left it")).await?;
                return Ok(Led::Paused);
            }
            Err(NoReply::Interrupted) => {
                record(recorder, operator, paused("interrupted")).await?;
                return Ok(Led::Interrupted);
            }
            Err(NoReply::NoOperator) => {
                let why = format!("step `{}` needs a person, and there was none", step.name);
                record(recorder, operator, paused(&why)).await?;
                return Ok(Led::NoOperator { step: step.name.clone() });
            }
        };
        record(recorder, operator, event).await?;
    }
}

fn paused(why: &str) -> IncidentEvent {
    IncidentEvent::Paused { why: why.to_owned() }
}

/// In a rehearsal nothing of production is touched, and nothing is sent.
fn is_only_rehearsed(step: &Step) -> bool {
    step.changes_production() || matches!(step.action, StepAction::Tell { .. })
}

fn has_begun(incident: &Incident, step: &Step) -> bool {
    incident.entries.iter().any(|entry| entry.event.step() == Some(step.name.as_str()))
}

/// Returns the number of steps that were skipped.
fn skipped(runbook: &Runbook, incident: &Incident) -> usize {
    let states = states(runbook, incident);
    states.iter().filter(|(_, state)| *state == super::next::StepState::Skipped).count()
}

fn question<'a>(
    runbook: &Runbook,
    step: &'a Step,
    kind: QuestionKind,
    values: &BTreeMap<String, String>,
) -> Question<'a> {
    let number = runbook.steps.iter().position(|one| one.name == step.name).unwrap_or_default() + 1;
    let text = match &step.action {
        StepAction::Run { script: text, .. }
        | StepAction::Manual { text }
        | StepAction::Tell { template: text, .. } => fill(text, values),
        StepAction::Decide { answers } => answers.join(", "),
    };
    let position = runbook.position(step);
    Question { step, number, total: runbook.steps.len(), position, text, kind }
}

/// Records an entry, and shows it.
async fn record(
    recorder: &mut Recorder<'_>,
    operator: &mut dyn Operator,
    event: IncidentEvent,
) -> Result<(), IncidentError> {
    let appended = recorder.append(event.clone()).await?;
    if !appended.missing.is_empty() {
        operator.not_recorded(&appended);
    }
    operator.ended(&event);
    Ok(())
}

/// Runs a command, or sends a message.
async fn act(
    recorder: &mut Recorder<'_>,
    step: &Step,
    text: &str,
    values: &BTreeMap<String, String>,
    operator: &mut dyn Operator,
    means: &Means<'_>,
) -> Result<(), IncidentError> {
    let name = step.name.clone();
    match &step.action {
        StepAction::Run { script, .. } => {
            let command = Some(text.to_owned());
            record(recorder, operator, IncidentEvent::Began { step: name.clone(), command }).await?;
            let begun = Instant::now();
            let command = StepCommand { script, deadline: step.deadline, values, drctl: &means.drctl };
            let ran = command.run(&means.cancel, Arc::clone(&means.on_line)).await;
            let CommandRun { end, output, restored } = ran;
            let is_expected =
                matches!(&end, CommandEnd::Exited { status } if step.expect.statuses.contains(status));
            let seconds = begun.elapsed().as_secs_f64();
            let event = IncidentEvent::Ended { step: name, seconds, end, is_expected, output, restored };
            record(recorder, operator, event).await
        }
        StepAction::Tell { severity, .. } => {
            record(recorder, operator, IncidentEvent::Began { step: name.clone(), command: None }).await?;
            let subject = text.lines().next().unwrap_or_default();
            let deliveries = means.announcer.announce(*severity, subject, text).await;
            let severity = SeverityWord::from(*severity);
            let text = text.to_owned();
            record(recorder, operator, IncidentEvent::Told { step: name, severity, text, deliveries }).await
        }
        StepAction::Manual { .. } | StepAction::Decide { .. } => Ok(()),
    }
}
