//! Parses the output of `pg_dumpall --globals-only` and `pg_dump` into statements and their words.
//!
//! Both quote every name that could be taken for a key word where a key word is possible, so a position
//! determines which of the two a word is: `ALTER ROLE replication WITH REPLICATION`.

use std::ops::Range;

/// A statement without its `;`. It may contain a password hash, so it is never displayed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SqlStatement {
    text: String,
    words: Vec<Token>,
}

#[derive(Clone, PartialEq, Eq)]
struct Token {
    kind: TokenKind,
    /// A name without its quotes; anything else unchanged.
    value: String,
    span: Range<usize>,
}

impl Token {
    fn is_sign(&self, sign: &str) -> bool {
        self.kind == TokenKind::Sign && self.value == sign
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    Plain,
    Quoted,
    Constant,
    Sign,
}

impl SqlStatement {
    pub(super) fn sql(&self) -> &str {
        &self.text
    }

    /// Returns the first words, for people: enough to recognize it by, and never a constant.
    pub(super) fn gist(&self) -> String {
        let words = self.words.iter().take(5).take_while(|word| word.kind != TokenKind::Constant);
        words.map(|word| &self.text[word.span.clone()]).collect::<Vec<_>>().join(" ") + " …"
    }

    /// Returns whether it begins with a pattern: key words as they are, `?` for a name.
    pub(super) fn begins(&self, pattern: &[&str]) -> bool {
        self.words.len() >= pattern.len()
            && pattern.iter().enumerate().all(|(position, expected)| match *expected {
                "?" => matches!(self.words[position].kind, TokenKind::Plain | TokenKind::Quoted),
                keyword => self.is(position, keyword),
            })
    }

    /// Returns the name in this position.
    pub(super) fn name(&self, position: usize) -> &str {
        self.words.get(position).map_or("", |word| &word.value)
    }

    /// Returns name and type of each column of a `CREATE TABLE`. A type with a schema is `schema.type`, both
    /// without quotes.
    pub(super) fn columns(&self) -> Vec<(String, String)> {
        let is_sign =
            |position: usize, sign: &str| self.words.get(position).is_some_and(|word| word.is_sign(sign));
        let Some(open) = self.words.iter().position(|word| word.is_sign("(")) else { return vec![] };
        let (mut columns, mut depth) = (Vec::new(), 0_usize);
        for (position, word) in self.words.iter().enumerate().skip(open) {
            let begins = word.is_sign("(") && depth == 0 || word.is_sign(",") && depth == 1;
            depth += usize::from(word.is_sign("("));
            depth = depth.saturating_sub(usize::from(word.is_sign(")")));
            if depth == 0 {
                break;
            }
            if !begins || self.is(position + 1, "CONSTRAINT") {
                continue;
            }
            let mut kind = self.name(position + 2).to_owned();
            if is_sign(position + 3, ".") {
                kind.push_str(&format!(".{}", self.name(position + 4)));
            }
            columns.push((self.name(position + 1).to_owned(), kind));
        }
        columns
    }

    /// Returns the text of the constant in this position.
    pub(super) fn constant(&self, position: usize) -> Option<String> {
        let word = self.words.get(position).filter(|word| word.kind == TokenKind::Constant)?;
        let with_escapes = word.value.strip_prefix(['e', 'E']);
        let quoted = with_escapes.unwrap_or(&word.value);
        let inner = quoted.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
        if with_escapes.is_none() {
            return Some(inner);
        }
        let (mut text, mut characters) = (String::new(), inner.chars());
        while let Some(character) = characters.next() {
            text.extend(if character == '\\' { characters.next() } else { Some(character) });
        }
        Some(text)
    }

    /// Returns whether this key word is in this position. A name differs from it only by its quotes, so this
    /// must not be called for a position where a name is possible.
    pub(super) fn is(&self, position: usize, keyword: &str) -> bool {
        let word = self.words.get(position);
        word.is_some_and(|word| word.kind == TokenKind::Plain && word.value.eq_ignore_ascii_case(keyword))
    }

    /// Returns the position of the first such key word from a position on, outside of parentheses.
    pub(super) fn find(&self, from: usize, keyword: &str) -> Option<usize> {
        self.outside().find(|position| *position >= from && self.is(*position, keyword))
    }

    /// Returns the position of the last such key word outside of parentheses.
    pub(super) fn find_last(&self, keyword: &str) -> Option<usize> {
        self.outside().filter(|position| self.is(*position, keyword)).last()
    }

    /// Returns the positions of words outside of parentheses.
    fn outside(&self) -> impl Iterator<Item = usize> {
        let mut depth = 0_usize;
        self.words.iter().enumerate().filter_map(move |(position, word)| {
            match (word.kind, word.value.as_str()) {
                (TokenKind::Sign, "(") => depth += 1,
                (TokenKind::Sign, ")") => depth = depth.saturating_sub(1),
                _ => {}
            }
            (depth == 0).then_some(position)
        })
    }

    /// Returns the roles in a list that begins in this position, without `PUBLIC`.
    pub(super) fn roles(&self, from: usize) -> Vec<&str> {
        let mut roles = Vec::new();
        for pair in self.words.get(from..).unwrap_or_default().chunks(2) {
            match pair[0].kind {
                TokenKind::Quoted => roles.push(pair[0].value.as_str()),
                TokenKind::Plain if !pair[0].value.eq_ignore_ascii_case("PUBLIC") => {
                    roles.push(pair[0].value.as_str());
                }
                TokenKind::Plain => {}
                TokenKind::Constant | TokenKind::Sign => break,
            }
            if pair.get(1).is_none_or(|sign| sign.value != ",") {
                break;
            }
        }
        roles
    }

    /// Returns the statement without everything from this position on.
    pub(super) fn before(&self, position: usize) -> Self {
        let Some(word) = self.words.get(position) else { return self.clone() };
        let text = self.text[..word.span.start].trim_end().to_owned();
        Self { text, words: self.words[..position].to_vec() }
    }

    /// Returns the statement without the words in these positions.
    pub(super) fn without(&self, positions: &[usize]) -> Self {
        let mut text = self.text.clone();
        for word in positions.iter().rev().filter_map(|position| self.words.get(*position)) {
            let blanks = text[word.span.end..].bytes().take_while(u8::is_ascii_whitespace).count();
            text.replace_range(word.span.start..word.span.end + blanks, "");
        }
        split(text.trim_end()).into_iter().next().unwrap_or_else(|| self.clone())
    }
}

impl std::fmt::Debug for SqlStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Statement({})", self.gist())
    }
}

/// Splits a script into statements. Comments, and meta-commands of psql (`\restrict`), are left out.
pub(super) fn split(script: &str) -> Vec<SqlStatement> {
    let mut statements = Vec::new();
    let mut words: Vec<Token> = Vec::new();
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
            [b'\'', ..] => (Some(TokenKind::Constant), quoted_end(rest, b'\'', false)),
            [b'e' | b'E', b'\'', ..] => (Some(TokenKind::Constant), 1 + quoted_end(&rest[1..], b'\'', true)),
            [b'"', ..] => (Some(TokenKind::Quoted), quoted_end(rest, b'"', false)),
            [b'$', ..] if dollar_quoted(rest).is_some() => {
                (Some(TokenKind::Constant), dollar_quoted(rest).unwrap_or(1))
            }
            [first, ..] if first.is_ascii_whitespace() => (None, 1),
            [first, ..] if is_word(*first) => {
                (Some(TokenKind::Plain), rest.iter().take_while(|byte| is_word(**byte)).count())
            }
            _ => (Some(TokenKind::Sign), 1),
        };
        if let Some(kind) = kind {
            let text = script.get(at..at + length).unwrap_or_default();
            let value = match kind {
                TokenKind::Quoted => unquoted(text).replace("\"\"", "\""),
                _ => text.to_owned(),
            };
            words.push(Token { kind, value, span: at..at + length });
        }
        at += length;
    }
    end_statement(script, &mut words, &mut statements);
    statements
}

fn end_statement(script: &str, words: &mut Vec<Token>, statements: &mut Vec<SqlStatement>) {
    let (Some(first), Some(last)) = (words.first(), words.last()) else { return };
    let (begin, end) = (first.span.start, last.span.end);
    let mut words = std::mem::take(words);
    for word in &mut words {
        word.span = word.span.start - begin..word.span.end - begin;
    }
    statements.push(SqlStatement { text: script[begin..end].to_owned(), words });
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// Removes the first and the last quote: others belong to the name.
fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"').unwrap_or(text);
    inner.strip_suffix('"').unwrap_or(inner)
}

/// Returns the length of a constant that begins with `$$` or `$tag$`; `None` where it is none, as in `$1`.
fn dollar_quoted(bytes: &[u8]) -> Option<usize> {
    let tag = bytes[1..].iter().position(|byte| *byte == b'$').map(|end| &bytes[..end + 2])?;
    let name = &tag[1..tag.len() - 1];
    let is_tag = name.iter().all(|byte| is_word(*byte)) && !name.first().is_some_and(u8::is_ascii_digit);
    let end = bytes[tag.len()..].windows(tag.len()).position(|window| window == tag);
    is_tag.then(|| end.map_or(bytes.len(), |end| end + 2 * tag.len()))
}

fn line_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len())
}

/// Returns the length of the quoted text that begins here; to the end of the script where it is not
/// terminated.
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
        let texts: Vec<&str> = statements.iter().map(SqlStatement::sql).collect();
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
    fn parts_are_taken_out_without_touching_names_and_constants() {
        let grant = &split("GRANT a TO granted WITH ADMIN OPTION GRANTED BY postgres;")[0];
        let granted = grant.find(4, "GRANTED").unwrap();
        assert_eq!(grant.before(granted).sql(), "GRANT a TO granted WITH ADMIN OPTION");
        let alter = &split("ALTER ROLE nosuperuser WITH NOSUPERUSER LOGIN PASSWORD 'NOSUPERUSER';")[0];
        let alter = alter.without(&[4]);
        assert_eq!(alter.sql(), "ALTER ROLE nosuperuser WITH LOGIN PASSWORD 'NOSUPERUSER'");
        assert!(!format!("{alter:?} {}", alter.gist()).contains("'NOSUPERUSER'"));
    }

    #[test]
    fn lists_of_roles_are_read_whatever_the_roles_are_called() {
        let roles = |text: &str, from: usize| {
            split(text)[0].roles(from).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            roles("TO \"PUBLIC\", PUBLIC, \"\"\"q\"\"\", granted WITH x", 1),
            ["PUBLIC", "\"q\"", "granted"]
        );
        assert_eq!(roles("TO", 1), Vec::<String>::new());
    }

    #[test]
    fn dollar_quotes_are_constants() {
        let statements = split("COMMENT ON ROLE a IS $x$ it's; $$ \"$x$; SELECT $1; SELECT $$;$$");
        let texts: Vec<&str> = statements.iter().map(SqlStatement::sql).collect();
        assert_eq!(texts, ["COMMENT ON ROLE a IS $x$ it's; $$ \"$x$", "SELECT $1", "SELECT $$;$$"]);
    }

    #[test]
    fn columns_are_read_with_their_types() {
        let sql = "CREATE TABLE public.\"t (\" (\n    id integer DEFAULT nextval('a,b'::regclass) NOT NULL,\n    photo oid,\n    \"a,b\" \
                   public.lo,\n    many numeric(10,2)[],\n    CONSTRAINT c CHECK ((id > 0)),\n    \"constraint\" \"S\".\"T\"\n)\n\
                   PARTITION BY RANGE (id);";
        let columns = split(sql)[0].columns();
        let columns: Vec<(&str, &str)> =
            columns.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
        assert_eq!(
            columns,
            [
                ("id", "integer"),
                ("photo", "oid"),
                ("a,b", "public.lo"),
                ("many", "numeric"),
                ("constraint", "S.T")
            ]
        );
        assert!(split("CREATE TABLE public.t OF public.kind;")[0].columns().is_empty());
    }

    #[test]
    fn a_quote_that_never_ends_is_one_statement() {
        assert_eq!(split("SELECT 'a; b").len(), 1);
        assert_eq!(split("SELECT E'\\").len(), 1);
    }
}
