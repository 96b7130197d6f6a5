//! Who delivers messages to stakeholders.

use async_trait::async_trait;

use super::incident::Delivery;
use crate::policy::Severity;

/// Delivers a message by the channels of a severity.
#[async_trait]
pub trait Announcer: Send + Sync {
    /// Returns what became of it in each channel, within a bounded time. Never fails as a whole: a message that no
    /// channel took is recorded as such, and the incident goes on.
    async fn announce(&self, severity: Severity, subject: &str, text: &str) -> Vec<Delivery>;
}
