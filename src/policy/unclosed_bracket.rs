//! Finds a list or an inline table that is opened and never closed: the TOML parser notices only what does
//! not fit into it, far behind.

/// A bracket that is never closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenBracket {
    pub(super) bracket: char,
    pub(super) offset: usize,
    /// The setting whose value it begins.
    pub(super) key: String,
    /// The line of the first token that is invalid inside it; `None` if the file ends first.
    pub(super) noticed: Option<usize>,
}

/// Finds the first bracket that is still open at something that is only valid outside of it: a setting in a
/// list, or the end of the file.
pub(super) fn never_closed(text: &str) -> Option<OpenBracket> {
    let mut open: Vec<OpenBracket> = Vec::new();
    let mut line = 1;
    // Of the current line: where it begins, and whether its value has begun.
    let (mut begins, mut in_value) = (0, false);
    let mut rest = text.char_indices().peekable();
    while let Some((offset, c)) = rest.next() {
        match c {
            '\n' => {
                line += 1;
                begins = offset + 1;
                in_value = !open.is_empty();
            }
            '#' => while rest.next_if(|(_, c)| *c != '\n').is_some() {},
            '"' | '\'' => {
                let end = string_end(&text[offset..], c).map_or(text.len(), |length| offset + length);
                line += text[offset..end].matches('\n').count();
                while rest.next_if(|(at, _)| *at < end).is_some() {}
            }
            '=' => match open.last() {
                // A list holds values; an inline table in it has settings of its own.
                Some(list) if list.bracket == '[' => {
                    return Some(OpenBracket { noticed: Some(line), ..open.first()?.clone() });
                }
                Some(_) => {}
                None => in_value = true,
            },
            // `[table]` and `[[table]]` at the beginning of a line are no values.
            '[' | '{' if in_value => {
                let key = text[begins..offset].split('=').next().unwrap_or_default().trim().to_owned();
                open.push(OpenBracket { bracket: c, offset, key, noticed: None });
            }
            ']' | '}' if in_value => {
                open.pop();
            }
            _ => {}
        }
    }
    open.into_iter().next()
}

/// Returns the length of the string that `text` begins with. A single-line string ends with its line, closed
/// or not.
fn string_end(text: &str, quote: char) -> Option<usize> {
    let triple: String = [quote; 3].iter().collect();
    let is_long = text.starts_with(&triple);
    let closing = if is_long { triple.as_str() } else { &triple[..1] };
    let mut at = closing.len();
    while let Some(rest) = text.get(at..) {
        let c = rest.chars().next()?;
        match c {
            '\\' if quote == '"' => at += 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            '\n' if !is_long => return Some(at),
            _ if rest.starts_with(closing) => return Some(at + closing.len()),
            c => at += c.len_utf8(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::samples::POLICY;

    fn found(text: &str) -> Option<(String, usize, Option<usize>)> {
        never_closed(text).map(|open| (open.key, text[..open.offset].matches('\n').count() + 1, open.noticed))
    }

    #[test]
    fn what_is_closed_is_not_found() {
        for text in [
            POLICY,
            include_str!("../../policies/template.toml"),
            "a = [\n  1, # ]\n  \"]\",\n  ']',\n]\n[t]\nb = { c = [1], d = { e = 2 } }\n[[u]]\nf = \"\"\"\n[\n\"\"\"\n",
            "\"a = [\" = 1\nb = \"x\\\"[\"\n",
            "recipients = [\n  { holder = \"a\", key = \"b\" },\n]\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn the_bracket_that_is_meant_is_found_and_not_what_follows() {
        let list = "a = 1\nlist = [\n  \"x\",\n  { b = 1 }\n\n[table]\nc = 2\n";
        assert_eq!(found(list), Some(("list".to_owned(), 2, Some(7))));
        assert_eq!(found("t = { a = 1\n"), Some(("t".to_owned(), 1, None)));
        assert_eq!(found("t = [[1, 2]\nb = 1\n"), Some(("t".to_owned(), 1, Some(2))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a\\[\\]{}=\"'#\\\\\n ñ]{0,60}") {
            let _any = never_closed(&text);
        }
    }
}
