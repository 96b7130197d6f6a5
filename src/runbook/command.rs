//! Runs the command of a step.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::incident::{CommandEnd, RestoredFacts};
use super::redact::Redactor;
use crate::model::{BackupId, RepositoryName};
use crate::platform::{CancellationToken, OnLine, Program, ScriptEnd};
use crate::text::{error_chain, visible};

/// How many of the last lines are recorded.
const TAIL: usize = 40;
/// A longer line is cut.
const LINE: usize = 500;

/// How a command ended, and what it said.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandRun {
    pub end: CommandEnd,
    /// The last lines, without secrets.
    pub output: Vec<String>,
    pub restored: Option<RestoredFacts>,
}

/// A script with what it needs.
#[derive(Clone, Debug)]
pub struct StepCommand<'a> {
    pub script: &'a str,
    pub deadline: Duration,
    pub values: &'a BTreeMap<String, String>,
    /// This program, which `drctl` is.
    pub drctl: &'a Path,
}

impl StepCommand<'_> {
    /// Runs it in a process group of its own, and ends it at its deadline.
    pub async fn run(&self, cancel: &CancellationToken, on_line: OnLine) -> CommandRun {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let redactor = Redactor::new(environment);
        let tail: Arc<Mutex<(VecDeque<String>, Option<RestoredFacts>)>> = Arc::default();
        let own = Arc::clone(&tail);
        let keep: OnLine = Arc::new(move |line: &str| {
            on_line(line);
            let mut tail = own.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = read_restored(line) {
                tail.1 = Some(found);
            }
            if tail.0.len() >= TAIL {
                tail.0.pop_front();
            }
            let shown: String = visible(&redactor.line(line)).chars().take(LINE).collect();
            tail.0.push_back(shown);
        });
        let end = self.program().run_lines(self.deadline, cancel, keep).await;
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        let (output, restored) = (tail.0.drain(..).collect(), tail.1.take());
        let end = match end {
            Ok(ScriptEnd::Exited(status)) => CommandEnd::Exited { status },
            Ok(ScriptEnd::Killed(signal)) => CommandEnd::Killed { signal },
            Ok(ScriptEnd::Deadline) => CommandEnd::Deadline,
            Ok(ScriptEnd::Interrupted) => CommandEnd::Interrupted,
            Err(error) => CommandEnd::NotStarted { why: error_chain(&error) },
        };
        CommandRun { end, output, restored }
    }

    /// `drctl` is this program, also for what the script starts.
    fn program(&self) -> Program {
        let is_named = self.drctl.file_name().is_some_and(|name| name == "drctl");
        let script = match is_named {
            true => self.script.to_owned(),
            false => format!("drctl() {{ \"$DRCTL_PROGRAM\" \"$@\"; }}\n{}", self.script),
        };
        let mut program = Program::new("/bin/sh").args(["-eu", "-c", &script]);
        if let Some(folder) = self.drctl.parent().filter(|_| is_named) {
            let mut path = OsString::from(folder);
            if let Some(known) = std::env::var_os("PATH") {
                path.push(":");
                path.push(known);
            }
            program = program.env("PATH", path);
        }
        program = program.env("DRCTL_PROGRAM", self.drctl);
        self.values.iter().fold(program, |program, (name, value)| program.env(name, value))
    }
}

#[derive(Deserialize)]
struct RestoreReport {
    kind: String,
    to: String,
    recovery_point: DateTime<Utc>,
    seconds: f64,
    backup: Option<BackupId>,
    #[serde(default)]
    details: RestoreDetails,
}

#[derive(Default, Deserialize)]
struct RestoreDetails {
    repository: Option<RepositoryName>,
}

/// Reads the document that `drctl restore --output json` ends with.
fn read_restored(line: &str) -> Option<RestoredFacts> {
    if !line.starts_with('{') || !line.contains("restore-report") {
        return None;
    }
    let report: RestoreReport = serde_json::from_str(line).ok()?;
    let RestoreReport { kind, to, recovery_point, seconds, backup, details } = report;
    let repository = details.repository;
    (kind == "restore-report").then_some(RestoredFacts { to, recovery_point, seconds, backup, repository })
}
