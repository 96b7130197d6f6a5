use thiserror::Error;

use crate::platform::SecretError;

/// Why there is no client for a place.
#[derive(Debug, Error)]
pub enum AwsError {
    #[error("failed to get the {what} for `{location}`")]
    Secret {
        /// e.g. `secret access key`
        what: &'static str,
        location: String,
        #[source]
        source: SecretError,
    },
}
