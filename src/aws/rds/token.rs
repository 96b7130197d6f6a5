use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_rds::auth_token::{AuthTokenGenerator, Config};
use aws_smithy_async::time::SystemTimeSource;
use thiserror::Error;

use super::super::{AwsError, sdk_config};
use crate::platform::SecretString;
use crate::policy::AwsLocation;
use crate::text::format_duration;

/// Credentials may come from STS or from the instance.
const WITHIN: Duration = Duration::from_secs(60);

/// Why no token was signed.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error("cannot sign an IAM token for `{0}`: it is not an RDS endpoint")]
    Host(String),
    #[error("failed to sign an IAM token of {credentials} for `{user}` at {host}:{port}: {reason}")]
    Unsigned { credentials: String, user: String, host: String, port: u16, reason: String },
}

/// Signs IAM tokens, which RDS accepts in place of a password if IAM authentication is enabled.
///
/// A token names host, port, region and role, and opens connections for a quarter of an hour. Signing
/// involves no request to RDS, so only a login shows whether it is valid. Credentials are loaded for each
/// token, so that none outlives them.
#[derive(Clone)]
pub struct TokenSigner {
    config: SdkConfig,
    region: String,
    /// Name of the credentials, for messages.
    credentials: String,
}

impl TokenSigner {
    pub async fn load(place: &AwsLocation) -> Result<Self, AwsError> {
        let config = sdk_config(place).await?.into_builder().time_source(SystemTimeSource::new()).build();
        let credentials = place.credentials.to_string();
        Ok(Self { config, region: place.region.clone(), credentials })
    }

    /// Returns a signer with the same credentials, for databases of another region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }

    /// Signs a token for one connection, or for a few that are opened together.
    pub async fn sign(&self, host: &str, port: u16, user: &str) -> Result<SecretString, TokenError> {
        // The generator panics on invalid host names.
        let host = host.to_ascii_lowercase();
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-') {
            return Err(TokenError::Host(host));
        }
        let unsigned = |reason: String| TokenError::Unsigned {
            credentials: self.credentials.clone(),
            user: user.to_owned(),
            host: host.clone(),
            port,
            reason,
        };
        let config = Config::builder()
            .hostname(&host)
            .port(u64::from(port))
            .region(Region::new(self.region.clone()))
            // It is inserted into a URL unchanged.
            .username(percent_encoded(user))
            .build()
            .map_err(|error| unsigned(error.to_string()))?;
        let generator = AuthTokenGenerator::new(config);
        match tokio::time::timeout(WITHIN, generator.auth_token(&self.config)).await {
            Ok(Ok(token)) => Ok(SecretString::from(token.as_str())),
            Ok(Err(error)) => Err(unsigned(crate::text::error_chain(&*error))),
            Err(_) => Err(unsigned(format!("no credentials within {}", format_duration(WITHIN)))),
        }
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::ExposeSecret as _;
    use crate::policy::Credentials;

    async fn signer(session_token: Option<&str>) -> TokenSigner {
        let folder = tempfile::tempdir().unwrap();
        let secret = |name: &str, value: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, value).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            format!("file:{}", path.display()).parse().unwrap()
        };
        let place = AwsLocation {
            region: "us-east-1".to_owned(),
            endpoint: None,
            credentials: Credentials::Keys {
                access_key_id: secret("id", "AKIDEXAMPLE"),
                secret_access_key: secret("secret", "hidden"),
                session_token: session_token.map(|token| secret("token", token)),
            },
            poll: Duration::from_secs(20),
            deadline: Duration::from_secs(60),
            patience: Duration::from_secs(15),
        };
        TokenSigner::load(&place).await.unwrap()
    }

    async fn token(signer: &TokenSigner, host: &str, user: &str) -> String {
        signer.sign(host, 5432, user).await.unwrap().expose_secret().to_owned()
    }

    #[tokio::test]
    async fn a_token_names_host_port_region_and_role_and_lives_for_a_quarter_of_an_hour() {
        let signer = signer(Some("of/the+session=")).await;
        let west = token(&signer.in_region("us-west-2"), "Shop.example", "dr&ctl @x").await;
        assert!(west.starts_with("shop.example:5432/?Action=connect&DBUser=dr%26ctl%20%40x&"), "{west}");
        for words in [
            "us-west-2%2Frds-db%2Faws4_request",
            "X-Amz-Expires=900",
            "X-Amz-Security-Token=of%2Fthe%2Bsession%3D",
        ] {
            assert!(west.contains(words), "{words}: {west}");
        }
        assert!(!west.contains("hidden"));
        assert!(token(&signer, "shop.example", "drctl").await.contains("us-east-1%2Frds-db"));
    }

    #[tokio::test]
    async fn what_is_no_host_gets_no_token() {
        let signer = signer(None).await;
        for host in ["", "/var/run/postgresql", "a b", "a/?DBUser=admin"] {
            assert!(matches!(signer.sign(host, 5432, "drctl").await, Err(TokenError::Host(_))), "{host}");
        }
    }
}
