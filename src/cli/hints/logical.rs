use super::Hints;
use crate::cli::exit::Exit;
use crate::restore::logical::{
    DumpAftermath, DumpCleanup, DumpRestoreError, DumpRestorePlan, DumpRestoreRequest,
};
use crate::restore::{RestoreError as _, RestoreFailed};

impl Hints for DumpRestoreRequest {
    fn before(error: &DumpRestoreError) -> (Exit, Vec<String>) {
        let (exit, hint) = match error {
            DumpRestoreError::CannotDecrypt { .. } => (
                Exit::CannotDecrypt,
                "Name the file that holds an identity with `--identity`; `drctl show` says whose recipients the backup has.",
            ),
            // The recorded facts are lost; the dump itself may be intact.
            DumpRestoreError::Details { .. } => (
                Exit::Failed,
                "`drctl verify` says what is left of it; `drctl show` has the commands that restore the dump manually.",
            ),
            DumpRestoreError::Tools(_) => (Exit::Failed, "`drctl doctor` says which versions are here."),
            _ => return (Exit::Failed, vec![]),
        };
        (exit, vec![hint.to_owned()])
    }

    fn after(plan: &DumpRestorePlan, failed: &RestoreFailed<DumpRestoreError, DumpAftermath>) -> Vec<String> {
        let mut hints = Vec::new();
        if !failed.aftermath.globals_made.is_empty() {
            hints.push(format!("These stay on the server: {}.", failed.aftermath.globals_made.join(", ")));
        }
        match &failed.aftermath.cleanup {
            DumpCleanup::Left { database, .. } => {
                hints.push(format!("Drop it manually: DROP DATABASE \"{database}\" WITH (FORCE);"));
            }
            DumpCleanup::Kept { database, by_hand, .. } => {
                hints.push(format!("Do not drop {database}: nothing but its name is missing."));
                hints.push(format!("When others are not connected to it: {by_hand}"));
            }
            DumpCleanup::Marked { .. } => {
                hints.push("Drop and recreate the database before the next try; or empty it, and clear its comment (COMMENT ON DATABASE … IS NULL).".to_owned())
            }
            DumpCleanup::NothingMade | DumpCleanup::Dropped { .. } | DumpCleanup::Published { .. } => {}
        }
        let is_of_load = matches!(
            failed.error,
            DumpRestoreError::LoadObject { .. } | DumpRestoreError::Load(_) | DumpRestoreError::Different(_)
        );
        if is_of_load && plan.incomplete.is_none() && !failed.error.is_interruption() {
            hints.push(
                "`--continue` restores what loads under another name, with an account of what is missing."
                    .to_owned(),
            );
        }
        hints
    }
}
