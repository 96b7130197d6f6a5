use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::AwsError;
use crate::platform::{ExposeSecret as _, SecretRef, Usable};
use crate::policy::Credentials;

/// How long an assumed role lasts; it is assumed again before it expires. Roles that are assumed by a role
/// may not last longer.
const SESSION: std::time::Duration = std::time::Duration::from_secs(3600);

/// Returns a credentials provider. Reads only keys given by reference now; others are loaded with the first
/// request, and again before they expire.
pub(super) async fn provider(
    credentials: &Credentials,
    location: &str,
    region: &str,
    http: &SharedHttpClient,
) -> Result<SharedCredentialsProvider, AwsError> {
    let region = Region::new(region.to_owned());
    let config = ProviderConfig::without_region()
        .with_region(Some(region.clone()))
        .with_behavior_version(Some(BehaviorVersion::latest()))
        .with_http_client(http.clone());
    let found = match credentials {
        Credentials::Default => SharedCredentialsProvider::new(
            DefaultCredentialsChain::builder().configure(config).region(region).build().await,
        ),
        // Not the chain with this profile: in the chain, keys in the environment would take precedence.
        Credentials::Profile(name) => SharedCredentialsProvider::new(
            ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build(),
        ),
        Credentials::Role { arn, external_id } => {
            let chain =
                DefaultCredentialsChain::builder().configure(config).region(region.clone()).build().await;
            let sdk = aws_config::defaults(BehaviorVersion::latest())
                .region(region)
                .http_client(http.clone())
                .load()
                .await;
            let role = AssumeRoleProvider::builder(arn)
                .session_name(format!("drctl-{}", session_word(&crate::platform::host_name())))
                .session_length(SESSION)
                .configure(&sdk);
            let role = match external_id {
                Some(id) => role.external_id(id),
                None => role,
            };
            SharedCredentialsProvider::new(role.build_from_provider(Usable(chain)).await)
        }
        Credentials::Keys { access_key_id, secret_access_key, session_token } => {
            let id = resolve("access key id", access_key_id, location).await?;
            let secret = resolve("secret access key", secret_access_key, location).await?;
            let token = match session_token {
                Some(token) => Some(resolve("session token", token, location).await?),
                None => None,
            };
            SharedCredentialsProvider::new(aws_credential_types::Credentials::new(
                id, secret, token, None, "policy",
            ))
        }
    };
    Ok(SharedCredentialsProvider::new(Usable(found)))
}

async fn resolve(what: &'static str, reference: &SecretRef, location: &str) -> Result<String, AwsError> {
    let secret = reference.resolve().await.map_err(|source| AwsError::Secret {
        what,
        location: location.to_owned(),
        source,
    })?;
    Ok(secret.expose_secret().to_owned())
}

/// Converts a host name for a session name, which appears in the account's audit log.
fn session_word(host: &str) -> String {
    host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).take(50).collect()
}
