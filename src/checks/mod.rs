//! Whether what was restored is what it should be: the policy's checks, asked of a database.
//!
//! [`run`] asks, [`evaluate()`] decides.
//!
//! *Invariants.*
//! - A check changes nothing: it is asked in a transaction that only reads, and is one query.
//! - What could not be asked has not passed, and has not failed either: [`CheckVerdict::Undetermined`].
//! - Ages are measured from the moment that was restored to, not from now: a restore of yesterday is as good
//!   as yesterday's data was.
//!
//! *Not here.* Commands and URLs: they are asked of a whole application, and a database alone is none.

mod evaluate;
mod run;

pub use evaluate::{CheckVerdict, evaluate};
pub use run::run;

use serde::Serialize;

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    pub check: String,
    #[serde(flatten)]
    pub verdict: CheckVerdict,
}

impl CheckResult {
    pub fn has_passed(&self) -> bool {
        matches!(self.verdict, CheckVerdict::Pass { .. })
    }

    /// Why it has not passed.
    pub fn reason(&self) -> Option<String> {
        let name = &self.check;
        match &self.verdict {
            CheckVerdict::Pass { .. } => None,
            CheckVerdict::Fail { reason } => Some(format!("check `{name}` failed: {reason}")),
            CheckVerdict::Undetermined { reason } => {
                Some(format!("check `{name}` could not be asked: {reason}"))
            }
        }
    }
}
