use std::fmt::Display;

/// Returns one item unchanged, and several on lines of their own.
pub fn bullet_list(items: &[impl Display]) -> String {
    match items {
        [only] => only.to_string(),
        several => several.iter().map(|item| format!("\n- {item}")).collect(),
    }
}

/// Returns `` `a`, `b` ``.
pub fn quoted_list(words: &[impl Display]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Returns `1 table`, `2 tables`; for nouns that take a plain `s`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
