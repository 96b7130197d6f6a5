use anstyle::Style;

/// Columns without boxes: padded by visible width, so that colours do not shift them.
#[derive(Default)]
pub(super) struct TextTable {
    rows: Vec<Vec<Cell>>,
}

/// A text and its style.
pub(super) struct Cell {
    text: String,
    /// The first `strong` bytes are bold.
    strong: usize,
    style: Style,
    right: bool,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), strong: 0, style: Style::new(), right: false }
    }

    pub(super) fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Aligns the cell to the right, for sizes and numbers.
    pub(super) fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// Emphasizes the first `bytes`: the prefix of an id that is unambiguous.
    pub(super) fn strong(mut self, bytes: usize) -> Self {
        self.strong = bytes.min(self.text.len());
        self
    }

    fn shown(&self) -> String {
        let (strong, rest) = self.text.split_at_checked(self.strong).unwrap_or(("", &self.text));
        let bold = super::style::STRONG;
        let strong = if strong.is_empty() { String::new() } else { format!("{bold}{strong}{bold:#}") };
        format!("{strong}{style}{rest}{style:#}", style = self.style)
    }
}

impl TextTable {
    pub(super) fn head(names: impl IntoIterator<Item = Cell>) -> Self {
        let head = names.into_iter().map(|cell| cell.style(super::style::FAINT));
        Self { rows: vec![head.collect()] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let width = |text: &str| text.chars().count();
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns)
            .map(|n| self.rows.iter().filter_map(|row| row.get(n)).map(|cell| width(&cell.text)).max())
            .map(Option::unwrap_or_default)
            .collect();
        let line = |row: &Vec<Cell>| {
            let mut line = String::new();
            for (n, cell) in row.iter().enumerate() {
                let padding = " ".repeat(widths[n] - width(&cell.text));
                let is_last = n + 1 == row.len();
                line.push_str(if n == 0 { "" } else { "  " });
                match (cell.right, is_last) {
                    (true, _) => line.extend([padding, cell.shown()]),
                    (false, false) => line.extend([cell.shown(), padding]),
                    (false, true) => line.push_str(&cell.shown()),
                }
            }
            line
        };
        self.rows.iter().map(line).collect()
    }
}
