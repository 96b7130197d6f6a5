//! Reads a secret from AWS Secrets Manager.

use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use aws_smithy_types::timeout::TimeoutConfig;
use thiserror::Error;

use super::{HttpsError, Trust, Usable, https};

const ATTEMPT: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(40);

/// Why AWS Secrets Manager returned no secret. Never holds the secret.
#[derive(Debug, Error)]
pub enum SecretsManagerError {
    #[error("its region is not known: name it by its ARN, or set AWS_REGION")]
    NoRegion,
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("{region}: {reason}")]
    Refused { region: String, reason: String },
    #[error("it is binary, and drctl reads secrets of text only")]
    Binary,
    #[error("it is not JSON, so that it has no `{0}`")]
    NotJson(String),
    #[error("its JSON has no `{key}`; it has {}", .known.join(", "))]
    NoKey { key: String, known: Vec<String> },
}

/// Reads the text of a secret, or of one key of a JSON secret, such as `username` and `password` in those of
/// RDS.
///
/// Uses the credentials and region of the AWS command line: environment, profile, instance role. An ARN
/// contains its region.
pub(super) async fn read(id: &str, key: Option<&str>) -> Result<String, SecretsManagerError> {
    let http = https(Trust::Host)?;
    let timeouts =
        TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(WITHIN).build();
    let mut config =
        aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(timeouts);
    if let Some(region) = region_of(id) {
        config = config.region(Region::new(region.to_owned()));
    }
    if let Ok(name) = AppName::new("drctl") {
        config = config.app_name(name);
    }
    let mut config = config.load().await;
    if let Some(provider) = config.credentials_provider() {
        let usable = SharedCredentialsProvider::new(Usable(provider));
        config = config.into_builder().credentials_provider(usable).build();
    }
    let region = config.region().ok_or(SecretsManagerError::NoRegion)?.to_string();
    let asked = Client::new(&config).get_secret_value().secret_id(id).send().await;
    let answer = asked.map_err(|error| {
        let reason = match error.as_service_error() {
            Some(said) => match (said.meta().code(), said.meta().message()) {
                (Some(code), Some(message)) => format!("{message} ({code})"),
                (Some(code), None) => code.to_owned(),
                _ => DisplayErrorContext(&error).to_string(),
            },
            None => DisplayErrorContext(&error).to_string(),
        };
        SecretsManagerError::Refused { region, reason }
    })?;
    let text = answer.secret_string.ok_or(SecretsManagerError::Binary)?;
    key.map_or(Ok(text.clone()), |key| value_of(&text, key))
}

/// Returns the region of an ARN: `arn:aws:secretsmanager:us-east-1:123456789012:secret:name-AbCdEf`
fn region_of(id: &str) -> Option<&str> {
    let mut parts = id.split(':');
    (parts.next()? == "arn").then_some(())?;
    parts.nth(2).filter(|region| !region.is_empty())
}

fn value_of(text: &str, key: &str) -> Result<String, SecretsManagerError> {
    let not_json = || SecretsManagerError::NotJson(key.to_owned());
    let values: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| not_json())?;
    match values.get(key) {
        Some(serde_json::Value::String(value)) => Ok(value.clone()),
        // RDS writes the port as a number.
        Some(value @ serde_json::Value::Number(_)) => Ok(value.to_string()),
        _ => Err(SecretsManagerError::NoKey {
            key: key.to_owned(),
            known: values.keys().map(|key| format!("`{key}`")).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_says_its_region_and_a_name_does_not() {
        let arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:shop/db-AbCdEf";
        assert_eq!(region_of(arn), Some("us-west-2"));
        assert_eq!((region_of("shop/db"), region_of("arn:aws:x")), (None, None));
    }

    #[test]
    fn one_key_of_json_is_had_and_its_values_are_never_told() {
        let text = r#"{"username": "app", "password": "hush", "port": 5432}"#;
        assert_eq!(value_of(text, "password").unwrap(), "hush");
        assert_eq!(value_of(text, "port").unwrap(), "5432");
        let refused = value_of(text, "pasword").unwrap_err().to_string();
        assert!(refused.contains("`password`") && !refused.contains("hush"), "{refused}");
        let refused = value_of("hush", "password").unwrap_err().to_string();
        assert!(!refused.contains("hush"), "{refused}");
    }
}
