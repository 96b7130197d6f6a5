//! Text with its variables filled in.

use std::collections::BTreeMap;

/// Replaces `$NAME` and `${NAME}` of what is known; the rest stays as it is.
pub fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = match after.strip_prefix('{') {
            Some(braced) => {
                let name = word(braced);
                (name, braced[name.len()..].starts_with('}').then_some(name.len() + 2))
            }
            None => (word(after), Some(word(after).len())),
        };
        match (values.get(name), length) {
            (Some(value), Some(length)) => {
                filled.push_str(value);
                rest = &after[length..];
            }
            _ => {
                filled.push('$');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_filled_in() {
        let values = BTreeMap::from([("A".to_owned(), "1$B".to_owned()), ("B_C".to_owned(), "2".to_owned())]);
        assert_eq!(fill("$A ${B_C} $B_CX ${A:-x} $5 \"$A\"$", &values), "1$B 2 $B_CX ${A:-x} $5 \"1$B\"$");
    }
}
