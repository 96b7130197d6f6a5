use std::time::Duration;

use sqlx::PgConnection;

use super::backup_manifest::{RangeError, WalRange};
use super::error::BaseError;
use super::query::{ask, ask_within};
use crate::model::{Lsn, Timeline};

/// Allows for the checkpoint of a large server with many dirty pages.
const BEGUN_WITHIN: Duration = Duration::from_secs(3600);
const ENDED_WITHIN: Duration = Duration::from_secs(600);
const LABEL: &str = "drctl";

/// The layout of a server's pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageFacts {
    pub(super) page_size: usize,
    /// Pages of a relation's file before the next segment begins.
    pub(super) pages_in_segment: u32,
    pub(super) catalog_version: u32,
}

/// The server's answer when a copy is ended.
#[derive(Clone, Debug)]
pub(super) struct BackupStopped {
    pub(super) range: WalRange,
    pub(super) label: String,
    pub(super) map: String,
}

/// Begins a backup on the server. It also ends with `connection`. Returns where the WAL begins that the copy
/// needs.
pub(super) async fn begin(connection: &mut PgConnection, server: &str, major: u32) -> Result<Lsn, BaseError> {
    let statement = if major >= 15 {
        "SELECT pg_backup_start($1, true)::text"
    } else {
        "SELECT pg_start_backup($1, true, false)::text"
    };
    let begun = sqlx::query_scalar(statement).bind(LABEL).fetch_one(connection);
    let start: String = ask_within(BEGUN_WITHIN, server, begun).await?;
    lsn(server, "where the copy begins", &start)
}

/// Ends the backup on the server. Does not wait for its WAL to be archived: every repository is queried for
/// that.
pub(super) async fn end(
    connection: &mut PgConnection,
    server: &str,
    major: u32,
) -> Result<BackupStopped, BaseError> {
    let statement = if major >= 15 {
        "SELECT lsn::text, labelfile, spcmapfile FROM pg_backup_stop(false)"
    } else {
        "SELECT lsn::text, labelfile, spcmapfile FROM pg_stop_backup(false, false)"
    };
    let ended = sqlx::query_as(statement).fetch_one(&mut *connection);
    let (stop, label, map): (String, String, Option<String>) =
        ask_within(ENDED_WITHIN, server, ended).await?;
    let stop = lsn(server, "where the copy ends", &stop)?;
    let (timeline, start) = read_label(&label).ok_or_else(|| BaseError::Value {
        server: server.to_owned(),
        what: "the label of the copy",
        value: label.clone(),
    })?;
    let now: i32 = ask(server, sqlx::query_scalar(TIMELINE).fetch_one(connection)).await?;
    if u32::try_from(now).ok() != Some(timeline.number()) {
        return Err(BaseError::Range { server: server.to_owned(), source: RangeError::Several });
    }
    Ok(BackupStopped { range: WalRange { timeline, start, stop }, label, map: map.unwrap_or_default() })
}

// On a standby, that of the position up to which its files may be.
const TIMELINE: &str = "SELECT CASE WHEN pg_is_in_recovery()
    THEN (SELECT coalesce(nullif(r.min_recovery_end_timeline, 0), c.timeline_id) FROM pg_control_recovery() r)
    ELSE c.timeline_id END FROM pg_control_checkpoint() c";

fn lsn(server: &str, what: &'static str, text: &str) -> Result<Lsn, BaseError> {
    text.parse().map_err(|_| BaseError::Value { server: server.to_owned(), what, value: text.to_owned() })
}

/// Parses the timeline and the start position of a `backup_label`.
fn read_label(label: &str) -> Option<(Timeline, Lsn)> {
    let value = |name: &str| {
        let rest = label.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()
    };
    Some((value("START TIMELINE:")?.parse().ok()?, value("START WAL LOCATION:")?.parse().ok()?))
}

/// Queries the layout of the server's pages.
pub(super) async fn page_facts(connection: &mut PgConnection, server: &str) -> Result<PageFacts, BaseError> {
    let asked = sqlx::query_as(
        "SELECT current_setting('block_size')::int4,
                (SELECT setting::int4 FROM pg_settings WHERE name = 'segment_size'),
                catalog_version_no FROM pg_control_system()",
    )
    .fetch_one(connection);
    let (page_size, pages_in_segment, catalog): (i32, i32, i32) = ask(server, asked).await?;
    let value =
        |what, number: i32| BaseError::Value { server: server.to_owned(), what, value: number.to_string() };
    let is_page = usize::try_from(page_size)
        .ok()
        .filter(|size| size.is_power_of_two() && (1024..=32_768).contains(size));
    Ok(PageFacts {
        page_size: is_page.ok_or_else(|| value("block_size", page_size))?,
        pages_in_segment: u32::try_from(pages_in_segment)
            .map_err(|_| value("segment_size", pages_in_segment))?,
        catalog_version: u32::try_from(catalog).map_err(|_| value("the version of its catalog", catalog))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_where_its_log_begins() {
        let label = "START WAL LOCATION: 1/2000028 (file 000000020000000100000002)\nCHECKPOINT LOCATION: 1/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-20 12:00:00 UTC\nLABEL: drctl\nSTART TIMELINE: 2\n";
        let (timeline, start) = read_label(label).unwrap();
        assert_eq!((timeline.number(), start), (2, Lsn(0x1_0200_0028)));
        assert_eq!(read_label("LABEL: drctl\n"), None);
    }
}
