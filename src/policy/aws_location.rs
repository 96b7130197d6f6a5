use std::time::Duration;

use url::Url;

use super::credentials::Credentials;

/// A region of AWS or of a compatible service, and the credentials for it.
#[derive(Clone, Debug)]
pub struct AwsLocation {
    pub region: String,
    /// Set for anything but AWS. It serves every region: requests name theirs.
    pub endpoint: Option<Url>,
    pub credentials: Credentials,
    /// The interval at which jobs are polled.
    pub poll: Duration,
    /// The maximum time for any job.
    pub deadline: Duration,
    /// The timeout of status queries: a region that is down does not respond.
    pub patience: Duration,
}

impl AwsLocation {
    /// Returns another region with the same credentials.
    pub fn in_region(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }
}
