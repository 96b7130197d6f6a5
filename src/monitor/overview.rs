//! The page of many systems: a row each, the worst first.

use chrono::{DateTime, Utc};

use super::fleet::{FleetLine, Severity, worst_first};
use super::words::{age_or, capitalised, loss, tone, word};
use super::{SystemSnapshot, Watched};
use crate::report::{Block, Cell, Column, Figure, Headline, Page, Section, Table, Tone};
use crate::text::count;

/// Returns the page of all systems, as it is read at `now`. `link`: where the page of a system is.
pub fn overview_page(watched: &[Watched], now: DateTime<Utc>, link: impl Fn(&str) -> String) -> Page {
    let lines = worst_first(watched);
    let number = |severity| lines.iter().filter(|line| line.severity == severity).count();
    let figure = |severity: Severity| Figure {
        label: word(severity).to_lowercase(),
        value: number(severity).to_string(),
        note: String::new(),
        tone: if number(severity) == 0 { Tone::Neutral } else { tone(severity) },
    };
    let figures = [Severity::Critical, Severity::Warning, Severity::Good].map(figure).into();
    let head =
        ["System", "State", "Would be lost now", "Last backup", "Drill passed", "Retention", "What is wrong"];
    let rows = lines.iter().map(|line| {
        let snapshot =
            watched.iter().find(|one| one.name == line.system).and_then(|one| one.snapshot.as_deref());
        row(line, snapshot, now, link(&line.system))
    });
    let table = Table { head: head.map(Column::text).into(), rows: rows.collect() };
    Page {
        title: "Systems".to_owned(),
        subtitle: count(watched.len() as u64, "system"),
        verdict: headline(&lines),
        sections: vec![
            Section::new("", vec![Block::Figures(figures)]),
            Section::new("The worst first", vec![Block::Table(table)]),
        ],
        footer: format!(
            "Made by drctl {}. Every time is UTC. This page loads nothing and changes nothing.",
            env!("CARGO_PKG_VERSION")
        ),
    }
}

fn headline(lines: &[FleetLine]) -> Headline {
    let Some(worst) = lines.first() else {
        let sentence = "no policy was found".to_owned();
        return Headline {
            tone: Tone::Warning,
            word: "Nothing".to_owned(),
            sentence: capitalised(&sentence),
        };
    };
    let sentence = match worst.problems.first() {
        None => "Every system can be recovered within its targets.".to_owned(),
        Some(problem) => format!("{}: {problem}", worst.system),
    };
    Headline { tone: tone(worst.severity), word: word(worst.severity).to_owned(), sentence }
}

fn row(line: &FleetLine, snapshot: Option<&SystemSnapshot>, now: DateTime<Utc>, link: String) -> Vec<Cell> {
    let system = Cell::text(line.system.as_str()).link(link);
    let state = Cell::text(word(line.severity)).tone(tone(line.severity));
    let problem = Cell::text(line.problems.first().map(|text| capitalised(text)).unwrap_or_default());
    let Some(snapshot) = snapshot else {
        let unknown = || Cell::text("unknown");
        return vec![system, state, unknown(), unknown(), unknown(), unknown(), problem];
    };
    let (text, loss_tone) = loss(line.loses_seconds, line.loses_everything, snapshot.rpo());
    let drill = match &snapshot.drill {
        None => Cell::text("not in the policy"),
        Some(drill) => {
            let cell = Cell::text(age_or(drill.passed, now, "never"));
            if drill.concern.is_some() || drill.passed.is_none() { cell.tone(Tone::Warning) } else { cell }
        }
    };
    let retention = match &snapshot.retention {
        None => Cell::text("keeps everything"),
        Some(retention) => {
            let cell = Cell::text(age_or(retention.applied, now, "never"));
            if retention.concern.is_some() { cell.tone(Tone::Warning) } else { cell }
        }
    };
    vec![
        system,
        state,
        Cell::text(text).tone(loss_tone),
        Cell::text(age_or(line.last_backup, now, "none")),
        drill,
        retention,
        problem,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::snapshot::tests::{at, healthy, watched};
    use crate::report::html_page;

    #[test]
    fn every_system_is_linked_and_what_has_no_snapshot_is_unknown() {
        let never = Watched { name: "other".to_owned(), snapshot: None, failed: None };
        let all = [watched(healthy()), never];
        let page = overview_page(&all, at("2026-11-20T12:00:30Z"), |name| format!("systems/{name}"));
        let html = html_page(&page);
        for shown in
            ["<a href=\"systems/shop\">shop</a>", "<a href=\"systems/other\">other</a>", "Not collected yet"]
        {
            assert!(html.contains(shown), "{shown}: {html}");
        }
    }
}
