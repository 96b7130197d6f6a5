use super::Hints;
use crate::cli::exit::Exit;
use crate::restore::RestoreFailed;
use crate::restore::physical::{
    DirectoryCleanup, PhysicalRestoreError, PhysicalRestorePlan, PhysicalRestoreRequest, ServerState,
};

impl Hints for PhysicalRestoreRequest {
    fn before(error: &PhysicalRestoreError) -> (Exit, Vec<String>) {
        let (exit, hint) = match error {
            PhysicalRestoreError::CannotDecrypt { .. } => (
                Exit::CannotDecrypt,
                "Name the file that holds an identity with `--identity`; `drctl show` says whose recipients the backup has.",
            ),
            PhysicalRestoreError::NoLog(_) => {
                (Exit::Nothing, "`drctl wal status` shows what log each repository has.")
            }
            _ => return (Exit::Failed, vec![]),
        };
        (exit, vec![hint.to_owned()])
    }

    fn after(
        _plan: &PhysicalRestorePlan,
        failed: &RestoreFailed<PhysicalRestoreError, DirectoryCleanup>,
    ) -> Vec<String> {
        let left = match &failed.aftermath {
            DirectoryCleanup::Restored { to, server } => {
                let to = to.display();
                Some(match server {
                    ServerState::NotStarted => format!("RECOVER-BY-HAND.txt in {to} says how to go on."),
                    ServerState::Stopped => format!(
                        "Its log is in {to}. The same command resumes there: the files are not fetched again."
                    ),
                    ServerState::MayRun(_) => {
                        format!("Stop it before anyone works with it: `pg_ctl stop -D {to} -m immediate`.")
                    }
                })
            }
            DirectoryCleanup::Left { .. } => {
                Some("`--drop-leftovers` removes it before the next try.".to_owned())
            }
            DirectoryCleanup::HalfChanged { .. }
            | DirectoryCleanup::Removed { .. }
            | DirectoryCleanup::Untouched { .. } => None,
        };
        let lacks_library = matches!(&failed.error, PhysicalRestoreError::Start { log, .. }
            if log.iter().any(|line| line.contains("could not access file") || line.contains("could not load library")));
        let library = lacks_library.then(|| {
            "Install the packages of the libraries that the server loads when it starts, or name those that it is to load with `--preload-libraries LIST`."
                .to_owned()
        });
        // Damage persists on the next attempt.
        let is_damaged =
            matches!(failed.error, PhysicalRestoreError::Fetch { .. } | PhysicalRestoreError::Unpack { .. });
        let another = is_damaged.then(|| {
            "Another base backup from before the recovery target leads there too, over more WAL: `drctl list`, then `--backup ID`. `drctl verify` reports which are intact."
                .to_owned()
        });
        left.into_iter().chain(library).chain(another).collect()
    }
}
