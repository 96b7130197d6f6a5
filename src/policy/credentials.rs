use crate::platform::SecretRef;

/// The credentials that sign requests to AWS, or to an S3-compatible store.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The SDK's chain: environment, shared profile `default`, web identity, container, instance.
    Default,
    /// A named profile of the shared configuration.
    Profile(String),
    /// A role that the chain's credentials assume.
    Role { arn: String, external_id: Option<String> },
    /// A key pair, each part by reference.
    Keys { access_key_id: SecretRef, secret_access_key: SecretRef, session_token: Option<SecretRef> },
}

/// Names the kind of credentials, never the secrets.
impl std::fmt::Display for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("those of the environment or host"),
            Self::Profile(name) => write!(f, "profile `{name}`"),
            Self::Role { arn, .. } => write!(f, "role `{arn}`"),
            Self::Keys { access_key_id, .. } => write!(f, "the key of `{access_key_id}`"),
        }
    }
}
