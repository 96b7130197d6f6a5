use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use chrono::{DateTime, Utc};

use super::{AwsFailure, FailureKind};

/// The region of a client, of which its failures say that they are.
#[derive(Clone, Debug)]
pub(super) struct ClientRegion(pub(super) String);

impl ClientRegion {
    /// Converts the failure of a call.
    pub(super) fn failed<E>(
        &self,
        operation: &'static str,
    ) -> impl FnOnce(SdkError<E, HttpResponse>) -> AwsFailure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        move |error| AwsFailure::from_sdk(operation, &self.0, error)
    }

    /// Returns the failure of a call that is not made.
    pub(super) fn refused(&self, operation: &'static str, kind: FailureKind, detail: String) -> AwsFailure {
        AwsFailure { operation, region: self.0.clone(), kind, code: None, detail }
    }

    /// Returns the failure of an answer that lacks something.
    pub(super) fn lacking(&self, operation: &'static str, what: &str) -> AwsFailure {
        AwsFailure::lacking(operation, &self.0, what)
    }
}

/// `None` where the thing that was asked for is not there.
pub(super) fn found<T>(answer: Result<T, AwsFailure>) -> Result<Option<T>, AwsFailure> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

pub(super) fn time(time: Option<aws_smithy_types::DateTime>) -> Option<DateTime<Utc>> {
    let time = time?;
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}
