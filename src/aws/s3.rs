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

/// How long to wait for a store, and how often to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct S3Timeouts {
    /// Of one request, with the first.
    pub attempts: u32,
    /// Before the second attempt where the store asked to slow down; doubles with each.
    pub backoff: Duration,
    /// Before any attempt.
    pub longest_backoff: Duration,
    pub connect: Duration,
    /// For an attempt, beside the time its bytes take.
    pub answer: Duration,
    /// For an attempt at joining the parts of an object, which takes a store minutes.
    pub finish: Duration,
    /// Bytes a second. A body that moves slower is given up.
    pub slowest: u64,
    /// For a request with all its attempts, beside two of them that hang.
    pub retrying: Duration,
}

impl Default for S3Timeouts {
    /// Rides out half a minute of a store's trouble. A part of 8 MiB may take almost five minutes, which
    /// is four of them at a time on a line of one Mbit/s.
    fn default() -> Self {
        Self::within(Duration::from_secs(120))
    }
}

impl S3Timeouts {
    /// For a store that is given up when it has answered nothing for `stall`.
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

    /// Deadlines for a request that moves `bytes`.
    pub fn timeouts(&self, bytes: usize) -> TimeoutConfig {
        self.all(self.body(bytes))
    }

    /// Deadlines for joining the parts of an object.
    pub fn finish_timeouts(&self) -> TimeoutConfig {
        self.all(self.finish)
    }

    /// How long an attempt at moving `bytes` may take.
    pub fn body(&self, bytes: usize) -> Duration {
        self.answer + Duration::from_secs(bytes as u64 / self.slowest.max(1))
    }

    /// So many attempts, at most, and those of [`S3Timeouts`].
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
            // Quick failures use every attempt; hanging twice is enough to know.
            .operation_timeout(attempt * 2 + self.retrying)
            .build()
    }
}

/// A client that is being made. Who needs it first waits for it.
pub type S3Client = Arc<LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>>;

/// A client for the place. Nothing is asked of the store yet.
///
/// It is made on another thread: what the host trusts takes a while to be read, and whoever archives a file
/// has something to do meanwhile.
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
    // These may come over TLS where the store has none.
    let asked = SharedHttpClient::new(LazyHttpClient(https(Trust::Host)?));
    let credentials = credentials::provider(&place.credentials, &location, &place.region, &asked).await?;
    let is_plain = place.endpoint.as_ref().is_some_and(|url| url.scheme() == "http");
    let http = https(if is_plain { Trust::Nobody } else { Trust::Host })?;
    // Not from the SDK's shared configuration: an `AWS_ENDPOINT_URL` there would move the repository.
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(place.region.clone()))
        .force_path_style(place.path_style)
        .credentials_provider(credentials)
        .http_client(http)
        .timeout_config(patience.timeouts(0))
        .retry_config(patience.retries(u32::MAX))
        // The SDK counts retries of every client of the process together, and stops retrying at a limit:
        // a copy that is down would take the primary's retries. The attempts are limited as it is.
        .retry_partition(RetryPartition::custom("drctl").token_bucket(TokenBucket::unlimited()).build())
        .retry_classifier(CorruptUpload)
        .interceptor(trouble)
        // Only downloads: bytes to send are in memory, and the connection takes them at once, so that the
        // SDK's measure of an upload says nothing.
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .upload_enabled(false)
                .grace_period(patience.answer)
                .build(),
        )
        // Checksums are computed here, where the policy asks for them: see the store.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // A host whose clock is wrong must be told so, not helped past it: times in backups are its own.
        .disable_clock_skew_correction(true);
    config.set_app_name(AppName::new("drctl").ok());
    config.set_endpoint_url(place.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()));
    Ok(config.build())
}
