use std::fmt;
use std::sync::Arc;

/// What stands in the place of a secret.
const HIDDEN: &str = "[hidden]";
/// Shorter ones are words, which would hide half of a message.
const LEAST: usize = 6;

/// Texts that are never shown.
#[derive(Clone, Default)]
pub(super) struct Hidden(Vec<Arc<str>>);

impl Hidden {
    /// Adds a text; each of its lines, since output is read line by line.
    pub(super) fn add(&mut self, text: &str) {
        let lines = text.lines().map(str::trim).filter(|line| line.len() >= LEAST);
        self.0.extend(lines.map(Arc::from));
        // The longest first: one may be the beginning of another.
        self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// Returns the line without them.
    pub(super) fn without(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, hidden| line.replace(&**hidden, HIDDEN))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hidden({} texts)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_is_hidden_first_and_words_are_shown() {
        let mut hidden = Hidden::default();
        hidden.add("secret");
        hidden.add("secret-and-more");
        hidden.add("no");
        assert_eq!(hidden.without("no: secret-and-more, secret"), "no: [hidden], [hidden]");
        assert_eq!(format!("{hidden:?}"), "Hidden(2 texts)");
    }
}
