//! What `pg_dumpall --globals-only` writes, taken apart: statements, and the words of each.

use std::ops::Range;

/// A statement without its `;`. It may hold a password's hash, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Statement {
    text: String,
    words: Vec<Word>,
}

#[derive(Clone, PartialEq, Eq)]
struct Word {
    kind: WordKind,
    /// A name without its quotes; anything else as it stands.
    value: String,
    span: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WordKind {
    Plain,
    Quoted,
    Constant,
    Sign,
}

impl Statement {
    pub(super) fn sql(&self) -> &str {
        &self.text
    }

    /// The first words, for people: enough to know it by, and never a constant.
    pub(super) fn gist(&self) -> String {
        let words = self.words.iter().take(5).take_while(|word| word.kind != WordKind::Constant);
        words.map(|word| &self.text[word.span.clone()]).collect::<Vec<_>>().join(" ") + " …"
    }

    /// Whether it begins so: key words as they are, `?` for a name.
    pub(super) fn begins(&self, pattern: &[&str]) -> bool {
        self.words.len() >= pattern.len()
            && pattern.iter().zip(&self.words).all(|(expected, word)| match *expected {
                "?" => matches!(word.kind, WordKind::Plain | WordKind::Quoted),
                keyword => word.kind == WordKind::Plain && word.value.eq_ignore_ascii_case(keyword),
            })
    }

    /// The name in this place.
    pub(super) fn name(&self, position: usize) -> &str {
        self.words.get(position).map_or("", |word| &word.value)
    }

    fn position(&self, keyword: &str) -> Option<usize> {
        let is = |word: &Word| word.kind == WordKind::Plain && word.value.eq_ignore_ascii_case(keyword);
        self.words.iter().position(is)
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.position(keyword).is_some()
    }

    /// The name after the last `TO`.
    pub(super) fn grantee(&self) -> Option<&str> {
        let is_to = |word: &Word| word.kind == WordKind::Plain && word.value.eq_ignore_ascii_case("TO");
        let at = self.words.iter().rposition(is_to)?;
        self.words.get(at + 1).map(|word| word.value.as_str())
    }

    /// Without everything from this key word on.
    pub(super) fn before(&self, keyword: &str) -> Self {
        let Some(position) = self.position(keyword) else { return self.clone() };
        let text = self.text[..self.words[position].span.start].trim_end().to_owned();
        Self { text, words: self.words[..position].to_vec() }
    }

    /// Without these key words.
    pub(super) fn without(&self, keywords: &[&str]) -> Self {
        let is_out = |word: &Word| {
            word.kind == WordKind::Plain && keywords.iter().any(|out| word.value.eq_ignore_ascii_case(out))
        };
        let mut text = self.text.clone();
        for word in self.words.iter().rev().filter(|word| is_out(word)) {
            text.replace_range(word.span.clone(), "");
        }
        split(&text).into_iter().next().unwrap_or_else(|| self.clone())
    }
}

impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Statement({})", self.gist())
    }
}

/// Splits a script into statements. Comments, and lines that are for psql (`\restrict`), are left out.
pub(super) fn split(script: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    let bytes = script.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (kind, length) = match rest {
            [b'-', b'-', ..] => (None, line_end(rest)),
            [b'\\', ..] if words.is_empty() => (None, line_end(rest)),
            [b';', ..] => {
                end_statement(script, &mut words, &mut statements);
                (None, 1)
            }
            [b'\'', ..] => (Some(WordKind::Constant), quoted_end(rest, b'\'', false)),
            [b'e' | b'E', b'\'', ..] => (Some(WordKind::Constant), 1 + quoted_end(&rest[1..], b'\'', true)),
            [b'"', ..] => (Some(WordKind::Quoted), quoted_end(rest, b'"', false)),
            [first, ..] if first.is_ascii_whitespace() => (None, 1),
            [first, ..] if is_word(*first) => {
                (Some(WordKind::Plain), rest.iter().take_while(|byte| is_word(**byte)).count())
            }
            _ => (Some(WordKind::Sign), 1),
        };
        if let Some(kind) = kind {
            let text = script.get(at..at + length).unwrap_or_default();
            let value = match kind {
                WordKind::Quoted => text.trim_matches('"').replace("\"\"", "\""),
                _ => text.to_owned(),
            };
            words.push(Word { kind, value, span: at..at + length });
        }
        at += length;
    }
    end_statement(script, &mut words, &mut statements);
    statements
}

fn end_statement(script: &str, words: &mut Vec<Word>, statements: &mut Vec<Statement>) {
    let (Some(first), Some(last)) = (words.first(), words.last()) else { return };
    let (begin, end) = (first.span.start, last.span.end);
    let mut words = std::mem::take(words);
    for word in &mut words {
        word.span = word.span.start - begin..word.span.end - begin;
    }
    statements.push(Statement { text: script[begin..end].to_owned(), words });
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

fn line_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len())
}

/// How long the quoted text is that begins here; to the end of the script where it does not end.
fn quoted_end(bytes: &[u8], quote: u8, with_escapes: bool) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if with_escapes => at += 2,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_psqls_lines_are_understood() {
        let script = "\\restrict a;b\n-- x; y\nCREATE ROLE \"we;i\"\"rd\";\nCOMMENT ON ROLE a IS 'it''s; -- \\';\n\
                      ALTER ROLE ä SET x TO E'\\';', 'b'";
        let statements = split(script);
        let texts: Vec<&str> = statements.iter().map(Statement::sql).collect();
        assert_eq!(
            texts,
            [
                "CREATE ROLE \"we;i\"\"rd\"",
                "COMMENT ON ROLE a IS 'it''s; -- \\'",
                "ALTER ROLE ä SET x TO E'\\';', 'b'"
            ]
        );
        assert!(statements[0].begins(&["create", "role", "?"]));
        assert_eq!(statements[0].name(2), "we;i\"rd");
    }

    #[test]
    fn parts_are_taken_out_without_touching_constants() {
        let grant = &split("GRANT a TO \"granted\" WITH ADMIN OPTION GRANTED BY postgres;")[0];
        assert_eq!(grant.before("GRANTED").sql(), "GRANT a TO \"granted\" WITH ADMIN OPTION");
        assert_eq!(grant.grantee(), Some("granted"));
        let alter = &split("ALTER ROLE a WITH NOSUPERUSER LOGIN PASSWORD 'NOSUPERUSER';")[0];
        let alter = alter.without(&["NOSUPERUSER"]);
        assert_eq!(alter.sql(), "ALTER ROLE a WITH  LOGIN PASSWORD 'NOSUPERUSER'");
        assert!(!format!("{alter:?} {}", alter.gist()).contains("'NOSUPERUSER'"));
    }

    #[test]
    fn a_quote_that_never_ends_is_one_statement() {
        assert_eq!(split("SELECT 'a; b").len(), 1);
        assert_eq!(split("SELECT E'\\").len(), 1);
    }
}
