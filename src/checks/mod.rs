//! Whether what was restored is what it should be: the policy's checks, asked of a database, and what the restores
//! find out themselves, in the same form.
//!
//! [`run`] asks, [`evaluate()`] decides.
//!
//! *Invariants.*
//! - A check changes nothing: it is asked in a transaction that only reads, and is one query.
//! - What could not be asked has not passed, and has not failed either: it is undetermined.
//! - Ages are measured from the moment that was restored to, not from now: a restore of yesterday is as good
//!   as yesterday's data was.
//!
//! *Not here.* Commands and URLs: they are asked of a whole application, and a database alone is none.

mod evaluate;
mod run;

pub use evaluate::{CheckVerdict, evaluate};
pub use run::run;

use serde::Serialize;

use crate::model::{Cause, Judgement, SourceName, Verdict};
use crate::policy::{Check, Drill, Probe};

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    pub check: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was found; absent where nothing was.
    pub found: Option<String>,
}

impl CheckResult {
    pub fn passed(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::default(), found: Some(found.into()) }
    }

    pub fn undetermined(
        check: impl Into<String>,
        cause: Cause,
        code: &'static str,
        reason: impl Into<String>,
    ) -> Self {
        let mut verdict = Verdict::default();
        verdict.add(Judgement::Undetermined, cause, code, reason);
        Self { check: check.into(), verdict, found: None }
    }

    /// What an answer says of one of the policy's checks.
    fn of_policy(check: &str, answer: CheckVerdict) -> Self {
        let mut verdict = Verdict::default();
        let mut found = None;
        match answer {
            CheckVerdict::Pass { found: value } => found = Some(value),
            CheckVerdict::Fail { reason } => {
                let message = format!("check `{check}` failed: {reason}");
                verdict.add(Judgement::Fail, Cause::Backup, "check-failed", message);
            }
            CheckVerdict::Undetermined { reason } => {
                let message = format!("failed to run check `{check}`: {reason}");
                verdict.add(Judgement::Undetermined, Cause::Environment, "check-not-asked", message);
            }
        }
        Self { check: check.to_owned(), verdict, found }
    }

    pub fn has_passed(&self) -> bool {
        self.verdict.has_passed()
    }
}

/// Returns the policy's checks that can run against a database restored from the source.
pub fn of_source(drill: Option<&Drill>, source: &SourceName) -> Vec<Check> {
    let own = drill.into_iter().filter(|drill| drill.source == *source).flat_map(|drill| &drill.checks);
    own.filter(|check| matches!(check.probe, Probe::Sql { .. })).cloned().collect()
}
