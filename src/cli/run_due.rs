use serde::Serialize;

use super::Context;
use super::catalog_view::{CatalogView, Known};
use super::demo::RunTyped;
use super::error::CommandError;
use super::exit::Exit;
use crate::model::RunId;
use crate::platform::{seed, state_directory};
use crate::policy::Policy;
use crate::recoverability::missing_copies::MissingCopy;
use crate::run::pause::resume_leftover;
use crate::schedule::{
    LeaseParts, Perform, PerformError, Performed, Task, TaskEnd, TaskHistory, TaskState, Turn, run_due,
    scheduled_tasks, task_states,
};
use crate::text::{count, format_time};

/// Do what the policy schedules and is due, or was missed
///
/// For cron, a systemd timer or a CronJob to call every few minutes, on as many hosts as there are: what is due follows from
/// the backups and the journal, and is done once. Of times that were missed, the last is made up for. `drctl schedule
/// export` writes the files for that.
#[derive(Debug, clap::Args)]
#[command(after_help = super::exit::HELP)]
pub struct RunDueArgs {
    /// Tasks of these kinds only, so that a long one holds up no other
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    only: Vec<TaskKind>,
    /// Show what is due, and do nothing
    #[arg(long)]
    plan: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum TaskKind {
    Backup,
    Copies,
    Verify,
    Retention,
    Drill,
}

impl TaskKind {
    fn of(task: &Task) -> Self {
        match task {
            Task::Backup { .. } | Task::Point { .. } => Self::Backup,
            Task::Copies => Self::Copies,
            Task::Verify => Self::Verify,
            Task::Retention => Self::Retention,
            Task::Drill => Self::Drill,
        }
    }
}

pub(super) async fn run(
    args: RunDueArgs,
    context: &Context,
    run_typed: RunTyped,
) -> Result<Exit, CommandError> {
    // Before anything that can fail or take long.
    let paused = if args.plan { None } else { resume_paused(context).await? };
    let view = CatalogView::open(context, false).await?;
    let policy = view.policy.clone();
    let mut tasks = scheduled_tasks(&policy);
    if tasks.is_empty() {
        return Err(CommandError::usage("the policy schedules nothing")
            .hint("`[schedule]` in the policy says when; `drctl policy schema` describes its keys."));
    }
    tasks.retain(|task| args.only.is_empty() || args.only.contains(&TaskKind::of(&task.task)));
    let history = history(&view).await?;
    let (repositories, catalog) = (view.repositories, view.catalog);
    catalog.close().await;
    let states = task_states(&tasks, &history, context.clock.now());
    warn_late(context, &states);
    if args.plan {
        return Ok(show_plan(context, &policy, &states));
    }
    let (events, run) = (context.output.events(), RunId::new(context.clock.now(), seed()));
    let parts = LeaseParts {
        system: &policy.system,
        repositories: &repositories,
        run: &run,
        clock: context.clock.clone(),
        events: &events,
        cancel: &context.cancel,
    };
    let performer = Performer { context, policy: &policy, run_typed };
    let ended = run_due(&tasks, history, &performer, &parts).await;
    let exit = conclude(context, &ended, &states);
    Ok(match paused {
        Some(reason) => {
            context.output.reason(format!("THE APPLICATION IS STILL PAUSED: {reason}"));
            Exit::Failed
        }
        None => exit,
    })
}

/// Resumes an application that a killed backup left paused. Returns why it is still paused.
async fn resume_paused(context: &Context) -> Result<Option<String>, CommandError> {
    let (policy, events) = (context.policy()?, context.output.events());
    match resume_leftover(&state_directory(), &policy.system, &events).await {
        Ok(leftover) => Ok(leftover.and_then(|leftover| leftover.failed)),
        Err(error) => {
            context.output.warn(format!("it is not known whether the application is paused: {error}"));
            Ok(None)
        }
    }
}

pub(super) async fn history(view: &CatalogView) -> Result<TaskHistory, CommandError> {
    let is_reached = |missing: &&MissingCopy| {
        let mut places = view.places().into_iter();
        places.any(|place| place.reached && place.name == missing.repository)
    };
    // One that vanished is not copied back unasked: `status` says so.
    let is_new = |missing: &&MissingCopy| missing.is_elsewhere && !missing.is_gone();
    Ok(TaskHistory {
        missing_copies: view.missing.iter().filter(is_reached).filter(is_new).count(),
        entries: view.entries().await?,
        runs: view.catalog.runs(None).await?,
    })
}

struct Performer<'a> {
    context: &'a Context,
    policy: &'a Policy,
    run_typed: RunTyped,
}

impl Perform for Performer<'_> {
    type End = Exit;

    async fn history(&self) -> Result<TaskHistory, PerformError> {
        let unread = |error: CommandError| PerformError(error.to_string().into());
        let view = CatalogView::open_known(self.context, self.policy.clone(), Known::Before)
            .await
            .map_err(unread)?;
        let history = history(&view).await.map_err(unread)?;
        view.catalog.close().await;
        Ok(history)
    }

    async fn perform(&self, task: &Task) -> Exit {
        let (command, output) = (task.command(), &self.context.output);
        output.note(format!("{task}: drctl {}", command.join(" ")));
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match (self.run_typed)(&words, self.context).await {
            Ok(exit) => exit,
            Err(error) => {
                let _status = output.fail(&error, error.exit as u8);
                error.exit
            }
        }
    }

    fn failure(&self, exit: &Exit) -> Option<String> {
        let is_failure = !matches!(exit, Exit::Done | Exit::Interrupted | Exit::LeaseHeld);
        is_failure.then(|| format!("exit status {}: {}", *exit as u8, exit.meaning()))
    }
}

/// Warns of what is made up for now. What waits to be tried again was reported when it failed: cron wakes drctl every few
/// minutes, and would send a mail each time.
fn warn_late(context: &Context, states: &[TaskState]) {
    for state in states.iter().filter(|state| state.is_late && state.turn == Turn::Due) {
        let Some(occurrence) = state.occurrence else { continue };
        let missed = match state.missed {
            0 => String::new(),
            missed => format!(", and {} before it", count(missed as u64, "time")),
        };
        context.output.warn(format!("the {} was due at {}{missed}", state.task, format_time(occurrence)));
    }
}

fn show_plan(context: &Context, policy: &Policy, states: &[TaskState]) -> Exit {
    let due: Vec<&TaskState> = states.iter().filter(|state| state.turn == Turn::Due).collect();
    if context.output.is_json() {
        context.output.document("run-due-plan", &serde_json::json!({ "system": policy.system, "due": due }));
        return Exit::Done;
    }
    for state in &due {
        context.output.line(format!("{}: drctl {}", state.task, state.task.command().join(" ")));
    }
    if due.is_empty() {
        context.output.line(nothing_due(states));
    }
    Exit::Done
}

fn nothing_due(states: &[TaskState]) -> String {
    let next = states.iter().filter_map(|state| Some((state.next?, &state.task))).min();
    match next {
        Some((at, task)) => format!("nothing is due; next is the {task}, at {}", format_time(at)),
        None => "nothing is due".to_owned(),
    }
}

#[derive(Serialize)]
struct Ended<'a> {
    task: &'a Task,
    /// `performed`, `busy`, `performed-elsewhere`.
    end: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<u8>,
}

/// Says what was done, and returns the exit status: of the only task that did not end well, or 3 where others did.
fn conclude(context: &Context, ended: &[Performed<Exit>], states: &[TaskState]) -> Exit {
    let output = &context.output;
    for performed in ended {
        match &performed.end {
            TaskEnd::Performed(Exit::Done) => {}
            TaskEnd::Performed(exit) => {
                output.reason(format!(
                    "the {} ended with {}: {}",
                    performed.task,
                    *exit as u8,
                    exit.meaning()
                ));
            }
            TaskEnd::Busy { host } => {
                output.note(format!("note: the {} is performed by another run, on {host}", performed.task));
            }
            TaskEnd::PerformedElsewhere => {
                output.note(format!("note: the {} was performed by another host", performed.task));
            }
        }
    }
    if output.is_json() {
        let tasks: Vec<_> = ended.iter().map(described).collect();
        output.document("run-due", &serde_json::json!({ "tasks": tasks }));
    } else if ended.is_empty() {
        output.note(nothing_due(states));
    }
    if context.cancel.is_cancelled() {
        return Exit::Interrupted;
    }
    let exits = ended.iter().filter_map(|performed| match performed.end {
        TaskEnd::Performed(exit) => Some(exit),
        _ => None,
    });
    worst(exits)
}

fn described(performed: &Performed<Exit>) -> Ended<'_> {
    let (end, exit) = match performed.end {
        TaskEnd::Performed(exit) => ("performed", Some(exit as u8)),
        TaskEnd::Busy { .. } => ("busy", None),
        TaskEnd::PerformedElsewhere => ("performed-elsewhere", None),
    };
    Ended { task: &performed.task, end, exit }
}

fn worst(exits: impl Iterator<Item = Exit>) -> Exit {
    let exits: Vec<Exit> = exits.collect();
    let mut bad = exits.iter().copied().filter(|exit| *exit != Exit::Done);
    match bad.next() {
        None => Exit::Done,
        Some(first)
            if exits.len() == 1 || bad.all(|other| other == first) && !exits.contains(&Exit::Done) =>
        {
            first
        }
        Some(_) => Exit::Partly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_that_of_what_did_not_end_well() {
        let worst = |exits: &[Exit]| super::worst(exits.iter().copied());
        assert_eq!(worst(&[]), Exit::Done);
        assert_eq!(worst(&[Exit::Done, Exit::Done]), Exit::Done);
        assert_eq!(worst(&[Exit::DrillFailed]), Exit::DrillFailed);
        assert_eq!(worst(&[Exit::Failed, Exit::Failed]), Exit::Failed);
        assert_eq!(worst(&[Exit::Done, Exit::DrillFailed]), Exit::Partly);
        assert_eq!(worst(&[Exit::Failed, Exit::DrillFailed]), Exit::Partly);
    }
}
