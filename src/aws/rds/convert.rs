use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::super::AwsFailure;
use super::Rds;

impl Rds {
    /// Converts a failed call in this region.
    pub(super) fn failed<E>(
        &self,
        operation: &'static str,
    ) -> impl FnOnce(SdkError<E, HttpResponse>) -> AwsFailure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        move |error| AwsFailure::from_sdk(operation, &self.region, error)
    }

    pub(super) fn lacking(&self, operation: &'static str, what: &str) -> AwsFailure {
        AwsFailure::lacking(operation, &self.region, what)
    }
}

pub(super) fn gib(number: Option<i32>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok()).filter(|gib| *gib > 0)
}

pub(super) fn percent(number: Option<i32>) -> Option<u8> {
    number.and_then(|number| u8::try_from(number).ok())
}
