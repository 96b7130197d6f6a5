use std::time::Duration;

/// A channel did not take a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Holds no secret.
    pub reason: String,
    pub retry: Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would be refused again.
    Never,
    Soon,
    /// As the channel asked.
    After(Duration),
}

impl Refused {
    pub(in crate::notify) fn soon(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry: Retry::Soon }
    }

    pub(in crate::notify) fn for_good(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry: Retry::Never }
    }
}
