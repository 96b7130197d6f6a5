use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// The outcome of a check. The worst of several is their maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    #[default]
    Pass,
    /// No problem is known, but not everything could be checked.
    Undetermined,
    Fail,
}

impl Judgement {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Undetermined => "undetermined",
            Self::Fail => "fail",
        }
    }
}

impl Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where to look for the cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The backup.
    Backup,
    /// An objective: a recovery point or time objective, a check of the policy.
    Objective,
    /// The runbook that a drill ran.
    Runbook,
    /// The environment it was restored to.
    Environment,
    /// drctl, or a program that it runs.
    Tool,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Objective => "objective",
            Self::Runbook => "runbook",
            Self::Environment => "environment",
            Self::Tool => "tool",
        }
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One reason why a check did not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub cause: Cause,
    /// For programs; part of the interface.
    pub code: &'static str,
    pub message: String,
}

/// A judgement, with all reasons why it is not a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub outcome: Judgement,
    pub reasons: Vec<Reason>,
}

impl Verdict {
    pub fn has_passed(&self) -> bool {
        self.outcome == Judgement::Pass
    }

    /// Returns the worst of several, with all of their reasons.
    pub fn worst<'v>(all: impl IntoIterator<Item = &'v Self>) -> Self {
        let mut worst = Self::default();
        for verdict in all {
            worst.outcome = worst.outcome.max(verdict.outcome);
            worst.reasons.extend(verdict.reasons.iter().cloned());
        }
        worst
    }

    /// Adds a reason and makes the judgement no better than `judgement`.
    pub fn add(
        &mut self,
        judgement: Judgement,
        cause: Cause,
        code: &'static str,
        message: impl Into<String>,
    ) {
        self.outcome = self.outcome.max(judgement);
        self.reasons.push(Reason { cause, code, message: message.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_reason_decides() {
        let mut verdict = Verdict::default();
        assert!(verdict.has_passed());
        verdict.add(Judgement::Fail, Cause::Backup, "not-loaded", "a");
        verdict.add(Judgement::Undetermined, Cause::Tool, "not-compared", "b");
        assert_eq!((verdict.outcome.as_str(), verdict.reasons.len()), ("fail", 2));
        let worst = Verdict::worst([&Verdict::default(), &verdict]);
        assert_eq!(worst, verdict);
    }
}
