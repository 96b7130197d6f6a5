use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// All faults of a policy, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyFaults {
    /// The policy file, as given.
    pub path: PathBuf,
    pub faults: Vec<PolicyFault>,
}

/// One fault. Never holds the value of a setting that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyFault {
    /// `None` for the file as a whole: it cannot be read.
    pub at: Option<TextPosition>,
    /// Dotted, as in `repository.primary.url`; empty for the file as a whole and for bad TOML.
    pub key: String,
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Line and column, both from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TextPosition {
    pub line: usize,
    pub column: usize,
}

impl TextPosition {
    pub(super) fn from_offset(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
        }
    }
}

impl PolicyFaults {
    /// Creates a fault of the file as a whole.
    pub(super) fn whole(path: impl Into<PathBuf>, message: String, hint: &str) -> Self {
        let fault = PolicyFault { at: None, key: String::new(), message, hint: Some(hint.to_owned()) };
        Self { path: path.into(), faults: vec![fault] }
    }
}

impl fmt::Display for PolicyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.path.display())?;
            if let Some(TextPosition { line, column }) = fault.at {
                write!(f, "{line}:{column}:")?;
            }
            if !fault.key.is_empty() {
                write!(f, " {}:", fault.key)?;
            }
            write!(f, " {}", fault.message)?;
            if let Some(hint) = &fault.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for PolicyFaults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "a = 1\nñandú = 2\n";
        assert_eq!(TextPosition::from_offset(text, 0), TextPosition { line: 1, column: 1 });
        let two = text.find('2').unwrap();
        assert_eq!(TextPosition::from_offset(text, two), TextPosition { line: 2, column: 9 });
        assert_eq!(TextPosition::from_offset(text, text.len()), TextPosition { line: 3, column: 1 });
        assert_eq!(
            TextPosition::from_offset(text, text.len() + 40).line,
            3,
            "an offset past the end is no panic"
        );
    }
}
