use std::time::Duration;

use url::Url;

use super::credentials::Credentials;

/// A region of AWS, or of something that speaks like it, and who asks.
#[derive(Clone, Debug)]
pub struct AwsLocation {
    pub region: String,
    /// Set for anything that is not AWS. It stands for every region: requests say which they mean.
    pub endpoint: Option<Url>,
    pub credentials: Credentials,
    /// How often it is asked how far it is with what it does.
    pub poll: Duration,
    /// How long anything it does may take.
    pub deadline: Duration,
    /// How long an answer is waited for where it is only looked at: of a region that is gone none comes.
    pub patience: Duration,
}

impl AwsLocation {
    /// Another region, asked by the same.
    pub fn in_region(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }
}
