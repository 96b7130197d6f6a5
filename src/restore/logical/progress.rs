//! A connection into the database that is being restored: it shows that a restore is at work there, how far
//! the load is, and when the server is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::marks::AT_WORK;
use crate::event::{Event, Events};
use crate::platform::CancellationToken;
use crate::postgres::ConnectionParameters;

/// How often it polls.
const STEP: Duration = Duration::from_secs(1);
/// How long one query may take.
const WITHIN: Duration = Duration::from_secs(30);
/// A server that has not answered for this long is considered lost.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(300);

pub(super) struct LoadProgress {
    stop: CancellationToken,
    /// Cancelled with the run, and when the server is lost.
    work: CancellationToken,
    is_loading: Arc<AtomicBool>,
    is_lost: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl LoadProgress {
    /// Starts the monitor. `expected`: the likely size in bytes of the database once loaded.
    pub(super) fn begin(
        database: ConnectionParameters,
        expected: Option<u64>,
        events: Events,
        cancel: &CancellationToken,
    ) -> Self {
        let (stop, work) = (CancellationToken::new(), cancel.child_token());
        let (is_loading, is_lost) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let watcher = LoadMonitor {
            database,
            expected,
            events,
            work: work.clone(),
            is_loading: Arc::clone(&is_loading),
            is_lost: Arc::clone(&is_lost),
        };
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                tokio::select! {
                    () = watcher.run() => {}
                    () = stop.cancelled() => {}
                }
            }
        });
        Self { stop, work, is_loading, is_lost, task }
    }

    /// Returns the token that cancels the work in the database.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.work
    }

    /// Returns whether the work was cancelled because the server stopped answering.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::SeqCst)
    }

    /// Turns progress reports on or off.
    pub(super) fn set_loading(&self, loading: bool) {
        self.is_loading.store(loading, Ordering::SeqCst);
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        let _ended = self.task.await;
    }
}

struct LoadMonitor {
    database: ConnectionParameters,
    expected: Option<u64>,
    events: Events,
    work: CancellationToken,
    is_loading: Arc<AtomicBool>,
    is_lost: Arc<AtomicBool>,
}

impl LoadMonitor {
    async fn run(&self) {
        let mut connection: Option<PgConnection> = None;
        let mut answered = Instant::now();
        loop {
            match self.look(&mut connection).await {
                Some(size) => {
                    answered = Instant::now();
                    self.tell(size);
                }
                None => connection = None,
            }
            if answered.elapsed() > LOST_AFTER {
                self.is_lost.store(true, Ordering::SeqCst);
                self.work.cancel();
                return;
            }
            tokio::time::sleep(STEP).await;
        }
    }

    async fn look(&self, connection: &mut Option<PgConnection>) -> Option<u64> {
        if connection.is_none() {
            let mut opened = self.database.connect().await.ok()?;
            let lock = sqlx::query("SELECT pg_try_advisory_lock_shared($1, 0)").bind(AT_WORK);
            tokio::time::timeout(WITHIN, lock.execute(&mut opened)).await.ok()?.ok()?;
            *connection = Some(opened);
        }
        let open = connection.as_mut()?;
        let size =
            sqlx::query_scalar::<_, i64>("SELECT pg_database_size(current_database())").fetch_one(&mut *open);
        let size = tokio::time::timeout(WITHIN, size).await.ok()?.ok()?;
        u64::try_from(size).ok()
    }

    fn tell(&self, size: u64) {
        if self.is_loading.load(Ordering::SeqCst) {
            self.events.emit(&Event::Progress {
                subject: "Loading".to_owned(),
                bytes: size,
                // A copy without the original's dead rows is smaller, or larger where indexes were dense.
                total: self.expected.map(|expected| expected.max(size)),
                estimated: true,
            });
        }
    }
}
