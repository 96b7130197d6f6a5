/// Returns bucket and prefix of `s3://bucket/prefix`; `None` if it is no such URL.
pub(super) fn parse(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_bucket = (3..=63).contains(&bucket.len()) && bucket.bytes().all(fits);
    let prefix = prefix.trim_matches('/');
    let is_prefix = prefix.is_empty() || !prefix.split('/').any(|part| matches!(part, "" | "." | ".."));
    (is_bucket && is_prefix).then(|| (bucket.to_owned(), prefix.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_bucket_and_a_prefix() {
        let parsed = |url| parse(url).map(|(bucket, prefix)| format!("{bucket} {prefix}"));
        assert_eq!(parsed("s3://media").as_deref(), Some("media "));
        assert_eq!(parsed("s3://media/a/b/").as_deref(), Some("media a/b"));
        for wrong in ["media", "s3://", "s3://a", "s3://user@media/x", "s3://media/../x", "s3://media/a//b"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
