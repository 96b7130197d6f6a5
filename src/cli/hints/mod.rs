//! Hints for an operator, by error code: only the command line knows its commands.

mod aws_backup;
mod content;
mod logical;
mod physical;
mod rds;
mod refusal;

pub(super) use refusal::{exit_of_refusals, hints_for_refusals};

use super::exit::Exit;
use crate::restore::{RestoreError, RestoreFailed, Restorer};

/// The hints of one method of restore.
pub(super) trait Hints: Restorer {
    /// Returns the hints for an error before anything was changed, other than refusals.
    fn before(error: &Self::Error) -> (Exit, Vec<String>);

    /// Returns the hints for an error during the restore.
    fn after(plan: &Self::Plan, failed: &RestoreFailed<Self::Error, Self::Aftermath>) -> Vec<String>;
}

/// Returns the exit status and the hints of a restore that was not started.
pub(super) fn of_refused<M: Hints>(error: &M::Error) -> (Exit, Vec<String>) {
    match error.refusals() {
        _ if error.is_interruption() => (Exit::Interrupted, M::before(error).1),
        [] => M::before(error),
        refusals => (exit_of_refusals(refusals), hints_for_refusals(refusals)),
    }
}
