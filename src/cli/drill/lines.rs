//! Pages as lines of a terminal.

use super::list::tone_style;
use crate::cli::style;
use crate::cli::table::{Cell, TextTable};
use crate::report::{self, Block, CalendarMonth, Page, PhaseBar, Section, Tone, lasting, plain};

/// Returns a page as lines.
pub(super) fn lines(page: &Page) -> Vec<String> {
    let (strong, faint) = (style::STRONG, style::FAINT);
    let of = tone_style(page.verdict.tone);
    let mut lines = vec![
        format!("{strong}{}{strong:#}  {faint}{}{faint:#}", plain(&page.title), plain(&page.subtitle)),
        format!("{of}{}.{of:#} {}", plain(&page.verdict.word), plain(&page.verdict.sentence)),
    ];
    for Section { title, blocks } in &page.sections {
        lines.push(String::new());
        if !title.is_empty() {
            lines.push(format!("{strong}{}{strong:#}", plain(title)));
        }
        for block in blocks {
            lines.extend(self::block(block).into_iter().map(|line| format!("  {}", line.trim_end())));
        }
    }
    lines
}

fn block(block: &Block) -> Vec<String> {
    match block {
        Block::Text(text) => one_line(text),
        Block::Notice(tone, text) => {
            let style = tone_style(*tone);
            one_line(text).into_iter().map(|line| format!("{style}{line}{style:#}")).collect()
        }
        Block::Figures(figures) => {
            let mut table = TextTable::default();
            for figure in figures {
                table.row([
                    name(&figure.label),
                    Cell::new(plain(&figure.value)).style(tone_style(figure.tone)),
                    Cell::new(plain(&figure.note)).style(style::FAINT),
                ]);
            }
            table.lines()
        }
        // The numbers above say how much of the objective is used.
        Block::Budget(_) => vec![],
        Block::Phases(phases) => self::phases(phases),
        Block::Facts(facts) => {
            let mut table = TextTable::default();
            for (label, value) in facts {
                table.row([name(label), cell(value)]);
            }
            table.lines()
        }
        Block::Table(table) => self::table(table),
        Block::List(items) => items.iter().flat_map(|item| one_line(&format!("- {item}"))).collect(),
        Block::Command(command) => command.lines().map(plain).collect(),
        Block::Marks(marks) => vec![marks.iter().map(|mark| mark.letter).collect()],
        Block::Calendar(calendar) => {
            let month = |month: &CalendarMonth| {
                let cells: String = month.days.iter().flat_map(|day| [' ', day.letter]).collect();
                format!("{}{cells}", plain(&month.name))
            };
            calendar.months.iter().map(month).collect()
        }
        Block::Chart(chart) => {
            one_line(&format!("{}: {} at most, {} at the end", chart.title, chart.most, chart.last))
        }
    }
}

fn one_line(text: &str) -> Vec<String> {
    vec![plain(text).replace('\n', " ")]
}

fn name(label: &str) -> Cell {
    Cell::new(plain(label)).style(style::FAINT)
}

fn cell(cell: &report::Cell) -> Cell {
    let text = plain(&cell.text).replace('\n', " ");
    let shown = Cell::new(text);
    if cell.tone == Tone::Neutral { shown } else { shown.style(tone_style(cell.tone)) }
}

fn phases(phases: &[PhaseBar]) -> Vec<String> {
    let mut table = TextTable::default();
    for phase in phases {
        let kind = match (phase.is_allowance, phase.counts) {
            (true, _) => "allowance",
            (false, true) => "",
            (false, false) => "after the recovery",
        };
        table.row([
            Cell::new(plain(&phase.name)),
            Cell::new(lasting(phase.seconds)).right(),
            Cell::new(plain(&phase.detail)),
            Cell::new(kind).style(style::FAINT),
        ]);
    }
    table.lines()
}

fn table(table: &report::Table) -> Vec<String> {
    let aligned = |cell: Cell, is_number: bool| if is_number { cell.right() } else { cell };
    let head = table.head.iter();
    let mut text =
        TextTable::head(head.map(|column| aligned(Cell::new(column.title.to_uppercase()), column.is_number)));
    for row in &table.rows {
        let cells = table.head.iter().zip(row);
        text.row(cells.map(|(column, value)| aligned(cell(value), column.is_number)));
    }
    text.lines()
}
