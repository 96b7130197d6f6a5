use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::watch;

use super::WalStream;
use crate::model::{Lsn, Timeline};
use crate::platform::CancellationToken;
use crate::postgres::close;
use crate::wal::LsnTimeline;
use crate::wal::flush_history::LsnSample;

/// The maximum interval between two polls.
const LOOK: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

// A standby may be behind, and has no commits of its own. A receiver reports itself what it has; a role that
// may not read that sees what the server keeps for it.
const SIGHT: &str = "
SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline,
       pg_current_wal_lsn()::text AS end,
       coalesce(r.flush_lsn, s.restart_lsn, '0/0')::text AS received
  FROM pg_replication_slots s JOIN pg_stat_replication r ON r.pid = s.active_pid
 WHERE s.slot_name = $1 AND NOT pg_is_in_recovery()";

#[derive(sqlx::FromRow)]
struct LsnRow {
    timeline: String,
    end: String,
    received: String,
}

impl WalStream {
    /// Polls the server for its flush position, until `stop`. The receiver reports an unavailable server.
    pub(super) async fn sight(&self, sightings: &watch::Sender<Arc<LsnTimeline>>, stop: &CancellationToken) {
        let pause = self.every.min(LOOK);
        while !stop.is_cancelled() {
            if let Ok(mut connection) = self.parameters.connect().await {
                while let Ok(sighting) = self.look(&mut connection).await {
                    if let Some(sighting) = sighting {
                        sightings.send_modify(|horizon| Arc::make_mut(horizon).enter(sighting));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => break,
                    }
                }
                close(connection).await;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// `None`: no receiver is connected, or it is a standby.
    async fn look(&self, connection: &mut PgConnection) -> Result<Option<LsnSample>, sqlx::Error> {
        let at = self.pusher.clock.now();
        let asked = sqlx::query_as::<_, LsnRow>(SIGHT).bind(&self.slot).fetch_optional(connection);
        let row = match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok(answer) => answer?,
            Err(_) => return Err(sqlx::Error::PoolTimedOut),
        };
        Ok(row.and_then(|row| {
            let timeline = u32::from_str_radix(&row.timeline, 16).ok().and_then(Timeline::new)?;
            let lsn = |text: String| text.parse::<Lsn>().ok();
            Some(LsnSample { at, timeline, end: lsn(row.end)?, received: lsn(row.received)? })
        }))
    }
}
