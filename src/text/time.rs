use chrono::{DateTime, SecondsFormat, Utc};

/// Returns `2026-11-20T22:02:51Z`, in the format of `--point-in-time`.
pub fn format_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
