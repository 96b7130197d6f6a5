use super::convert::found;
use super::{AwsError, AwsFailure, CallPace, paced_config};
use crate::policy::AwsLocation;

/// A KMS key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsKey {
    pub arn: String,
    /// AWS made it and manages it, as `aws/rds`: no other account can be allowed to use it.
    pub is_of_aws: bool,
}

/// Why nothing is known of a key.
#[derive(Debug, thiserror::Error)]
pub enum KmsKeyError {
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error(transparent)]
    Aws(#[from] AwsFailure),
}

/// The key of that ARN, id or alias (`alias/…`) in the place's region; `None`: there is none.
pub async fn key(place: &AwsLocation, named: &str) -> Result<Option<KmsKey>, KmsKeyError> {
    let client = aws_sdk_kms::Client::new(&paced_config(place, CallPace::Look).await?);
    let failed = |error| AwsFailure::from_sdk("DescribeKey", &place.region, error);
    let asked = client.describe_key().key_id(named).send().await.map_err(failed);
    let Some(metadata) = found(asked)?.and_then(|answer| answer.key_metadata) else { return Ok(None) };
    let arn = metadata.arn.ok_or_else(|| AwsFailure::lacking("DescribeKey", &place.region, "ARN"))?;
    let is_of_aws = metadata.key_manager == Some(aws_sdk_kms::types::KeyManagerType::Aws);
    Ok(Some(KmsKey { arn, is_of_aws }))
}
