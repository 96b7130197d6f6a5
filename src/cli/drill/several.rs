//! The drills of several policies, one after the other.

use std::path::Path;

use serde::Serialize;

use super::list::tone_style;
use super::report::write_month;
use super::run::{self, Ran, run_one};
use super::run_args::RunArgs;
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::style;
use crate::cli::table::{Cell, TextTable};
use crate::drill::{DrillRecord, Scenario};
use crate::model::{Judgement, RunId, SystemName};
use crate::policy::{self, Policy};
use crate::report::{lasting, outcome_tone, outcome_word};

/// What came of one policy.
#[derive(Serialize)]
struct Row {
    policy: String,
    system: Option<SystemName>,
    drill: Option<RunId>,
    scenario: Scenario,
    /// Absent where no drill was run.
    outcome: Option<Judgement>,
    rto_seconds: Option<f64>,
    rpo_seconds: Option<f64>,
    /// The verdict, or why there was no drill.
    sentence: String,
    exit: u8,
}

#[derive(Serialize)]
struct RunsDocument<'a> {
    drills: &'a [Row],
}

/// Runs the drill of the policy and of those that were named besides. What is wrong with one stops no other; only an
/// interruption ends them all.
pub(super) async fn run(args: &RunArgs, context: &Context) -> Result<Exit, CommandError> {
    let first = context.policy_path()?;
    let paths: Vec<&Path> =
        std::iter::once(first.as_path()).chain(args.also.iter().map(AsRef::as_ref)).collect();
    let (mut rows, mut worst, mut loaded) = (Vec::new(), Exit::Done, Vec::new());
    for path in paths {
        let (row, exit) = match policy::load(path) {
            Ok(policy) => {
                let ended = of_policy(args, &policy, context).await;
                loaded.push(policy);
                ended
            }
            Err(faults) => {
                let error = CommandError::usage(faults).hint("`drctl policy schema` describes every key.");
                refused(args, path, None, &error, context)
            }
        };
        rows.extend(row);
        worst = worse(worst, exit);
        if context.cancel.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
    }
    if !args.plan {
        show(context, &rows);
    }
    if let Some(file) = &args.report {
        let written = write_month(loaded, file, context).await;
        worst = run::with_page(worst, written, context);
    }
    Ok(worst)
}

/// Returns the row of one policy's drill; none where it was only planned.
async fn of_policy(args: &RunArgs, policy: &Policy, context: &Context) -> (Option<Row>, Exit) {
    let (strong, output) = (style::STRONG, &context.output);
    if !output.is_json() {
        output.line(format!("{strong}{}{strong:#}", policy.system));
    }
    let ended = run_one(args, policy, context).await;
    let (row, exit) = match ended {
        Ok(Ran::Planned) => (None, Exit::Done),
        Ok(Ran::Concluded { concluded, exit }) => {
            (Some(Row::of(policy, &concluded.record, &concluded.verdict.sentence, exit)), exit)
        }
        Err(error) => refused(args, &policy.path, Some(&policy.system), &error, context),
    };
    if !output.is_json() {
        output.line("");
    }
    (row, exit)
}

/// Shows why there is no drill.
fn refused(
    args: &RunArgs,
    path: &Path,
    system: Option<&SystemName>,
    error: &CommandError,
    context: &Context,
) -> (Option<Row>, Exit) {
    let sentence = error.to_string();
    context.output.warn(format!("no drill was run for `{}`: {sentence}", path.display()));
    error.hints.iter().for_each(|hint| context.output.note(format!("hint: {hint}")));
    context.output.reason(&sentence);
    let row = Row {
        policy: path.display().to_string(),
        system: system.cloned(),
        drill: None,
        scenario: args.scenario,
        outcome: None,
        rto_seconds: None,
        rpo_seconds: None,
        sentence,
        exit: error.exit as u8,
    };
    (Some(row), error.exit)
}

impl Row {
    fn of(policy: &Policy, record: &DrillRecord, sentence: &str, exit: Exit) -> Self {
        Self {
            policy: policy.path.display().to_string(),
            system: Some(policy.system.clone()),
            drill: Some(record.identity.drill.clone()),
            scenario: record.identity.scenario,
            outcome: Some(record.verdict.outcome),
            rto_seconds: record.results.rto_seconds,
            rpo_seconds: record.results.rpo_seconds,
            sentence: sentence.to_owned(),
            exit: exit as u8,
        }
    }
}

/// Returns the one that says more of what is wrong: of a backup, of an objective, of what is not known.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Done => 0,
        Exit::Partly => 1,
        Exit::Undetermined => 3,
        Exit::ObjectiveMissed => 4,
        Exit::DrillFailed => 5,
        Exit::Interrupted => 6,
        _ => 2,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn show(context: &Context, rows: &[Row]) {
    let output = &context.output;
    if output.is_json() {
        output.document("drill-runs", &RunsDocument { drills: rows });
        return;
    }
    let [system, verdict, rto, rpo, drill] = ["SYSTEM", "VERDICT", "RTO", "RPO", "DRILL"].map(Cell::new);
    let mut table = TextTable::head([system, verdict, rto.right(), rpo.right(), drill]);
    let time = |seconds: Option<f64>| Cell::new(seconds.map_or_else(|| "-".to_owned(), lasting)).right();
    for row in rows {
        let system = row.system.as_ref().map_or(&*row.policy, SystemName::as_str);
        let verdict = match row.outcome {
            Some(outcome) => {
                Cell::new(outcome_word(outcome).to_lowercase()).style(tone_style(outcome_tone(outcome)))
            }
            None => Cell::new("not run").style(style::BAD),
        };
        let drill = row.drill.as_ref().map_or("-", RunId::as_str);
        table.row([
            Cell::new(system),
            verdict,
            time(row.rto_seconds),
            time(row.rpo_seconds),
            Cell::new(drill),
        ]);
    }
    table.lines().iter().for_each(|line| output.line(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_is_what_tells_most_of_the_backups() {
        let all = [
            Exit::Done,
            Exit::Partly,
            Exit::Usage,
            Exit::Undetermined,
            Exit::ObjectiveMissed,
            Exit::DrillFailed,
        ];
        for (n, one) in all.iter().enumerate() {
            for other in &all[..=n] {
                assert_eq!((worse(*one, *other), worse(*other, *one)), (*one, *one));
            }
        }
    }
}
