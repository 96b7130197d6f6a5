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
/// A control plane that throttles is asked again after 1, 2, 4, … seconds, up to the time between two polls.
const BACKOFF: Duration = Duration::from_secs(1);

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPace {
    /// By whatever has work done there: nothing is gained by giving up.
    Work,
    /// By whatever only asks what there is: as long as the policy has [patience](AwsLocation::patience). A region that
    /// answers nothing is asked once in that time, and one that throttles or has trouble as often as fits.
    Look,
}

/// What a client of any of AWS's control planes is made of, there. Nothing is asked of it yet.
///
/// As for S3, an `AWS_ENDPOINT_URL` of the environment moves nothing: the policy alone says where requests go.
pub async fn sdk_config(place: &AwsLocation) -> Result<SdkConfig, AwsError> {
    paced_config(place, CallPace::Work).await
}

/// As above, at this pace.
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
        // A host whose clock is wrong must be told so, not helped past it: times in backups are its own.
        .disable_clock_skew_correction(true);
    config.set_app_name(AppName::new("drctl").ok());
    config.set_endpoint_url(place.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()));
    Ok(config.build())
}
