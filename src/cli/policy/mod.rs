//! `drctl policy check | show | schema`.

mod show;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::style;
use crate::policy;
use crate::policy::{Lint, PolicyFault, PolicyFaults};
use crate::text::count;

/// Check, show or describe the policy
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    what: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Report every fault of a policy, and warn of risks
    ///
    /// Each fault has its line, column and key. A fault makes the exit status 2; warnings do not.
    Check {
        /// Policies to check [default: the one that every command uses]
        #[arg(value_parser = super::path_arg::path())]
        files: Vec<PathBuf>,
    },
    /// Show the policy with its defaults filled in
    Show,
    /// Print the JSON Schema of policies, for editors
    Schema,
}

pub(super) fn run(args: PolicyArgs, context: &Context) -> Result<Exit, CommandError> {
    match args.what {
        PolicyCommand::Check { files } if files.is_empty() => check(&[context.policy_path()?], context),
        PolicyCommand::Check { files } => check(&files, context),
        PolicyCommand::Show => {
            let policy = context.policy()?;
            if context.output.is_json() {
                context.output.document("policy", &show::document(&policy));
            } else {
                show::lines(&policy).iter().for_each(|line| context.output.line(line));
            }
            Ok(Exit::Done)
        }
        PolicyCommand::Schema => {
            let text = serde_json::to_string_pretty(&policy::schema()).map_err(CommandError::failed)?;
            context.output.line(text);
            Ok(Exit::Done)
        }
    }
}

/// The result for one file.
#[derive(Serialize)]
struct CheckedPolicy<'a> {
    path: &'a Path,
    system: Option<String>,
    faults: Vec<PolicyFault>,
    warnings: Vec<Lint>,
}

fn check(files: &[PathBuf], context: &Context) -> Result<Exit, CommandError> {
    let checked: Vec<CheckedPolicy<'_>> = files
        .iter()
        .map(|path| match policy::load(path) {
            Ok(policy) => CheckedPolicy {
                path,
                system: Some(policy.system.to_string()),
                faults: vec![],
                warnings: policy::lint(&policy).into_iter().chain(policy::dormant(&policy)).collect(),
            },
            Err(PolicyFaults { faults, .. }) => {
                CheckedPolicy { path, system: None, faults, warnings: vec![] }
            }
        })
        .collect();
    if context.output.is_json() {
        context.output.document("policy-check", &serde_json::json!({ "policies": &checked }));
    } else {
        for checked in &checked {
            print(checked, context);
        }
    }
    Ok(if checked.iter().any(|checked| !checked.faults.is_empty()) {
        Exit::Usage
    } else if checked.iter().any(CheckedPolicy::misses_objective) {
        Exit::ObjectiveMissed
    } else {
        Exit::Done
    })
}

impl CheckedPolicy<'_> {
    fn misses_objective(&self) -> bool {
        self.warnings.iter().any(|warning| warning.misses_objective)
    }
}

fn print(checked: &CheckedPolicy<'_>, context: &Context) {
    let path = checked.path.display();
    for fault in &checked.faults {
        let one = PolicyFaults { path: checked.path.to_owned(), faults: vec![fault.clone()] };
        context.output.line(one.to_string());
    }
    for Lint { misses_objective, at, key, message, hint } in &checked.warnings {
        let (style, word) =
            if *misses_objective { (style::BAD, "objective") } else { (style::WARN, "warning") };
        let at = at.map(|at| format!("{}:{}:", at.line, at.column)).unwrap_or_default();
        context.output.line(format!("{path}:{at} {style}{word}:{style:#} {key}: {message}\n  hint: {hint}"));
    }
    let warnings = checked.warnings.iter().filter(|warning| !warning.misses_objective).count();
    let warnings = count(warnings as u64, "warning");
    match &checked.system {
        None => {
            let bad = style::BAD;
            let faults = count(checked.faults.len() as u64, "fault");
            context.output.line(format!("{path}: {bad}refused{bad:#}, {faults}"));
        }
        Some(system) if checked.misses_objective() => {
            let bad = style::BAD;
            context.output.line(format!(
                "{path}: {bad}cannot meet its objectives{bad:#} for system {system}, {warnings}"
            ));
        }
        Some(system) => {
            let good = style::GOOD;
            let warnings = if checked.warnings.is_empty() { "no warnings".to_owned() } else { warnings };
            context.output.line(format!("{path}: {good}valid{good:#} for system {system}, {warnings}"));
        }
    }
}
