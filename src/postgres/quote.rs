/// Quotes an SQL identifier, always in double quotes.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns `"schema"."name"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// Quotes an SQL string constant, independent of `standard_conforming_strings`.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// Quotes a word for a shell.
pub fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@+=:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Splits a text at each `separator` outside of double quotes and unquotes the parts: the opposite of
/// [`identifier`]. `None` if a quote is left open.
pub fn split_quoted(text: &str, separator: char) -> Option<Vec<String>> {
    let mut parts = vec![];
    let mut part = String::new();
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            letter if letter == separator && !quoted => parts.push(std::mem::take(&mut part)),
            letter => part.push(letter),
        }
    }
    parts.push(part);
    (!quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(identifier(r#"a"; DROP TABLE b; --"#), r#""a""; DROP TABLE b; --""#);
        assert_eq!(qualified("Größe", "select"), r#""Größe"."select""#);
        let parts = split_quoted(r#""a.""b".c"#, '.');
        assert_eq!(parts, Some(vec!["a.\"b".to_owned(), "c".to_owned()]));
        assert_eq!(split_quoted(r#""a.b"#, '.'), None);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"\' OR 1=1"), r" E'\\'' OR 1=1'");
    }
}
