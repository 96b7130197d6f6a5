use std::time::Duration;

const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// Returns a duration in the format of policies, in the largest unit without a remainder: `90m`, `35d`,
/// `500ms`. A duration of a second or more is rounded up to whole seconds.
pub fn format_duration(duration: Duration) -> String {
    let round_up = |whole: u64, rest: u32| whole + u64::from(rest > 0);
    if duration.as_secs() == 0 {
        let nanoseconds = duration.subsec_nanos();
        return format!("{}ms", round_up(u64::from(nanoseconds / 1_000_000), nanoseconds % 1_000_000));
    }
    let seconds = round_up(duration.as_secs(), duration.subsec_nanos());
    match UNITS.into_iter().find(|(length, _)| seconds.is_multiple_of(*length)) {
        Some((length, unit)) if unit != "s" || seconds < 120 => format!("{}{unit}", seconds / length),
        _ => parts(seconds, UNITS.len()),
    }
}

/// Returns a measured duration in its two largest units: `0.4s`, `12s`, `3m 20s`, `5h 2m`, `12d 4h`.
pub fn approximate_duration(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        seconds => parts(seconds, 2),
    }
}

/// Returns the first `count` units, from the largest that is not 0.
fn parts(mut seconds: u64, count: usize) -> String {
    let mut parts = Vec::new();
    for (length, unit) in UNITS {
        if seconds >= length || !parts.is_empty() {
            parts.push(format!("{}{unit}", seconds / length));
        }
        seconds %= length;
    }
    parts.truncate(count);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_a_policy_writes_them() {
        for text in ["35d", "4h", "90m", "45s", "500ms", "1d", "25h", "90s", "30m"] {
            assert_eq!(format_duration(humantime::parse_duration(text).unwrap()), text);
        }
        assert_eq!(format_duration(Duration::from_millis(61_200)), "62s");
        assert_eq!(format_duration(Duration::from_secs(3_725)), "1h 2m 5s");
    }

    #[test]
    fn measured_durations_have_two_units() {
        let durations = [40, 9_960, 59_999, 200_000, 18_120_000, 1_051_200_000]
            .map(|ms| approximate_duration(Duration::from_millis(ms)));
        assert_eq!(durations, ["0.0s", "10.0s", "59s", "3m 20s", "5h 2m", "12d 4h"]);
    }
}
