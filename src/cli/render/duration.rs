use std::time::Duration;

/// Returns seconds as a duration; a clock that was set back gives none.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
