use aws_sdk_backup::types::RestoreValidationStatus;

use super::super::AwsFailure;
use super::AwsBackup;

/// The validation result of a restore for AWS Backup's restore testing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validation {
    Successful,
    /// With the reason. Never for an error of the checker itself.
    Failed(String),
}

impl AwsBackup {
    /// Reports the validation result of a restore. AWS accepts it once: the first result is final.
    pub async fn put_validation(&self, job: &str, found: &Validation) -> Result<(), AwsFailure> {
        let (status, message) = match found {
            Validation::Successful => (RestoreValidationStatus::Successful, None),
            Validation::Failed(reason) => (RestoreValidationStatus::Failed, Some(reason.clone())),
        };
        let call = self.client.put_restore_validation_result().restore_job_id(job).validation_status(status);
        let call = call.set_validation_status_message(message);
        call.send().await.map(drop).map_err(self.region.failed("PutRestoreValidationResult"))
    }
}
