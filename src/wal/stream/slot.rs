use std::path::Path;
use std::time::Duration;

use sqlx::PgConnection;

use super::WalStream;
use crate::model::Segment;
use crate::platform::{CancellationToken, free_space};
use crate::postgres::close;
use crate::wal::ArchiverFacts;

const LOOK: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The WAL kept for the slot may take up to this fraction of the free space of the server's `pg_wal`.
const SHARE: u64 = 4;

/// The server's view of a slot.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct SlotState {
    pub(super) wal_status: Option<String>,
    /// Bytes that the server retains for it.
    kept: Option<i64>,
    /// Bytes that may still be written before it is lost; `None` without a limit.
    left: Option<i64>,
    /// Where the role may read it.
    data_directory: Option<String>,
}

const SLOT: &str = "
SELECT wal_status, safe_wal_size AS left,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                            ELSE pg_current_wal_lsn() END, restart_lsn)::int8 AS kept,
       (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory
  FROM pg_replication_slots WHERE slot_name = $1 AND slot_type = 'physical'";

/// Queries a slot; `None`: there is no such slot.
pub(super) async fn slot_facts(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Option<SlotState>, sqlx::Error> {
    let asked = sqlx::query_as(SLOT).bind(name).fetch_optional(connection);
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

const MAY_LOOK: &str = "SELECT has_function_privilege('pg_ls_waldir()', 'EXECUTE')";

// A timeline that was left continues in segments of the next one.
const HAS: &str = "SELECT EXISTS (SELECT FROM pg_ls_waldir() WHERE substr(name, 9, 16) = $1)";

/// Queries whether the server still has a segment, of any timeline, or has not begun it yet; `None` where the
/// role may not list `pg_wal`.
pub(super) async fn has_segment(
    connection: &mut PgConnection,
    segment: Segment,
    server: &ArchiverFacts,
) -> Result<Option<bool>, sqlx::Error> {
    let size = server.segment_size;
    if segment.number(size).is_none_or(|number| number >= size.number_of(server.lsn)) {
        return Ok(Some(true));
    }
    let name = segment.to_string();
    let asked = async {
        if !sqlx::query_scalar::<_, bool>(MAY_LOOK).fetch_one(&mut *connection).await? {
            return Ok(None);
        }
        let place = name.get(8..).unwrap_or_default();
        sqlx::query_scalar(HAS).bind(place).fetch_one(&mut *connection).await.map(Some)
    };
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// Returns what is wrong with it; `free`: bytes free where the server's WAL is.
fn objection(slot: &SlotState, free: Option<u64>) -> Option<String> {
    let kept = slot.kept.and_then(|kept| u64::try_from(kept).ok()).unwrap_or(0);
    match slot.wal_status.as_deref() {
        Some("reserved" | "extended") | None => {}
        Some("lost") => {
            return Some(
                "the server removed its WAL: take a base backup, since the WAL has a gap".to_owned(),
            );
        }
        Some(status) => return Some(format!("it is `{status}`: the server removes its WAL soon")),
    }
    let mib = |bytes: u64| bytes >> 20;
    if let Some(free) = free.filter(|free| kept > free / SHARE) {
        return Some(format!(
            "the server retains {} MiB of WAL for it, and {} MiB are free there",
            mib(kept),
            mib(free)
        ));
    }
    let left = slot.left.and_then(|left| u64::try_from(left).ok());
    let left = left.filter(|left| kept > *left)?;
    Some(format!(
        "the server retains {} MiB of WAL for it, and removes it after {} MiB more",
        mib(kept),
        mib(left)
    ))
}

impl WalStream {
    /// Warns when the server retains too much for the slot, or invalidates it; until `stop`.
    pub(super) async fn watch_slot(&self, stop: &CancellationToken) {
        let mut was_bad = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
            // The receiver reports an unavailable server.
            let Ok(mut connection) = self.parameters.connect().await else { continue };
            let slot = slot_facts(&mut connection, &self.slot).await;
            close(connection).await;
            let Ok(Some(slot)) = slot else { continue };
            let pg_wal = slot.data_directory.as_deref().map(|path| Path::new(path).join("pg_wal"));
            let free = pg_wal.filter(|path| path.is_dir()).and_then(|path| free_space(&path).ok());
            match objection(&slot, free) {
                Some(words) => {
                    self.warn(format!("slot `{}`: {words}", self.slot));
                    was_bad = true;
                }
                None if was_bad => {
                    self.note(format!("slot `{}` has recovered", self.slot));
                    was_bad = false;
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_warned_of_before_it_is_lost() {
        let slot = |status: &str, kept: i64, left| SlotState {
            wal_status: Some(status.to_owned()),
            kept: Some(kept << 20),
            left,
            data_directory: None,
        };
        let gib = Some(1 << 30);
        assert_eq!(objection(&slot("reserved", 100, None), gib), None);
        assert_eq!(objection(&slot("extended", 100, Some(900 << 20)), None), None);
        for (slot, free) in [
            (slot("lost", 0, None), None),
            (slot("unreserved", 0, None), gib),
            (slot("reserved", 300, None), gib),
            (slot("extended", 600, Some(400 << 20)), None),
        ] {
            assert!(objection(&slot, free).is_some(), "{slot:?}");
        }
    }
}
