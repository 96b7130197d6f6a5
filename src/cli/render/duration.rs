use std::time::Duration;

/// Converts seconds to a duration; 0 if a clock was set back.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
