//! Pages as Markdown, with tables as GitHub has them.

use std::fmt::Write as _;

use super::figures::lasting;
use super::page::{
    Block, Budget, Calendar, CalendarMonth, Cell, Chart, Headline, Page, PhaseBar, Section, Table, plain,
};

/// Returns a page as Markdown. Its contents are escaped: none of them is markup.
pub fn markdown(page: &Page) -> String {
    let Headline { word, sentence, .. } = &page.verdict;
    let mut text = format!("# {}\n\n{}\n\n", escaped(&page.title), escaped(&page.subtitle));
    let _ = write!(text, "**{}.** {}\n\n", escaped(word), escaped(sentence));
    for Section { title, blocks } in &page.sections {
        if !title.is_empty() {
            let _ = write!(text, "## {}\n\n", escaped(title));
        }
        for block in blocks {
            let block = self::block(block);
            if !block.is_empty() {
                let _ = write!(text, "{}\n\n", block.trim_end());
            }
        }
    }
    let _ = writeln!(text, "---\n\n{}", escaped(&page.footer));
    text
}

fn block(block: &Block) -> String {
    match block {
        Block::Text(text) => escaped(text),
        Block::Notice(_, text) => format!("> {}", escaped(text)),
        Block::Figures(figures) => {
            let line = |(label, value, note): (&str, &str, &str)| {
                let note = if note.is_empty() { String::new() } else { format!(" ({})", escaped(note)) };
                format!("- **{}:** {}{note}", escaped(label), escaped(value))
            };
            let lines = figures.iter().map(|figure| line((&figure.label, &figure.value, &figure.note)));
            lines.collect::<Vec<_>>().join("\n")
        }
        Block::Budget(budget) => self::budget(budget),
        Block::Phases(phases) => self::phases(phases),
        Block::Facts(facts) => {
            let line = |(name, value): &(String, Cell)| format!("- **{}:** {}", escaped(name), cell(value));
            facts.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Block::Table(table) => self::table(table),
        Block::List(items) => {
            items.iter().map(|item| format!("- {}", escaped(item))).collect::<Vec<_>>().join("\n")
        }
        Block::Command(command) => fenced(command),
        // The table has the same in words.
        Block::Marks(_) => String::new(),
        Block::Calendar(calendar) => self::calendar(calendar),
        Block::Chart(Chart { title, most, last, from, until, .. }) => {
            let words = format!("{most} at most, {last} at the end, {from} to {until}");
            format!("- **{}:** {}", escaped(title), escaped(&words))
        }
    }
}

fn calendar(calendar: &Calendar) -> String {
    let line = |month: &CalendarMonth| {
        let cells: String = month.days.iter().flat_map(|day| [' ', day.letter]).collect();
        format!("{}{cells}", plain(&month.name))
    };
    let months = calendar.months.iter().map(line);
    let legend: Vec<String> =
        calendar.legend.iter().map(|(_, letter, meaning)| format!("{letter} {}", plain(meaning))).collect();
    let lines: Vec<String> =
        std::iter::once(plain(&calendar.title)).chain(months).chain([legend.join(", ")]).collect();
    format!("```text\n{}\n```", lines.join("\n"))
}

fn budget(budget: &Budget) -> String {
    const WIDTH: f64 = 50.0;
    let scale = budget.objective_seconds.max(budget.used_seconds).max(1.0);
    let cells = |seconds: f64| (seconds / scale * WIDTH).round().clamp(0.0, WIDTH) as usize;
    let (mut bar, mut until) = (String::new(), 0.0);
    for part in &budget.parts {
        until += part.seconds;
        let missing = cells(until).saturating_sub(bar.chars().count());
        bar.extend(std::iter::repeat_n(if part.is_allowance { '░' } else { '█' }, missing));
    }
    let filled = bar.chars().count();
    bar.extend(std::iter::repeat_n('·', (WIDTH as usize).saturating_sub(filled)));
    if let Some((at, _)) = bar.char_indices().nth(cells(budget.objective_seconds)) {
        bar.insert(at, '|');
    } else {
        bar.push('|');
    }
    let (used, objective) = (lasting(budget.used_seconds), lasting(budget.objective_seconds));
    format!("```text\n{bar} {used} of {objective}\n█ measured  ░ allowance  | objective\n```")
}

fn phases(phases: &[PhaseBar]) -> String {
    let row = |phase: &PhaseBar| {
        let kind = match (phase.is_allowance, phase.counts) {
            (true, _) => "allowance",
            (false, true) => "measured",
            (false, false) => "measured, after the recovery",
        };
        format!(
            "| {} | {} | {kind} | {} |",
            escaped(&phase.name),
            lasting(phase.seconds),
            escaped(&phase.detail)
        )
    };
    let rows = phases.iter().map(row).collect::<Vec<_>>().join("\n");
    format!("| Phase | Time | | Data |\n|---|--:|---|---|\n{rows}")
}

fn table(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let head = line(table.head.iter().map(|column| escaped(&column.title)).collect());
    let rule: String =
        table.head.iter().map(|column| if column.is_number { "|--:" } else { "|---" }).collect();
    let rows = table.rows.iter().map(|row| line(row.iter().map(cell).collect()));
    let rows: Vec<String> = rows.collect();
    format!("{head}\n{rule}|\n{}", rows.join("\n"))
}

fn cell(cell: &Cell) -> String {
    match cell.text.is_empty() {
        true => String::new(),
        false if cell.is_code => code(&cell.text),
        false => escaped(&cell.text),
    }
}

/// Returns text of one line in which no character means anything to Markdown.
fn escaped(text: &str) -> String {
    let text = plain(text);
    let mut escaped = String::with_capacity(text.len());
    for (n, c) in text.chars().enumerate() {
        match c {
            '\n' => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '$' => {
                escaped.extend(['\\', c])
            }
            // They begin a heading or a list only at the beginning.
            '#' | '+' | '-' | '=' | ':' if n == 0 => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    // `1.` begins a list, too.
    let digits = escaped.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &escaped[digits..];
    if digits > 0 && rest.starts_with(['.', ')']) && matches!(rest.as_bytes().get(1), None | Some(b' ')) {
        escaped.insert(digits, '\\');
    }
    escaped
}

/// Returns a span of code, which may stand in a table.
fn code(text: &str) -> String {
    let text = plain(text).replace('\n', " ").replace('|', "\\|");
    let fence = "`".repeat(longest_run(&text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

fn fenced(text: &str) -> String {
    let text = plain(text);
    let fence = "`".repeat((longest_run(&text) + 1).max(3));
    format!("{fence}sh\n{text}\n{fence}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::page::{Column, Tone};
    use super::*;

    #[test]
    fn what_looks_like_markdown_is_text() {
        assert_eq!(
            escaped("a|b\n<script>*x*</script> [a](b)"),
            "a\\|b \\<script\\>\\*x\\*\\</script\\> \\[a\\](b)"
        );
        assert_eq!(escaped("# no heading"), "\\# no heading");
        assert_eq!(escaped("1. no list"), "1\\. no list");
        assert_eq!(escaped("1.5 GiB"), "1.5 GiB");
        assert_eq!(code("a`b|c"), "``a`b\\|c``");
        assert_eq!(code("`a`"), "`` `a` ``");
        assert_eq!(fenced("a\n```\nb"), "````sh\na\n```\nb\n````");
    }

    #[test]
    fn a_row_stays_one_row() {
        let table = Table {
            head: vec![Column::text("a"), Column::number("b")],
            rows: vec![vec![Cell::code("x\n| y |"), Cell::text("1\n2").tone(Tone::Bad)]],
        };
        assert_eq!(self::table(&table).lines().count(), 3);
    }
}
