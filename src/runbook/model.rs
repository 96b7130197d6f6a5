//! A runbook, as it was read.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;

use crate::model::Sha256Hex;
use crate::policy::Severity;

/// A runbook that people read and drctl runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Runbook {
    /// The name of its file, without `.md`.
    pub name: String,
    /// Its path, for messages.
    pub file: String,
    /// The Markdown that it was read from.
    pub text: String,
    /// Of the text.
    pub sha256: Sha256Hex,
    pub title: String,
    pub header: Header,
    /// In the order in which they are run.
    pub steps: Vec<Step>,
    pub links: Vec<Link>,
    /// The anchors of its headings, as GitHub makes them.
    pub anchors: Vec<String>,
}

impl Runbook {
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// Returns the answers of a decision.
    pub fn answers(&self, decision: &str) -> Option<&[String]> {
        match &self.step(decision)?.action {
            StepAction::Decide { answers } => Some(answers),
            _ => None,
        }
    }

    /// Returns where a step is in the file: `runbooks/database-lost.md:57`.
    pub fn position(&self, step: &Step) -> String {
        format!("{}:{}", self.file, step.line)
    }
}

/// What stands above the steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub severity: Severity,
    /// The alarm or observation that leads here.
    pub trigger: String,
    /// How long it takes from beginning to end.
    pub takes: Duration,
    /// It is to be rehearsed and reviewed again after so long.
    pub review: Duration,
    /// By name.
    pub parameters: BTreeMap<String, Parameter>,
}

/// What a person gives when it is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    pub description: String,
    pub default: Option<String>,
    /// For readers, and for checking the commands; never used in a run.
    pub example: Option<String>,
}

/// The parts of a runbook, in order; communication may recur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunbookPhase {
    Detection,
    Assessment,
    Communication,
    Recovery,
    Verification,
    LessonsLearned,
}

impl RunbookPhase {
    pub const ALL: [Self; 6] = [
        Self::Detection,
        Self::Assessment,
        Self::Communication,
        Self::Recovery,
        Self::Verification,
        Self::LessonsLearned,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detection => "Detection",
            Self::Assessment => "Assessment",
            Self::Communication => "Communication",
            Self::Recovery => "Recovery",
            Self::Verification => "Verification",
            Self::LessonsLearned => "Lessons learned",
        }
    }
}

impl Display for RunbookPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One action, what is expected of it, and what to do when that is not seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub name: String,
    /// Its heading.
    pub title: String,
    pub phase: RunbookPhase,
    /// Of its block, from 1.
    pub line: usize,
    /// What stands between the heading and the block.
    pub prose: String,
    pub action: StepAction,
    pub deadline: Duration,
    /// It is run only if this was decided.
    pub when: Option<Condition>,
    pub expect: Expectation,
    /// What to do when the expectation is not met.
    pub if_not: Option<String>,
}

impl Step {
    pub fn changes_production(&self) -> bool {
        matches!(self.action, StepAction::Run { changes: Changes::Production, .. })
    }

    /// Returns whether only a person can do it.
    pub fn needs_person(&self) -> bool {
        matches!(self.action, StepAction::Manual { .. } | StepAction::Decide { .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepAction {
    /// Commands for `sh -eu`.
    Run { script: String, changes: Changes },
    /// People do it, and confirm.
    Manual { text: String },
    /// Someone decides.
    Decide { answers: Vec<String> },
    /// A message to stakeholders.
    Tell { severity: Severity, template: String },
}

impl StepAction {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Manual { .. } => "manual",
            Self::Decide { .. } => "decision",
            Self::Tell { .. } => "tell",
        }
    }
}

/// What a command writes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Changes {
    #[default]
    Nothing,
    /// What the plan names, and nothing that is in use.
    Target,
    /// What users work with: asked each time.
    Production,
}

/// An answer that a decision must have had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub decision: String,
    pub answer: String,
}

impl Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.decision, self.answer)
    }
}

/// What is seen when a step worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Exit statuses of a command that are good.
    pub statuses: Vec<i32>,
    /// For people.
    pub text: String,
}

/// A link, and the line that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub target: String,
    pub line: usize,
}

/// Something that is wrong with a runbook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct RunbookFault {
    pub line: usize,
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Every fault of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunbookFaults {
    pub file: String,
    pub faults: Vec<RunbookFault>,
}

impl Display for RunbookFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, RunbookFault { line, message, hint }) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{line}: {message}\n  hint: {hint}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for RunbookFaults {}

/// Returns the name of the environment variable of a parameter or a decision: `$POINT_IN_TIME` for `point-in-time`.
pub fn variable(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}
