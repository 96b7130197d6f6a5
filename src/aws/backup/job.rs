use chrono::{DateTime, Utc};

use super::super::poll::{PollProgress, PolledState};

/// A job that makes a recovery point, copies one to another vault, or restores one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    pub id: String,
    /// In AWS's words: `RUNNING`.
    pub state: String,
    pub percent: Option<u8>,
    /// What AWS says of it; of one that completed, what went wrong all the same.
    pub message: Option<String>,
    /// The recovery point that it makes, the copy that it makes, or the one that it restores. A backup of some
    /// resources has it from its first byte on, of others only when it is complete.
    pub point: Option<String>,
    pub role: Option<String>,
    /// A plan started it.
    pub by_plan: bool,
    pub created: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    /// ARN of what a restore made.
    pub made: Option<String>,
}

impl Job {
    pub fn is_over(&self) -> bool {
        self.state == "COMPLETED"
    }

    /// It came to nothing.
    pub fn is_lost(&self) -> bool {
        matches!(self.state.as_str(), "FAILED" | "ABORTED" | "EXPIRED" | "PARTIAL")
    }

    /// Returns what a wait for it sees.
    pub fn seen(self) -> PolledState<Self> {
        let progress =
            PollProgress { status: self.state.clone(), percent: self.percent, detail: self.message.clone() };
        match () {
            () if self.is_over() => PolledState::Done(self),
            () if self.is_lost() => PolledState::Failed(progress),
            () => PolledState::Working(progress),
        }
    }
}
