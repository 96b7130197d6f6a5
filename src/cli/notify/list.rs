use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::catalog::ToldNotice;
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::style;
use crate::cli::table::{Cell, TextTable};
use crate::policy::Severity;
use crate::text::format_time;

/// Something that is not over, for one channel.
#[derive(Serialize)]
struct ListRow<'a> {
    severity: Severity,
    key: &'a str,
    event: &'a str,
    channel: &'a str,
    headline: &'a str,
    told: Option<DateTime<Utc>>,
    over: bool,
    failed: Option<DateTime<Utc>>,
    reason: Option<&'a str>,
}

pub(super) async fn run(context: &Context) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let catalog = context.catalog(&policy).await?;
    let mut told = catalog.told().await?;
    catalog.close().await;
    told.retain(|row| policy.notify.channel(&row.channel).is_some());
    told.sort_by(|a, b| order(a).cmp(&order(b)));
    let rows: Vec<ListRow<'_>> = told.iter().map(row).collect();
    if context.output.is_json() {
        context.output.document("notify-list", &serde_json::json!({ "notices": rows }));
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        let faint = style::FAINT;
        context.output.line(format!("{faint}No notice is open.{faint:#}"));
        return Ok(Exit::Done);
    }
    let mut table = TextTable::head(["SEVERITY", "CHANNEL", "TOLD", "WHAT"].map(Cell::new));
    for row in &rows {
        let told = match (row.told, row.reason) {
            (_, Some(reason)) => format!("failed: {reason}"),
            (Some(told), None) => format_time(told),
            (None, None) => "with the next summary".to_owned(),
        };
        table.row([
            Cell::new(row.severity.to_string()),
            Cell::new(row.channel),
            Cell::new(told),
            Cell::new(row.headline.split_whitespace().collect::<Vec<_>>().join(" ")),
        ]);
    }
    table.lines().iter().for_each(|line| context.output.line(line));
    Ok(Exit::Done)
}

fn order(row: &ToldNotice) -> (Severity, &str, &str) {
    (row.notice.severity, &row.notice.key, &row.channel)
}

fn row(told: &ToldNotice) -> ListRow<'_> {
    ListRow {
        severity: told.notice.severity,
        key: &told.notice.key,
        event: &told.notice.event,
        channel: &told.channel,
        headline: &told.notice.headline,
        told: told.told,
        over: told.is_over,
        failed: told.failed.as_ref().map(|failed| failed.at),
        reason: told.failed.as_ref().map(|failed| failed.reason.as_str()),
    }
}
