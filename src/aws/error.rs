use thiserror::Error;

use crate::platform::{HttpsError, SecretError};

/// Why no client could be created.
#[derive(Debug, Error)]
pub enum AwsError {
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("failed to get the {what} for `{location}`")]
    Secret {
        /// e.g. `secret access key`
        what: &'static str,
        location: String,
        #[source]
        source: SecretError,
    },
}
