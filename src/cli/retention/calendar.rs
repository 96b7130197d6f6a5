//! A calendar that is read at a glance: months as rows, days as cells, each with the strongest reason that something of
//! that day stays.

use anstyle::{AnsiColor, Style};
use chrono::{Datelike as _, NaiveDate};

use crate::cli::style;
use crate::model::BackupKind;
use crate::retention::{DayMark, PlannedBackup, day_marks};

fn style_of(mark: DayMark) -> Style {
    let colour = |colour: AnsiColor| colour.on_default();
    match mark {
        DayMark::Nothing => style::FAINT,
        DayMark::Removed => style::BAD,
        DayMark::Other | DayMark::Parent => Style::new(),
        DayMark::PointInTime => colour(AnsiColor::Blue),
        DayMark::Newest => style::STRONG,
        DayMark::Day => colour(AnsiColor::Green),
        DayMark::Week => colour(AnsiColor::Cyan),
        DayMark::Month => colour(AnsiColor::Magenta),
        DayMark::Year => colour(AnsiColor::Yellow),
        DayMark::Hold => style::WARN,
    }
}

/// Returns the calendar of the backups of one kind, and what its letters mean.
pub(super) fn lines<'b>(
    backups: impl IntoIterator<Item = &'b PlannedBackup>,
    kind: BackupKind,
) -> Vec<String> {
    let days = day_marks(backups, kind);
    let (Some((first, _)), Some((last, _))) = (days.first_key_value(), days.last_key_value()) else {
        return vec![];
    };
    let faint = style::FAINT;
    let numbers: String =
        (1..=31).map(|day| if day % 5 == 0 { format!("{day:>2}") } else { "  ".to_owned() }).collect();
    let mut lines = vec![format!("  {faint}{kind:<8}{}{faint:#}", numbers.trim_end())];
    let (mut year, mut month) = (first.year(), first.month());
    while (year, month) <= (last.year(), last.month()) {
        let cells = (1..=31).filter_map(|day| NaiveDate::from_ymd_opt(year, month, day));
        let cells = cells.map(|date| {
            let mark = days.get(&date).copied().unwrap_or(DayMark::Nothing);
            let style = style_of(mark);
            format!(" {style}{}{style:#}", mark.letter())
        });
        lines.push(format!("  {year:04}-{month:02} {}", cells.collect::<String>()));
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    let used = DayMark::ALL.into_iter().filter(|mark| days.values().any(|used| used == mark));
    let legend: Vec<String> = used
        .map(|mark| {
            let style = style_of(mark);
            format!("{style}{}{style:#} {}", mark.letter(), mark.meaning())
        })
        .collect();
    lines.push(format!("          {}", legend.join(", ")));
    lines
}
