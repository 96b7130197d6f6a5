use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::upload_part::UploadPartError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;

/// Error codes for bytes that were corrupted in transit.
const CODES: [&str; 7] = [
    "BadDigest",
    "InvalidDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "ChecksumMismatch",
    "InvalidPart",
];

/// Retries uploads that were corrupted in transit, like those that did not arrive. All attempts count
/// together.
#[derive(Debug)]
pub(super) struct CorruptUpload;

impl ClassifyRetry for CorruptUpload {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else { return RetryAction::NoActionIndicated };
        let Some(error) = error.as_operation_error() else { return RetryAction::NoActionIndicated };
        let code = None
            .or_else(|| error.downcast_ref::<PutObjectError>().map(ProvideErrorMetadata::code))
            .or_else(|| error.downcast_ref::<UploadPartError>().map(ProvideErrorMetadata::code))
            .or_else(|| error.downcast_ref::<CompleteMultipartUploadError>().map(ProvideErrorMetadata::code));
        match code.flatten() {
            Some(code) if CODES.contains(&code) => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "Spoiled"
    }
}
