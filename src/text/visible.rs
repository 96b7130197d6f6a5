use std::borrow::Cow;

/// Returns a name that was not made by drctl with its control characters escaped: it must not look like another line.
pub fn visible(name: &str) -> Cow<'_, str> {
    if !name.chars().any(char::is_control) {
        return Cow::Borrowed(name);
    }
    let escaped = name.chars().flat_map(|c| {
        let (plain, escaped) = match c.is_control() {
            true => (None, Some(c.escape_default())),
            false => (Some(c), None),
        };
        plain.into_iter().chain(escaped.into_iter().flatten())
    });
    Cow::Owned(escaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_and_says_nothing_to_a_terminal() {
        assert_eq!(visible("größe/ein 'name'.json"), "größe/ein 'name'.json");
        assert_eq!(visible("a\nerror: b\t\u{1b}[31m"), "a\\nerror: b\\t\\u{1b}[31m");
    }
}
