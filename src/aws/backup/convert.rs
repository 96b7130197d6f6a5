use aws_sdk_backup::types::Lifecycle;

/// Parses a percentage such as `12.5`.
pub(super) fn percent(text: Option<&str>) -> Option<u8> {
    let number: f64 = text?.trim_end_matches('%').parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number as u8)
}

pub(super) fn number(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

pub(super) fn kept_for(days: Option<u32>) -> Option<Lifecycle> {
    days.map(|days| Lifecycle::builder().delete_after_days(i64::from(days)).build())
}

/// Returns the message of a job, if any: AWS has several forms of an empty message.
pub(super) fn message(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_strings_of_many_kinds() {
        assert_eq!(percent(Some("40.0")), Some(40));
        assert_eq!(percent(Some("100%")), Some(100));
        assert_eq!(percent(Some("n/a")), None);
        assert_eq!(percent(Some("120")), None);
    }
}
