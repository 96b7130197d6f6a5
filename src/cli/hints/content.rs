use super::Hints;
use crate::cli::exit::Exit;
use crate::repository::SmallError;
use crate::restore::content::{
    ContentAftermath, ContentRestoreError, ContentRestorePlan, ContentRestoreRequest,
};
use crate::restore::{RestoreError as _, RestoreFailed};

const IDENTITY: &str =
    "Name the file that holds an identity of one of the backup's recipients with `--identity`.";

impl Hints for ContentRestoreRequest {
    fn before(error: &ContentRestoreError) -> (Exit, Vec<String>) {
        match error {
            error if error.is_interruption() => (Exit::Interrupted, vec![]),
            ContentRestoreError::Small(SmallError::CannotDecrypt { .. }) => {
                (Exit::CannotDecrypt, vec![IDENTITY.to_owned()])
            }
            ContentRestoreError::NoRepository(_) => (
                Exit::Failed,
                vec!["`drctl doctor` says what keeps each repository from being read.".to_owned()],
            ),
            _ => (Exit::Failed, vec![]),
        }
    }

    fn after(
        _plan: &ContentRestorePlan,
        failed: &RestoreFailed<ContentRestoreError, ContentAftermath>,
    ) -> Vec<String> {
        match &failed.error {
            ContentRestoreError::Fetch { .. } => {
                vec!["`drctl verify` says which copies of the backup are good; `--backup ID` restores another one.".to_owned()]
            }
            ContentRestoreError::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                vec!["Make room, or restore to another file system.".to_owned()]
            }
            _ => vec![],
        }
    }
}
