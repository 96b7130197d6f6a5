//! Templates of JSON, whose placeholders are filled in inside of strings.

use super::decode::InvalidValue;
use crate::text::{nearest, quoted_list};

/// What may stand in `${…}`.
const PLACEHOLDERS: [&str; 13] = [
    "headline", "impact", "action", "link", "severity", "state", "system", "source", "event", "key", "run",
    "host", "at",
];

/// Replaces each `${name}` with its value, escaped as inside of a string of JSON.
pub fn fill_in(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            text.push_str("${");
            rest = after;
            continue;
        };
        let quoted = serde_json::Value::String(value(name)).to_string();
        text.push_str(&quoted[1..quoted.len() - 1]);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Rejects what is not JSON once it is filled in, and unknown placeholders.
pub(super) fn check(template: &str) -> Result<(), InvalidValue> {
    let unknown = std::cell::RefCell::new(None);
    let filled = fill_in(template, |name| {
        if !PLACEHOLDERS.contains(&name) {
            unknown.borrow_mut().get_or_insert(name.to_owned());
        }
        String::new()
    });
    if let Some(name) = unknown.into_inner() {
        let hint = match nearest(&name, PLACEHOLDERS.iter().copied()) {
            Some(near) => format!("did you mean `${{{near}}}`?"),
            None => format!("there are {}", quoted_list(&PLACEHOLDERS)),
        };
        return InvalidValue::new(format!("`${{{name}}}` is not filled in by drctl"), hint);
    }
    match serde_json::from_str::<serde_json::Value>(&filled) {
        Ok(_) => Ok(()),
        Err(error) => InvalidValue::new(
            format!("is not JSON: {error}"),
            "write it like `{ \"title\": \"${headline}\", \"text\": \"${impact}\" }`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_string() {
        let filled = fill_in(r#"{"a": "<${headline}>", "b": "${source}"}"#, |name| match name {
            "headline" => "\"}, \n\\ä".to_owned(),
            _ => "${headline}".to_owned(),
        });
        let value: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(value, serde_json::json!({ "a": "<\"}, \n\\ä>", "b": "${headline}" }));
    }

    #[test]
    fn what_is_no_json_or_has_an_unknown_placeholder_is_refused() {
        assert!(check(r#"{"title": "${headline}", "n": 1}"#).is_ok());
        for (bad, word) in [
            (r#"{"title": ${headline}}"#, "not JSON"),
            (r#"{"title": "${headlin}"}"#, "`${headlin}`"),
            ("plain", "not JSON"),
        ] {
            let refused = check(bad).unwrap_err();
            assert!(refused.message.contains(word), "{}", refused.message);
        }
    }
}
