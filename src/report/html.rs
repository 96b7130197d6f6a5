//! Pages as HTML: one file, without scripts and without anything that is loaded from elsewhere.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::figures::lasting;
use super::page::{
    Block, Budget, Calendar, Cell, Chart, Figure, Headline, Mark, Page, PhaseBar, Section, Table, Tone, plain,
};

const STYLE: &str = include_str!("page.css");

/// Returns what a page may load, for its header and for servers that send it: its own style, and nothing else. Should
/// anything ever get past the escaping, a browser does not run it.
pub fn content_policy() -> String {
    let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!("default-src 'none'; img-src data:; style-src 'sha256-{digest}'")
}

/// Returns a page as an HTML document.
pub fn html_page(page: &Page) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(content_policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="drctl";
                title { (plain(&page.title)) ": " (plain(&page.verdict.word)) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                (patterns())
                main {
                    header {
                        p.subtitle { (plain(&page.subtitle)) }
                        h1 { (plain(&page.title)) }
                        (headline(&page.verdict))
                    }
                    @for section in &page.sections { (self::section(section)) }
                    footer { p { (plain(&page.footer)) } }
                }
            }
        }
    };
    document.into_string()
}

/// The hatching of allowances, which every bar refers to.
fn patterns() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" {
            defs {
                pattern id="allowance" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect.allowance-back width="8" height="8" {}
                    rect.allowance-line width="4" height="8" {}
                }
            }
        }
    }
}

fn headline(verdict: &Headline) -> Markup {
    html! {
        div class={ "verdict " (tone(verdict.tone)) } {
            span.word { span.sign aria-hidden="true" { (sign(verdict.tone)) } (plain(&verdict.word)) }
            p { (plain(&verdict.sentence)) }
        }
    }
}

fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
        Tone::Neutral => "neutral",
    }
}

fn sign(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "✓",
        Tone::Warning => "!",
        Tone::Bad => "✕",
        Tone::Neutral => "?",
    }
}

fn section(section: &Section) -> Markup {
    html! {
        section {
            @if !section.title.is_empty() { h2 { (plain(&section.title)) } }
            @for block in &section.blocks { (self::block(block)) }
        }
    }
}

fn block(block: &Block) -> Markup {
    match block {
        Block::Text(text) => html! { p { (plain(text)) } },
        Block::Notice(of, text) => html! { p class={ "notice " (tone(*of)) } { (plain(text)) } },
        Block::Figures(figures) => figures_row(figures),
        Block::Budget(budget) => self::budget(budget),
        Block::Phases(phases) => self::phases(phases),
        Block::Facts(facts) => html! {
            dl.facts {
                @for (name, value) in facts {
                    div { dt { (plain(name)) } dd { (cell(value)) } }
                }
            }
        },
        Block::Table(table) => self::table(table),
        Block::List(items) => html! { ul { @for item in items { li { (plain(item)) } } } },
        Block::Command(command) => html! { pre { code { (plain(command)) } } },
        Block::Marks(marks) => self::marks(marks),
        Block::Calendar(calendar) => self::calendar(calendar),
        Block::Chart(chart) => self::chart(chart),
    }
}

fn figures_row(figures: &[Figure]) -> Markup {
    html! {
        div.figures {
            @for figure in figures {
                div class={ "figure " (tone(figure.tone)) } {
                    span.label { (plain(&figure.label)) }
                    span.value { (plain(&figure.value)) }
                    span.note { (plain(&figure.note)) }
                }
            }
        }
    }
}

/// On a scale of a thousand, which the page stretches to its width.
const SCALE: f64 = 1_000.0;

fn budget(budget: &Budget) -> Markup {
    let whole = budget.objective_seconds.max(budget.used_seconds).max(1.0);
    let on_scale = |seconds: f64| seconds / whole * SCALE;
    let mut until = 0.0;
    let parts = budget.parts.iter().map(|part| {
        let from = until;
        until += on_scale(part.seconds);
        (from, on_scale(part.seconds), part.is_allowance)
    });
    let parts: Vec<(f64, f64, bool)> = parts.collect();
    let objective = on_scale(budget.objective_seconds);
    let (used, of) = (lasting(budget.used_seconds), lasting(budget.objective_seconds));
    let label = format!("{used} of the {of} that the objective allows");
    html! {
        figure.budget {
            svg class={ "bar " (tone(budget.tone)) } viewBox="0 0 1000 28" preserveAspectRatio="none" role="img" aria-label=(label) {
                rect.room x="0" y="0" width=(number(objective)) height="28" {}
                @for (from, width, is_allowance) in &parts {
                    rect class=(if *is_allowance { "part allowance" } else { "part" }) x=(number(*from)) y="0" width=(number(*width)) height="28" {}
                }
                line.objective x1=(number(objective)) x2=(number(objective)) y1="0" y2="28" vector-effect="non-scaling-stroke" {}
            }
            figcaption {
                span { strong { (used) } " used" }
                span.legend { span.key.measured aria-hidden="true" {} "measured" }
                span.legend { span.key.allowed aria-hidden="true" {} "allowance" }
                span.right { "objective " strong { (of) } }
            }
        }
    }
}

fn phases(phases: &[PhaseBar]) -> Markup {
    let end = phases.iter().map(|phase| phase.from_seconds + phase.seconds).fold(1.0, f64::max);
    let class = |phase: &PhaseBar| match (phase.is_allowance, phase.counts) {
        (true, _) => "part allowance",
        (false, true) => "part",
        (false, false) => "part after",
    };
    html! {
        ol.phases {
            @for phase in phases {
                li {
                    span.name {
                        (plain(&phase.name))
                        @if phase.is_allowance { span.tag { "allowance" } }
                        @if !phase.counts { span.tag { "after the recovery" } }
                    }
                    svg.bar viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true" {
                        rect class=(class(phase)) x=(number(phase.from_seconds / end * SCALE)) y="0" width=(number((phase.seconds / end * SCALE).max(2.0))) height="14" {}
                    }
                    span.time { (lasting(phase.seconds)) }
                    span.detail { (plain(&phase.detail)) }
                }
            }
        }
    }
}

fn table(table: &Table) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { @for column in &table.head {
                    th.number[column.is_number] scope="col" { (plain(&column.title)) }
                } } }
                tbody { @for row in &table.rows {
                    tr { @for (column, value) in table.head.iter().zip(row) {
                        td.number[column.is_number].long[is_long(value)] data-title=(plain(&column.title)) { (cell(value)) }
                    } }
                } }
            }
        }
    }
}

/// Text that is wrapped anywhere rather than let it widen the table: a sentence may have a path in it.
fn is_long(cell: &Cell) -> bool {
    !cell.is_code && cell.text.chars().count() > 60
}

fn cell(cell: &Cell) -> Markup {
    html! {
        @if let Some(link) = &cell.link {
            a href=(plain(link)) { (plain(&cell.text)) }
        } @else if cell.is_code {
            code { (plain(&cell.text)) }
        } @else if cell.tone == Tone::Neutral {
            (plain(&cell.text))
        } @else {
            span class={ "state " (tone(cell.tone)) } { (plain(&cell.text)) }
        }
        @if let Some(fraction) = cell.bar {
            svg.bar.small viewBox="0 0 1000 6" preserveAspectRatio="none" aria-hidden="true" {
                rect.room x="0" y="0" width="1000" height="6" {}
                rect class={ "part " (tone(cell.tone)) } x="0" y="0" width=(number(fraction * SCALE)) height="6" {}
            }
        }
    }
}

fn marks(marks: &[Mark]) -> Markup {
    html! {
        ol.marks {
            @for mark in marks {
                li class=(tone(mark.tone)) title=(plain(&mark.title)) aria-label=(plain(&mark.title)) { (mark.letter.to_string()) }
            }
        }
    }
}

fn calendar(calendar: &Calendar) -> Markup {
    html! {
        figure.calendar {
            figcaption { strong { (plain(&calendar.title)) } }
            @for month in &calendar.months {
                div.month {
                    span.name { (plain(&month.name)) }
                    ol {
                        @for day in &month.days {
                            li class={ "day " (day.class) } title=(plain(&day.title)) { (day.letter.to_string()) }
                        }
                    }
                }
            }
            figcaption {
                @for (class, letter, meaning) in &calendar.legend {
                    span.legend { span class={ "day " (class) } aria-hidden="true" { (letter.to_string()) } " " (plain(meaning)) }
                }
            }
        }
    }
}

/// The height of a chart on its own scale.
const HEIGHT: f64 = 120.0;

fn chart(chart: &Chart) -> Markup {
    let most =
        chart.values.iter().copied().filter(|value| value.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let last = chart.values.len().saturating_sub(1).max(1) as f64;
    let point = |(n, value): (usize, &f64)| {
        let height = if value.is_finite() { value / most * (HEIGHT - 4.0) } else { 0.0 };
        format!("{},{}", number(n as f64 / last * SCALE), number(HEIGHT - 2.0 - height))
    };
    let points: Vec<String> = chart.values.iter().enumerate().map(point).collect();
    let label = format!("{}: {} at most, {} at the end", chart.title, chart.most, chart.last);
    html! {
        figure.chart {
            figcaption { strong { (plain(&chart.title)) } span.right { "at most " strong { (plain(&chart.most)) } ", at the end " strong { (plain(&chart.last)) } } }
            svg viewBox="0 0 1000 120" preserveAspectRatio="none" role="img" aria-label=(plain(&label)) {
                line.floor x1="0" x2="1000" y1="119" y2="119" vector-effect="non-scaling-stroke" {}
                polyline points=(points.join(" ")) vector-effect="non-scaling-stroke" {}
            }
            figcaption { span { (plain(&chart.from)) } span.right { (plain(&chart.until)) } }
        }
    }
}

/// Returns a number of at most one decimal place, as SVG takes it.
fn number(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    if rounded.is_finite() { format!("{rounded}") } else { "0".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::page::Column;
    use super::*;

    #[test]
    fn nothing_that_is_shown_can_be_markup() {
        let hostile = || "<script>alert(1)</script>\"'&".to_owned();
        let page = Page {
            title: hostile(),
            subtitle: hostile(),
            verdict: Headline { tone: Tone::Bad, word: hostile(), sentence: hostile() },
            sections: vec![Section {
                title: hostile(),
                blocks: vec![
                    Block::Text(hostile()),
                    Block::Notice(Tone::Bad, hostile()),
                    Block::Figures(vec![Figure {
                        label: hostile(),
                        value: hostile(),
                        note: hostile(),
                        tone: Tone::Good,
                    }]),
                    Block::Phases(vec![PhaseBar {
                        name: hostile(),
                        from_seconds: f64::NAN,
                        seconds: f64::INFINITY,
                        detail: hostile(),
                        is_allowance: true,
                        counts: true,
                    }]),
                    Block::Facts(vec![(hostile(), Cell::text(hostile()))]),
                    Block::Table(Table {
                        head: vec![Column { title: hostile(), is_number: false }],
                        rows: vec![vec![Cell::code(hostile())], vec![Cell::text(hostile()).tone(Tone::Bad)]],
                    }),
                    Block::List(vec![hostile()]),
                    Block::Command(hostile()),
                    Block::Marks(vec![Mark { tone: Tone::Good, letter: '<', title: hostile() }]),
                ],
            }],
            footer: hostile(),
        };
        let document = html_page(&page);
        assert!(!document.contains("<script") && !document.contains("alert(1)</script>\""), "{document}");
        let shown = document.matches("&lt;script&gt;").count();
        assert_eq!(shown, 26, "everything is shown, as text");
        assert!(!document.contains("NaN") && !document.contains("inf\""));
        let (before, style) = document.split_once("<style>").unwrap();
        let (style, after) = style.split_once("</style>").unwrap();
        for outside in ["http://", "https://", "src=", "<link rel=\"stylesheet", "onload"] {
            assert!(!before.contains(outside) && !after.contains(outside), "{outside}");
        }
        assert!(!style.contains("@import") && !style.contains("//") && !style.contains("url(h"));
    }
}
