//! Checks that what was restored is as expected: the policy's checks, as queries of a database, and the
//! findings of the restores themselves, in the same form.
//!
//! [`run`] queries, [`evaluate()`] decides. [`check_reference`] compares rows with the files they name.
//!
//! *Invariants.*
//! - A check changes nothing: it is one query in a read-only transaction.
//! - A check that could not be run has neither passed nor failed: it is undetermined.
//! - Ages are measured from the recovery target, not from now: a restore to yesterday is as good as
//!   yesterday's data.
//!
//! *Not here.* Commands and URLs: they check a whole application, and a database alone is none.

mod evaluate;
mod references;
mod run;

pub use evaluate::{CheckVerdict, evaluate};
pub use references::{CheckedReference, FILES_MISSING, NOT_COMPARED, check_reference};
pub use run::run;

use serde::Serialize;

use crate::model::{Cause, Judgement, SourceName, Verdict};
use crate::policy::{Check, Drill, Probe};

/// The code of a check whose answer is not as expected.
pub const CHECK_FAILED: &str = "check-failed";
/// The code of a check that could not be run.
pub const NOT_ASKED: &str = "check-not-asked";
/// The code of a check whose role or tables are not there.
pub const NOT_THERE: &str = "check-not-there";

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    pub check: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The value found; absent if there was none.
    pub found: Option<String>,
}

impl CheckResult {
    pub fn passed(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::default(), found: Some(found.into()) }
    }

    pub fn failed(
        check: impl Into<String>,
        cause: Cause,
        code: &'static str,
        reason: impl Into<String>,
    ) -> Self {
        let mut verdict = Verdict::default();
        verdict.add(Judgement::Fail, cause, code, reason);
        Self { check: check.into(), verdict, found: None }
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

    /// Converts the result of one of the policy's checks.
    fn of_policy(check: &str, answer: CheckVerdict) -> Self {
        let mut verdict = Verdict::default();
        let mut found = None;
        match answer {
            CheckVerdict::Pass { found: value } => found = Some(value),
            CheckVerdict::Fail { reason } => {
                let message = format!("check `{check}` failed: {reason}");
                verdict.add(Judgement::Fail, Cause::Backup, CHECK_FAILED, message);
            }
            CheckVerdict::Undetermined { reason } => {
                let message = format!("failed to run check `{check}`: {reason}");
                verdict.add(Judgement::Undetermined, Cause::Environment, NOT_ASKED, message);
            }
            // The role may have lacked the rights, or what is asked for was left out on purpose.
            CheckVerdict::NotThere { reason } => {
                let message = format!("failed to run check `{check}`: {reason}");
                verdict.add(Judgement::Undetermined, Cause::Environment, NOT_THERE, message);
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
