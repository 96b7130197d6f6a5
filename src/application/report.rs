use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::checks::CheckResult;
use crate::event::PhaseSeconds;
use crate::model::{BackupId, Cause, Judgement, RunId, SourceName, Verdict};

/// What came of restoring an application.
#[derive(Clone, Debug, Serialize)]
pub struct ApplicationReport {
    pub run: RunId,
    pub point: Option<RunId>,
    /// How well the members fit together.
    pub label: String,
    pub members: Vec<MemberReport>,
    /// Of what is between members.
    pub references: Vec<CheckResult>,
    /// The worst of everything.
    pub verdict: Verdict,
    /// From the begin of the first attempt to the last check.
    pub rto_seconds: f64,
    pub notes: Vec<String>,
}

/// What came of one member.
#[derive(Clone, Debug, Serialize)]
pub struct MemberReport {
    pub source: SourceName,
    pub run: RunId,
    pub backup: Option<BackupId>,
    pub to: String,
    pub recovery_point: Option<DateTime<Utc>>,
    pub verdict: Verdict,
    pub seconds: f64,
    #[serde(flatten)]
    pub outcome: MemberOutcome,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum MemberOutcome {
    Restored {
        checks: Vec<CheckResult>,
        left_out: Vec<String>,
        notes: Vec<String>,
        phases: Vec<PhaseSeconds>,
    },
    /// By an earlier attempt; with what was not good then.
    RestoredBefore {
        judgement: Judgement,
        reasons: Vec<String>,
        is_everything: bool,
    },
    Failed {
        cause: Cause,
        reason: String,
        /// Without any of the data.
        #[serde(skip)]
        recorded: String,
    },
    Interrupted,
    /// Another one failed before.
    NotStarted,
}

impl MemberReport {
    /// Sets the verdict by the outcome.
    pub(super) fn judge(&mut self) {
        let source = &self.source;
        let mut verdict = Verdict::default();
        match &self.outcome {
            MemberOutcome::Restored { checks, .. } => {
                verdict = Verdict::worst(checks.iter().map(|check| &check.verdict));
            }
            MemberOutcome::RestoredBefore { judgement, reasons, .. } => {
                for reason in reasons {
                    verdict.add(
                        *judgement,
                        Cause::Backup,
                        "restored-before",
                        format!("`{source}`: {reason}"),
                    );
                }
            }
            MemberOutcome::Failed { cause, reason, .. } => {
                verdict.add(Judgement::Fail, *cause, "member-failed", format!("`{source}`: {reason}"));
            }
            MemberOutcome::Interrupted => {
                let message = format!("`{source}` was interrupted");
                verdict.add(Judgement::Undetermined, Cause::Tool, "interrupted", message);
            }
            MemberOutcome::NotStarted => {
                let message = format!("`{source}` was not restored, because another failed");
                verdict.add(Judgement::Undetermined, Cause::Tool, "not-started", message);
            }
        }
        self.verdict = verdict;
    }

    pub fn is_restored(&self) -> bool {
        matches!(self.outcome, MemberOutcome::Restored { .. } | MemberOutcome::RestoredBefore { .. })
    }

    /// Returns whether everything that the original had is there.
    pub fn is_everything(&self) -> bool {
        match &self.outcome {
            MemberOutcome::Restored { left_out, .. } => left_out.is_empty(),
            MemberOutcome::RestoredBefore { is_everything, .. } => *is_everything,
            _ => false,
        }
    }
}

impl ApplicationReport {
    /// Returns whether every member is there, whole, and every check has passed.
    pub fn is_sound(&self) -> bool {
        self.verdict.has_passed() && self.members.iter().all(MemberReport::is_everything)
    }

    pub fn is_interrupted(&self) -> bool {
        self.members.iter().any(|member| matches!(member.outcome, MemberOutcome::Interrupted))
    }
}
