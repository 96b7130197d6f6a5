use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::super::StoreErrorKind;
use super::super::fault::StoreFault;

/// A request that failed after its retries.
#[derive(Debug)]
pub(super) struct S3Error {
    pub(super) kind: StoreErrorKind,
    pub(super) detail: Option<String>,
    /// Status of the HTTP response, if there was one.
    pub(super) status: Option<u16>,
    /// The store's error code: `NoSuchKey`.
    pub(super) code: Option<String>,
}

impl S3Error {
    /// Returns whether a concurrent write of the key conflicts and neither is decided, by the codes of AWS
    /// and Ceph.
    pub(super) fn is_conflict(&self) -> bool {
        self.is("ConditionalRequestConflict") || self.is("ConcurrentModification")
    }

    /// Creates a failure without a response.
    pub(super) fn other(detail: String) -> Self {
        Self { kind: StoreErrorKind::Other, detail: Some(detail), status: None, code: None }
    }

    /// Converts the error of one object in a response about several.
    pub(super) fn from_code(code: Option<&str>, message: Option<&str>) -> Self {
        let words: Vec<&str> =
            [code, message].into_iter().flatten().filter(|word| !word.is_empty()).collect();
        let detail = (!words.is_empty()).then(|| words.join(": "));
        // It has no status of its own; this code implies one.
        let status = (code == Some("AccessDenied")).then_some(403);
        Self { kind: kind(code, status), detail, status, code: code.map(str::to_owned) }
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl From<S3Error> for StoreFault {
    fn from(refusal: S3Error) -> Self {
        Self { kind: refusal.kind, detail: refusal.detail }
    }
}

impl<E> From<SdkError<E, HttpResponse>> for S3Error
where
    E: ProvideErrorMetadata + Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().map(str::to_owned);
        let message = error.message().filter(|message| !message.is_empty());
        let kind = match &error {
            _ if causes(&error).any(|cause| cause.is::<CredentialsError>()) => StoreErrorKind::Credentials,
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => StoreErrorKind::Unreachable,
            _ => kind(code.as_deref(), status),
        };
        let elsewhere = elsewhere(code.as_deref(), status, error.raw_response());
        let detail = match (&code, message, status) {
            _ if elsewhere.is_some() => elsewhere,
            (Some(code), Some(message), _) => Some(format!("{code}: {message}")),
            (Some(code), None, _) => Some(code.clone()),
            (None, _, Some(status)) => Some(format!("HTTP status {status}")),
            (None, _, None) => Some(words(&error)),
        };
        Self { kind, detail, status, code }
    }
}

/// Returns a hint if the bucket is in another region. A response without a body, as to HEAD, names the region
/// in a header.
fn elsewhere(code: Option<&str>, status: Option<u16>, answer: Option<&HttpResponse>) -> Option<String> {
    let is_redirect = matches!(status, Some(301 | 307))
        || matches!(code, Some("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed"));
    let named = answer.and_then(|answer| answer.headers().get("x-amz-bucket-region"));
    match named {
        Some(region) if is_redirect || status == Some(400) => {
            Some(format!("the bucket is in region `{region}`, and the policy names another: correct its `region`"))
        }
        None if status == Some(301) => Some(
            "the bucket is in another region than the policy says, or at another endpoint: correct its `region` or `endpoint`"
                .to_owned(),
        ),
        _ => None,
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// Returns the cause of a failure without a response: the SDK wraps it in general words, so the innermost
/// message says most. Of credentials, reports the chain from where the lookup failed.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    let Some(credentials) = causes(error).position(|cause| cause.is::<CredentialsError>()) else {
        return crate::aws::cause(error);
    };
    let mut words: Vec<String> = causes(error).map(ToString::to_string).collect();
    words = words.split_off(credentials);
    words.dedup();
    words.join(": ")
}

/// Maps error codes to kinds; AWS, Ceph and MinIO name the same error differently.
fn kind(code: Option<&str>, status: Option<u16>) -> StoreErrorKind {
    use StoreErrorKind as Kind;
    match (code.unwrap_or_default(), status.unwrap_or_default()) {
        ("NoSuchBucket", _) => Kind::NoBucket,
        ("NoSuchKey" | "NotFound" | "NoSuchVersion" | "NoSuchUpload", _) => Kind::NotFound,
        ("PreconditionFailed" | "ConditionalRequestConflict" | "ConcurrentModification", _) | (_, 412) => {
            Kind::Changed
        }
        ("RequestTimeTooSkewed" | "RequestExpired", _) => Kind::ClockSkew,
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "TokenRefreshRequired"
            | "NotSignedUp"
            | "InvalidSecurity"
            | "AccountProblem"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException",
            _,
        )
        | (_, 401) => Kind::Credentials,
        (
            "QuotaExceeded"
            | "InsufficientCapacity"
            | "XMinioStorageFull"
            | "XMinioAdminBucketQuotaExceeded"
            | "EntityTooLarge",
            _,
        )
        | (_, 507) => Kind::Full,
        (
            "BadDigest"
            | "InvalidDigest"
            | "IncompleteBody"
            | "InvalidRange"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch"
            | "ChecksumMismatch",
            _,
        )
        | (_, 416) => Kind::Corrupt,
        (
            "NotImplemented" | "MethodNotAllowed" | "InvalidStorageClass" | "InvalidEncryptionAlgorithmError",
            _,
        )
        | (_, 405 | 501) => Kind::Unsupported,
        ("RequestTimeout", _) => Kind::Unreachable,
        ("SlowDown" | "ServiceUnavailable" | "InternalError" | "OperationAborted" | "Throttling", _)
        | (_, 429 | 500..=599) => Kind::Unavailable,
        (_, 403) => Kind::Forbidden,
        (_, 404) => Kind::NotFound,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_of_another_region_is_said_to_be_there() {
        use aws_sdk_s3::error::ErrorMetadata;
        use aws_sdk_s3::operation::get_object::GetObjectError;
        use aws_sdk_s3::primitives::SdkBody;
        let refused = |status: u16, code: Option<&str>, region: Option<&'static str>| {
            let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
            if let Some(region) = region {
                answer.headers_mut().insert("x-amz-bucket-region", region);
            }
            let mut metadata = ErrorMetadata::builder();
            if let Some(code) = code {
                metadata = metadata.code(code).message("words");
            }
            let error = GetObjectError::generic(metadata.build());
            S3Error::from(SdkError::service_error(error, answer)).detail.unwrap()
        };
        for (status, code) in [
            (301, None),
            (301, Some("PermanentRedirect")),
            (400, None),
            (400, Some("AuthorizationHeaderMalformed")),
        ] {
            let said = refused(status, code, Some("eu-west-1"));
            assert!(said.contains("in region `eu-west-1`"), "{status} {code:?}: {said}");
        }
        assert!(refused(301, None, None).contains("another region"));
        assert_eq!(refused(403, Some("AccessDenied"), Some("us-east-1")), "AccessDenied: words");
        assert_eq!(
            refused(400, Some("AuthorizationHeaderMalformed"), None),
            "AuthorizationHeaderMalformed: words"
        );
    }

    #[test]
    fn the_stores_words_come_before_the_status() {
        use StoreErrorKind as Kind;
        for (code, status, expected) in [
            (Some("AccessDenied"), 403, Kind::Forbidden),
            (Some("InvalidAccessKeyId"), 403, Kind::Credentials),
            (Some("SignatureDoesNotMatch"), 403, Kind::Credentials),
            (Some("RequestTimeTooSkewed"), 403, Kind::ClockSkew),
            (Some("QuotaExceeded"), 403, Kind::Full),
            (Some("NoSuchBucket"), 404, Kind::NoBucket),
            (Some("NoSuchKey"), 404, Kind::NotFound),
            (Some("SlowDown"), 503, Kind::Unavailable),
            (Some("NotImplemented"), 501, Kind::Unsupported),
            (Some("BadDigest"), 400, Kind::Corrupt),
            (Some("InvalidArgument"), 400, Kind::Other),
            (None, 403, Kind::Forbidden),
            (None, 412, Kind::Changed),
            (None, 500, Kind::Unavailable),
            (None, 301, Kind::Other),
        ] {
            assert_eq!(kind(code, Some(status)), expected, "{code:?} {status}");
        }
    }
}
