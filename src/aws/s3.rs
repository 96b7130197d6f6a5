use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::corrupt_upload_retry::CorruptUpload;
use super::last_attempt::LastAttempt;
use super::lazy_http_client::LazyHttpClient;
use super::{AwsError, credentials};
use crate::platform::{Trust, https};
use crate::policy::S3Location;

/// How long to wait for a store, and how often to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct S3Timeouts {
    /// Of one request, including the first.
    pub attempts: u32,
    /// Before the second attempt if the store asked to slow down; doubles with each.
    pub backoff: Duration,
    /// Maximum before any attempt.
    pub longest_backoff: Duration,
    pub connect: Duration,
    /// For an attempt, in addition to the time for its bytes.
    pub answer: Duration,
    /// For an attempt to complete a multipart upload, which takes a store minutes.
    pub finish: Duration,
    /// Bytes per second. A slower body is given up.
    pub slowest: u64,
    /// For all attempts of a request, in addition to two that hang.
    pub retrying: Duration,
}

impl Default for S3Timeouts {
    /// Tolerates half a minute of trouble. A part of 8 MiB may take almost five minutes: four concurrent
    /// parts on a line of one Mbit/s.
    fn default() -> Self {
        Self::within(Duration::from_secs(120))
    }
}

impl S3Timeouts {
    /// Returns the timeouts of a store that is given up after `stall` without a response.
    pub fn within(stall: Duration) -> Self {
        Self {
            attempts: 10,
            backoff: (stall / 120).min(Duration::from_secs(1)),
            longest_backoff: (stall / 12).min(Duration::from_secs(10)),
            connect: Duration::from_secs(5),
            answer: stall / 4,
            finish: Duration::from_secs(300),
            slowest: 32 << 10,
            retrying: stall / 2,
        }
    }

    /// Returns the deadlines of a request that transfers `bytes`.
    pub fn timeouts(&self, bytes: usize) -> TimeoutConfig {
        self.all(self.body(bytes))
    }

    /// Returns the deadlines for completing a multipart upload.
    pub fn finish_timeouts(&self) -> TimeoutConfig {
        self.all(self.finish)
    }

    /// Returns how long an attempt to transfer `bytes` may take.
    pub fn body(&self, bytes: usize) -> Duration {
        self.answer + Duration::from_secs(bytes as u64 / self.slowest.max(1))
    }

    /// Returns the retry configuration: at most this many attempts, and those of [`S3Timeouts`].
    pub fn retries(&self, attempts: u32) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(attempts.min(self.attempts).max(1))
            .with_initial_backoff(self.backoff)
            .with_max_backoff(self.longest_backoff)
    }

    fn all(&self, attempt: Duration) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(attempt)
            // Quick failures use every attempt; two that hang are enough.
            .operation_timeout(attempt * 2 + self.retrying)
            .build()
    }
}

/// A client under construction. Its first user waits for it.
pub type S3Client = Arc<LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>>;

/// Creates a client for the location. Sends no request.
///
/// It is constructed on another thread: loading the trust store takes a while, and a WAL push has other work
/// meanwhile.
pub async fn s3_client(
    place: &S3Location,
    patience: &S3Timeouts,
    trouble: LastAttempt,
) -> Result<S3Client, AwsError> {
    let config = config(place, patience, trouble).await?;
    let making: Box<dyn FnOnce() -> Client + Send> = Box::new(move || Client::from_conf(config));
    let client = Arc::new(LazyLock::new(making));
    let made = Arc::clone(&client);
    tokio::task::spawn_blocking(move || {
        LazyLock::force(&made);
    });
    Ok(client)
}

async fn config(
    place: &S3Location,
    patience: &S3Timeouts,
    trouble: LastAttempt,
) -> Result<aws_sdk_s3::Config, AwsError> {
    let location = format!("s3://{}", place.bucket);
    // Their endpoint may use TLS even if the store does not.
    let asked = SharedHttpClient::new(LazyHttpClient(https(Trust::Host)?));
    let credentials = credentials::provider(&place.credentials, &location, &place.region, &asked).await?;
    let is_plain = place.endpoint.as_ref().is_some_and(|url| url.scheme() == "http");
    let http = https(if is_plain { Trust::Nobody } else { Trust::Host })?;
    // Not from the SDK's shared configuration: an `AWS_ENDPOINT_URL` there would redirect the repository.
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(place.region.clone()))
        .force_path_style(place.path_style)
        .credentials_provider(credentials)
        .http_client(http)
        .timeout_config(patience.timeouts(0))
        .retry_config(patience.retries(u32::MAX))
        // The SDK has one retry budget for all clients of the process: a copy that is down would use up the
        // primary's. The attempts are limited anyway.
        .retry_partition(RetryPartition::custom("drctl").token_bucket(TokenBucket::unlimited()).build())
        .retry_classifier(CorruptUpload)
        .interceptor(trouble)
        // Downloads only: upload bodies are in memory and buffered by the connection at once, so the SDK's
        // measure of an upload is meaningless.
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .upload_enabled(false)
                .grace_period(patience.answer)
                .build(),
        )
        // Checksums are computed by the store, if the policy enables them.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // Clock skew must be reported, not corrected: times in backups are this host's.
        .disable_clock_skew_correction(true);
    config.set_app_name(AppName::new("drctl").ok());
    config.set_endpoint_url(place.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()));
    Ok(config.build())
}
