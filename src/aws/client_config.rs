use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};

use super::{AwsError, credentials};
use crate::platform::{Trust, https};
use crate::policy::AwsLocation;

const CONNECT: Duration = Duration::from_secs(5);
const ATTEMPT: Duration = Duration::from_secs(30);
const WITHIN: Duration = Duration::from_secs(180);
const ATTEMPTS: u32 = 8;
/// A throttled control plane is retried after 1, 2, 4, … seconds, up to the interval between two polls.
const BACKOFF: Duration = Duration::from_secs(1);

/// How long to wait for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPace {
    /// For operations: giving up gains nothing.
    Work,
    /// For queries: as long as the policy's [patience](AwsLocation::patience). A region without a response
    /// gets one attempt in that time, one with throttling or errors as many as fit.
    Look,
}

/// Creates the configuration of any AWS control plane client. Sends no request.
///
/// As for S3, an `AWS_ENDPOINT_URL` of the environment has no effect: the policy alone determines where
/// requests go.
pub async fn sdk_config(place: &AwsLocation) -> Result<SdkConfig, AwsError> {
    paced_config(place, CallPace::Work).await
}

/// Creates the same configuration with the given timeouts.
pub async fn paced_config(place: &AwsLocation, pace: CallPace) -> Result<SdkConfig, AwsError> {
    let http = https(Trust::Host)?;
    let location = format!("AWS in {}", place.region);
    let credentials = credentials::provider(&place.credentials, &location, &place.region, &http).await?;
    let (connect, attempt, within) = match pace {
        CallPace::Work => (CONNECT, ATTEMPT, WITHIN),
        CallPace::Look => (CONNECT.min(place.patience), place.patience, place.patience),
    };
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(connect)
        .operation_attempt_timeout(attempt)
        .operation_timeout(within)
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(place.region.clone()))
        .credentials_provider(credentials)
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(BACKOFF.min(place.poll))
                .with_max_backoff(place.poll),
        )
        // Clock skew must be reported, not corrected: times in backups are this host's.
        .disable_clock_skew_correction(true);
    config.set_app_name(AppName::new("drctl").ok());
    config.set_endpoint_url(place.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()));
    Ok(config.build())
}
