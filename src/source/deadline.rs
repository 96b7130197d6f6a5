use std::time::{Duration, Instant};

use tokio_util::sync::DropGuard;

use crate::platform::CancellationToken;

/// Ends what a capture started when its time is over, when the run is interrupted, and when this is dropped.
pub(super) struct Deadline {
    begun: Instant,
    limit: Duration,
    stop: CancellationToken,
    waits: tokio::task::JoinHandle<()>,
    _ends_on_drop: DropGuard,
}

impl Deadline {
    pub(super) fn begin(limit: Duration, cancel: &CancellationToken) -> Self {
        let stop = cancel.child_token();
        let waits = {
            let stop = stop.clone();
            tokio::spawn(async move {
                tokio::time::sleep(limit).await;
                stop.cancel();
            })
        };
        Self { begun: Instant::now(), limit, _ends_on_drop: stop.clone().drop_guard(), stop, waits }
    }

    /// Is cancelled then.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Returns what is left of the time.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.begun.elapsed())
    }

    /// Returns whether it was the reason for an end.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_cancelled() && self.begun.elapsed() >= self.limit
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.waits.abort();
    }
}
