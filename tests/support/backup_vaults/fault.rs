use std::time::Duration;

use super::answer::Refusal;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Throttled,
    ExpiredCredentials,
    AccessDenied,
    Unavailable,
    LimitExceeded,
    NotFound,
    /// Never answered.
    Hangs,
    /// Done, and the connection closed before the answer.
    AnswerLost,
    /// The connection is closed, and nothing was done.
    Gone,
}

/// Trouble for the next requests of a kind.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// `StartBackupJob`; `*` is every one.
    pub(crate) operation: &'static str,
    pub(crate) region: Option<String>,
    /// How many it befalls; `usize::MAX` is all there will be.
    pub(crate) times: usize,
    pub(crate) trouble: Trouble,
}

impl Fault {
    pub(crate) fn of(operation: &'static str, times: usize, trouble: Trouble) -> Self {
        Self { operation, region: None, times, trouble }
    }

    /// Everything in that region, from now on.
    pub(crate) fn region_gone(region: &str) -> Self {
        Self { operation: "*", region: Some(region.to_owned()), times: usize::MAX, trouble: Trouble::Gone }
    }

    pub(super) fn fits(&self, region: &str, operation: &str) -> bool {
        self.times > 0
            && (self.operation == "*" || self.operation == operation)
            && self.region.as_deref().is_none_or(|own| own == region)
    }
}

impl Trouble {
    pub(super) const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

    pub(super) fn refusal(self) -> Option<Refusal> {
        Some(match self {
            Self::Throttled => Refusal::new(429, "ThrottlingException", "Rate exceeded"),
            Self::ExpiredCredentials => Refusal::new(
                403,
                "ExpiredTokenException",
                "The security token included in the request is expired",
            ),
            Self::AccessDenied => Refusal::new(
                403,
                "AccessDeniedException",
                "User: arn:aws:sts::123456789012:assumed-role/backup/drctl is not authorized to perform this",
            ),
            Self::Unavailable => Refusal::new(500, "ServiceUnavailableException", "Service is unavailable"),
            Self::LimitExceeded => {
                Refusal::new(400, "LimitExceededException", "Too many jobs are running in this account")
            }
            Self::NotFound => Refusal::not_found("There is nothing under this name"),
            Self::Hangs | Self::AnswerLost | Self::Gone => return None,
        })
    }
}
