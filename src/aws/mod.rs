//! SDK configuration: region, endpoint, credentials, retries.
