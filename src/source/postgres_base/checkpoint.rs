use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::query::ask;
use crate::event::Events;
use crate::model::{Checkpoint, Timeline};
use crate::text::error_chain;

// Of a primary the checkpoint that the copy began with, or a later one; of a standby that of its last restartpoint.
const CHECKPOINT: &str = "
SELECT checkpoint_lsn::text, redo_lsn::text, timeline_id, extract(epoch FROM checkpoint_time)::int8
  FROM pg_control_checkpoint()";

/// Returns the newest checkpoint of a server that began a copy: it is in the WAL that the copy needs. `None`: it
/// cannot be queried, and events say so.
pub(super) async fn read(connection: &mut PgConnection, server: &str, events: &Events) -> Option<Checkpoint> {
    let asked = sqlx::query_as(CHECKPOINT).fetch_one(connection);
    let answered: Result<(String, String, i32, i64), _> = ask(server, asked).await;
    let parse = |(at, redo, timeline, time): (String, String, i32, i64)| {
        Some(Checkpoint {
            at: at.parse().ok()?,
            redo: redo.parse().ok()?,
            timeline: Timeline::new(u32::try_from(timeline).ok()?)?,
            time: DateTime::<Utc>::from_timestamp(time, 0)?,
        })
    };
    match answered {
        Ok(answer) => parse(answer),
        Err(error) => {
            events.warning(format!("the server's checkpoint is not known: {}", error_chain(&error)));
            None
        }
    }
}
