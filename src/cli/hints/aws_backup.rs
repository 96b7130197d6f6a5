use super::Hints;
use crate::cli::exit::Exit;
use crate::repository::SmallError;
use crate::restore::aws_backup::{ResourceAftermath, ResourceRestorePlan, ResourceRestoreRequest};
use crate::restore::{AwsRestoreError, RestoreError as _, RestoreFailed};

const RESUMES: &str = "A job that was started continues in AWS; the same command resumes it.";

impl Hints for ResourceRestoreRequest {
    fn before(error: &AwsRestoreError) -> (Exit, Vec<String>) {
        let (exit, hint) = match error {
            error if error.is_interruption() => (Exit::Interrupted, RESUMES.to_owned()),
            AwsRestoreError::Details(SmallError::CannotDecrypt { .. }) => (
                Exit::CannotDecrypt,
                "Leave `--identity` out: the region that is restored in has the recorded metadata, too."
                    .to_owned(),
            ),
            AwsRestoreError::Region { others, .. } if !others.is_empty() => {
                let other = others.first().map_or("", String::as_str);
                (Exit::Failed, format!("Restore in another region: `--from {other}`."))
            }
            _ => return (Exit::Failed, vec![]),
        };
        (exit, vec![hint])
    }

    fn after(
        _plan: &ResourceRestorePlan,
        failed: &RestoreFailed<AwsRestoreError, ResourceAftermath>,
    ) -> Vec<String> {
        let hint = match &failed.error {
            error if error.is_interruption() => RESUMES,
            error if error.is_taken() => {
                "Name another with `--to-resource`; drctl restores over nothing that is there."
            }
            AwsRestoreError::Failed { .. } => {
                "AWS Backup's console says more of the job. Mostly the policy's `role` lacks a permission, or a name in the metadata is not there in this region."
            }
            _ => return vec![],
        };
        vec![hint.to_owned()]
    }
}
