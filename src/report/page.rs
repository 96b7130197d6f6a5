//! A page, before it is Markdown, HTML or lines of a terminal: what it says, and in which order.

use chrono::{DateTime, Utc};

/// One page. It begins with its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub title: String,
    /// Which system, and when.
    pub subtitle: String,
    pub verdict: Headline,
    pub sections: Vec<Section>,
    /// How it was made.
    pub footer: String,
}

/// The result in one sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Headline {
    pub tone: Tone,
    /// Such as `Passed`.
    pub word: String,
    pub sentence: String,
}

/// How good a thing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    Good,
    Warning,
    Bad,
    #[default]
    Neutral,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Empty for what needs no title.
    pub title: String,
    pub blocks: Vec<Block>,
}

impl Section {
    pub fn new(title: &str, blocks: Vec<Block>) -> Self {
        Self { title: title.to_owned(), blocks }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    Text(String),
    /// Something to act on.
    Notice(Tone, String),
    Figures(Vec<Figure>),
    /// How much of the objective is used.
    Budget(Budget),
    /// What took how long, one after the other.
    Phases(Vec<PhaseBar>),
    Facts(Vec<(String, Cell)>),
    Table(Table),
    List(Vec<String>),
    Command(String),
    /// One mark for each occurrence, in order.
    Marks(Vec<Mark>),
    Calendar(Calendar),
    Chart(Chart),
}

/// Days as cells, months as rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    pub title: String,
    pub months: Vec<CalendarMonth>,
    /// Class, letter and meaning of the cells.
    pub legend: Vec<(&'static str, char, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CalendarMonth {
    /// `2026-11`
    pub name: String,
    pub days: Vec<CalendarDay>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CalendarDay {
    /// Its colour, by name.
    pub class: &'static str,
    /// A letter, so that the colour is not all there is.
    pub letter: char,
    /// In full.
    pub title: String,
}

/// One number a day, from nought to the most of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    pub title: String,
    pub values: Vec<f64>,
    /// In words.
    pub most: String,
    pub last: String,
    /// The first and the last day.
    pub from: String,
    pub until: String,
}

/// A number to see first.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub label: String,
    pub value: String,
    pub note: String,
    pub tone: Tone,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub used_seconds: f64,
    pub objective_seconds: f64,
    /// Of the time that was used, in order.
    pub parts: Vec<BudgetPart>,
    pub tone: Tone,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BudgetPart {
    pub seconds: f64,
    pub is_allowance: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PhaseBar {
    pub name: String,
    /// Where it begins, on the scale of them all.
    pub from_seconds: f64,
    pub seconds: f64,
    /// Such as `5.0 GiB at 17.1 MiB/s`; empty where there is nothing to say.
    pub detail: String,
    pub is_allowance: bool,
    pub counts: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub head: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub title: String,
    /// Of numbers: aligned to the right.
    pub is_number: bool,
}

impl Column {
    pub fn text(title: &str) -> Self {
        Self { title: title.to_owned(), is_number: false }
    }

    pub fn number(title: &str) -> Self {
        Self { title: title.to_owned(), is_number: true }
    }
}

/// Text, and how it is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub text: String,
    pub tone: Tone,
    /// Something to copy: an id, a query, a digest.
    pub is_code: bool,
    /// A bar below the text, as a fraction of the row's scale.
    pub bar: Option<f64>,
    /// Another page of the same site; pages that are files have none.
    pub link: Option<String>,
}

impl Cell {
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub fn code(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_code: true, ..Self::default() }
    }

    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    pub fn link(mut self, to: impl Into<String>) -> Self {
        self.link = Some(to.into());
        self
    }

    pub fn bar(mut self, fraction: f64) -> Self {
        self.bar = Some(fraction.clamp(0.0, 1.0));
        self
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    pub tone: Tone,
    /// A letter, so that the colour is not all there is.
    pub letter: char,
    /// In full.
    pub title: String,
}

/// Returns `2026-11-01 05:00:00 UTC`, as spreadsheets take it.
pub fn utc(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns text in which nothing changes how the rest is read: control characters and those that set the direction
/// are escaped.
pub fn plain(text: &str) -> String {
    let is_hidden = |c: char| {
        let sets_direction =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        sets_direction || (c.is_control() && c != '\n')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_hide_what_it_says() {
        assert_eq!(plain("größe\ta\u{202e}b\nc\u{7}"), "größe\\ta\\u{202e}b\nc\\u{7}");
    }
}
