use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use thiserror::Error;

/// An AWS call that failed, after the SDK's retries.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{operation} in {region} failed: {detail}{}", .kind.advice())]
pub struct AwsFailure {
    /// As in the API: `CreateDBSnapshot`.
    pub operation: &'static str,
    pub region: String,
    pub kind: FailureKind,
    /// AWS's error code: `DBSnapshotAlreadyExists`.
    pub code: Option<String>,
    pub detail: String,
}

/// What a failure means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Too many calls; the retries were not enough.
    Throttled,
    /// No credentials, or invalid or expired ones.
    Credentials,
    Forbidden,
    NotFound,
    /// The name is taken.
    Exists,
    /// A quota of the account is exhausted.
    Quota,
    /// The object is in a state that does not allow it now.
    State,
    /// The KMS key cannot be used.
    Key,
    /// No response.
    Unreachable,
    /// The service reports an outage.
    Unavailable,
    /// The request itself is invalid.
    Invalid,
    Other,
}

impl FailureKind {
    /// Returns whether a later retry may succeed without a change. Credentials count: they are renewed during
    /// a job.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Throttled | Self::Credentials | Self::Unreachable | Self::Unavailable)
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Throttled => "; AWS throttles this account: retry later",
            Self::Credentials => "; renew the credentials that the policy names",
            Self::Forbidden => {
                "; the role needs that permission: `drctl iam show` prints the policy of each role"
            }
            Self::Quota => "; request a quota increase, or delete what is no longer needed",
            Self::Key => {
                "; check the key's state and its policy: RDS needs kms:DescribeKey, CreateGrant, Decrypt, Encrypt, GenerateDataKey and ReEncrypt on it, in that region"
            }
            Self::Unreachable => "; check the network, the endpoint in the policy, and the AWS status page",
            _ => "",
        }
    }
}

impl AwsFailure {
    /// Converts an error of the SDK.
    pub fn from_sdk<E>(operation: &'static str, region: &str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let service = error.as_service_error();
        let code = service.and_then(ProvideErrorMetadata::code).map(str::to_owned);
        let message = service.and_then(ProvideErrorMetadata::message).filter(|message| !message.is_empty());
        let status = error.raw_response().map(|response| response.status().as_u16());
        let kind = match &error {
            _ if causes(&error).any(|cause| cause.is::<CredentialsError>()) => FailureKind::Credentials,
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => FailureKind::Unreachable,
            _ => kind(code.as_deref().unwrap_or_default(), status),
        };
        let detail = match (&code, message, status) {
            (Some(code), Some(message), _) => format!("{} ({code})", message.trim_end_matches('.')),
            (Some(code), None, _) => code.clone(),
            // AWS always sends an error code.
            (None, _, Some(status @ (404 | 405 | 501))) => format!(
                "HTTP status {status}: the server does not have this call; check the endpoint in the policy"
            ),
            (None, _, Some(status)) => format!("HTTP status {status}"),
            (None, _, None) => words(&error),
        };
        Self { operation, region: region.to_owned(), kind, code, detail }
    }

    /// Creates the failure of a response that lacks a required value.
    pub fn lacking(operation: &'static str, region: &str, what: &str) -> Self {
        Self {
            operation,
            region: region.to_owned(),
            kind: FailureKind::Other,
            code: None,
            detail: format!("the answer has no {what}"),
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// Returns the cause of a failure without a response: the SDK wraps it in general words, so the innermost
/// message says most. Of credentials, reports the chain from where the lookup failed.
fn words(error: &(dyn Error + 'static)) -> String {
    let credentials = causes(error).position(|cause| cause.is::<CredentialsError>());
    let mut words: Vec<String> = causes(error).map(ToString::to_string).collect();
    let keep = credentials.unwrap_or(words.len().saturating_sub(2));
    words = words.split_off(keep);
    words.dedup();
    words.join(": ")
}

/// Maps error codes to kinds. RDS has `DBSnapshotNotFound`, AWS Backup `ResourceNotFoundException`: the
/// services agree on the endings.
fn kind(code: &str, status: Option<u16>) -> FailureKind {
    use FailureKind as Kind;
    let word = code.trim_end_matches("Fault").trim_end_matches("Exception");
    match (word, status.unwrap_or_default()) {
        (
            "Throttling"
            | "Throttled"
            | "RequestLimitExceeded"
            | "TooManyRequests"
            | "SlowDown"
            | "PriorRequestNotComplete"
            | "RequestThrottled"
            | "BandwidthLimitExceeded",
            _,
        )
        | (_, 429) => Kind::Throttled,
        (
            "ExpiredToken"
            | "InvalidClientTokenId"
            | "UnrecognizedClient"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "RequestExpired"
            | "InvalidAccessKeyId"
            | "AuthFailure"
            | "NotSignedUp"
            | "OptInRequired",
            _,
        )
        | (_, 401) => Kind::Credentials,
        (word, _) if word.starts_with("AccessDenied") || word.starts_with("UnauthorizedOperation") => {
            Kind::Forbidden
        }
        (word, _) if word.contains("KMSKey") || word.starts_with("KMS") => Kind::Key,
        (word, _) if word.contains("QuotaExceeded") || word == "LimitExceeded" => Kind::Quota,
        (word, _) if word.ends_with("AlreadyExists") => Kind::Exists,
        (word, _) if word.ends_with("NotFound") || word.ends_with("NotFoundMessage") => Kind::NotFound,
        (word, _) if word.starts_with("Invalid") && word.ends_with("State") => Kind::State,
        ("InvalidResourceState" | "Conflict" | "InvalidRequest", _) => Kind::State,
        ("ServiceUnavailable" | "InternalFailure" | "InternalError" | "InternalServerError", _) => {
            Kind::Unavailable
        }
        ("", 403) => Kind::Forbidden,
        (_, 500..=599) => Kind::Unavailable,
        (word, 400..=499)
            if word.starts_with("Invalid") || word.starts_with("Missing") || word == "Validation" =>
        {
            Kind::Invalid
        }
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_services_words_are_known() {
        use FailureKind as Kind;
        for (code, status, expected) in [
            ("Throttling", 400, Kind::Throttled),
            ("ThrottlingException", 400, Kind::Throttled),
            ("ExpiredToken", 403, Kind::Credentials),
            ("ExpiredTokenException", 400, Kind::Credentials),
            ("UnrecognizedClientException", 400, Kind::Credentials),
            ("AccessDenied", 403, Kind::Forbidden),
            ("AccessDeniedException", 403, Kind::Forbidden),
            ("DBSnapshotNotFound", 404, Kind::NotFound),
            ("DBInstanceNotFound", 404, Kind::NotFound),
            ("DBInstanceNotFoundFault", 404, Kind::NotFound),
            ("ResourceNotFoundException", 400, Kind::NotFound),
            ("DBSnapshotAlreadyExists", 400, Kind::Exists),
            ("AlreadyExistsException", 400, Kind::Exists),
            ("SnapshotQuotaExceeded", 400, Kind::Quota),
            ("LimitExceededException", 400, Kind::Quota),
            ("InvalidDBInstanceState", 400, Kind::State),
            ("InvalidDBSnapshotState", 400, Kind::State),
            ("InvalidDBClusterSnapshotStateFault", 400, Kind::State),
            ("DBClusterSnapshotNotFoundFault", 404, Kind::NotFound),
            ("InvalidResourceStateException", 400, Kind::State),
            ("InvalidRequestException", 400, Kind::State),
            ("DependencyFailureException", 500, Kind::Unavailable),
            ("KMSKeyNotAccessibleFault", 400, Kind::Key),
            ("ServiceUnavailableException", 500, Kind::Unavailable),
            ("InternalFailure", 500, Kind::Unavailable),
            ("InvalidParameterValue", 400, Kind::Invalid),
            ("InvalidParameterValueException", 400, Kind::Invalid),
            ("", 503, Kind::Unavailable),
            ("", 403, Kind::Forbidden),
            ("StorageTypeNotSupported", 400, Kind::Other),
        ] {
            assert_eq!(kind(code, Some(status)), expected, "{code} {status}");
        }
    }
}
