//! A table that says, row by row, what a recovery to a moment must bring back; and what one brought back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use drctl::platform::is_alive;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::task::JoinHandle;

use super::Outcome;
use super::archiving::Archiving;
use super::postgres::{Cluster, ClusterOptions, SUPERUSER};
use super::system::Run;

const WITHIN: Duration = Duration::from_secs(30);
/// Commits further apart than this are in the log as their times say.
const APART: TimeDelta = TimeDelta::milliseconds(2);

/// A server that knows when each transaction was committed.
pub(crate) fn options(major: u32) -> ClusterOptions {
    ClusterOptions::new(major).setting("track_commit_timestamp", "on").setting("log_checkpoints", "off")
}

/// A row, and its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) n: i64,
    pub(crate) xid: i64,
    pub(crate) committed: DateTime<Utc>,
}

/// Everything that was ever committed, in the order of the times.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(pub(crate) Vec<Entry>);

impl Ledger {
    pub(crate) async fn create(cluster: &Cluster) -> Outcome<()> {
        let table = "CREATE TABLE ledger (n bigserial PRIMARY KEY, note text)";
        cluster.execute("postgres", &[table, "INSERT INTO ledger (note) VALUES ('first')"]).await
    }

    pub(crate) async fn read(cluster: &Cluster) -> Outcome<Self> {
        let mut connection = cluster.connect("postgres").await?;
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT n, xmin::text::int8, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::int8
               FROM ledger ORDER BY 3, 1",
        )
        .fetch_all(&mut connection)
        .await?;
        connection.close().await?;
        let entry = |(n, xid, at)| Some(Entry { n, xid, committed: DateTime::from_timestamp_micros(at)? });
        Ok(Self(rows.into_iter().filter_map(entry).collect()))
    }

    /// The numbers of what was committed until then.
    pub(crate) fn until(&self, time: DateTime<Utc>) -> Vec<i64> {
        let mut numbers: Vec<_> = self.0.iter().filter(|e| e.committed <= time).map(|e| e.n).collect();
        numbers.sort_unstable();
        numbers
    }

    /// A commit in the middle, with some time before and after it, among those after `since`.
    pub(crate) fn middle(&self, since: DateTime<Utc>) -> Outcome<Entry> {
        let later: Vec<_> = self.0.iter().filter(|entry| entry.committed > since).collect();
        let lone = later.windows(3).filter(|three| {
            three[1].committed - three[0].committed > APART && three[2].committed - three[1].committed > APART
        });
        let lone: Vec<_> = lone.map(|three| *three[1]).collect();
        Ok(*lone.get(lone.len() / 2).ok_or("no commit stands alone")?)
    }

    /// The middle of the longest pause between commits in that time: others can be in the log a little before
    /// or after what their times say.
    pub(crate) fn pause(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Outcome<DateTime<Utc>> {
        let within = self.0.iter().map(|entry| entry.committed).filter(|time| *time > from && *time < to);
        let times: Vec<_> = std::iter::once(from).chain(within).chain([to]).collect();
        let longest = times.windows(2).max_by_key(|two| two[1] - two[0]).ok_or("no time at all")?;
        Ok(longest[0] + (longest[1] - longest[0]) / 2)
    }
}

/// Connections that insert rows, each in a transaction of its own, until they are ended.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Outcome<()>>>,
}

impl Writers {
    pub(crate) async fn start(cluster: &Cluster) -> Outcome<Self> {
        let stop = Arc::<AtomicBool>::default();
        let mut tasks = Vec::new();
        for writer in 0..3 {
            let mut connection = cluster.connect("postgres").await?;
            let stop = Arc::clone(&stop);
            tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let insert = format!("INSERT INTO ledger (note) VALUES (repeat('writer {writer}', 40))");
                    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut connection).await?;
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(5..40))).await;
                }
                Ok(connection.close().await?)
            }));
        }
        Ok(Self { stop, tasks })
    }

    pub(crate) async fn end(self) -> Outcome<()> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await??;
        }
        Ok(())
    }
}

/// What stood in the ledger while nobody could write, and where in the log that was.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) numbers: Vec<i64>,
    pub(crate) lsn: String,
}

impl Mark {
    /// Also makes a restore point.
    pub(crate) async fn make(cluster: &Cluster, name: &str) -> Outcome<Self> {
        let mut connection = cluster.connect("postgres").await?;
        let mut transaction = connection.begin().await?;
        sqlx::raw_sql("LOCK TABLE ledger IN EXCLUSIVE MODE").execute(&mut *transaction).await?;
        let numbers =
            sqlx::query_scalar("SELECT n FROM ledger ORDER BY n").fetch_all(&mut *transaction).await?;
        let lsn = sqlx::query_scalar("SELECT pg_current_wal_insert_lsn()::text");
        let lsn = lsn.fetch_one(&mut *transaction).await?;
        let point = format!("SELECT pg_create_restore_point('{name}')");
        sqlx::raw_sql(AssertSqlSafe(point)).execute(&mut *transaction).await?;
        // So that what comes after is later, by more than clocks can tell.
        tokio::time::sleep(Duration::from_millis(5)).await;
        transaction.rollback().await?;
        connection.close().await?;
        Ok(Self { numbers, lsn })
    }
}

/// A server that `drctl restore --start` left running. Dropping it ends it and deletes its directory.
pub(crate) struct Restored {
    pub(crate) to: PathBuf,
    pub(crate) report: serde_json::Value,
    port: u16,
    process: i32,
}

impl Restored {
    /// By the report of the command.
    pub(crate) fn of(to: PathBuf, report: serde_json::Value) -> Outcome<Self> {
        let started = &report["details"]["started"];
        let number = |name: &str| started[name].as_i64().ok_or_else(|| format!("no {name}: {report:#}"));
        let (port, process) = (u16::try_from(number("port")?)?, i32::try_from(number("process")?)?);
        Ok(Self { to, port, process, report })
    }

    pub(crate) async fn connect(&self) -> Outcome<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(SUPERUSER)
            .database("postgres");
        Ok(tokio::time::timeout(WITHIN, options.connect()).await??)
    }

    pub(crate) async fn text(&self, query: &str) -> Outcome<String> {
        let mut connection = self.connect().await?;
        let query = format!("SELECT ({query})::text");
        let text = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(text)
    }

    pub(crate) async fn numbers(&self) -> Outcome<Vec<i64>> {
        let mut connection = self.connect().await?;
        let numbers =
            sqlx::query_scalar("SELECT n FROM ledger ORDER BY n").fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok(numbers)
    }
}

impl Restored {
    /// Ends the server at once, and leaves its directory.
    pub(crate) fn leave(mut self) -> PathBuf {
        self.end();
        std::mem::take(&mut self.to)
    }

    fn end(&mut self) {
        let Some(process) = Pid::from_raw(self.process) else { return };
        let _asked = kill_process(process, Signal::QUIT);
        for _ in 0..400 {
            if !is_alive(process) {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if !self.to.as_os_str().is_empty() {
            self.end();
            let _gone = std::fs::remove_dir_all(&self.to);
        }
    }
}

impl Archiving {
    /// `drctl restore` with these options, into a directory of this name.
    pub(crate) async fn recover(&self, name: &str, options: &[&str]) -> Outcome<Run> {
        let to = self.system.path().join(name).display().to_string();
        let identity = self.system.operational.display().to_string();
        let command = ["restore", "database", "--to", &to, "--identity", &identity];
        self.run_as_server(&[&command, options].concat()).await
    }

    /// The same, and it must end with a server.
    pub(crate) async fn recovered(&self, name: &str, options: &[&str]) -> Outcome<Restored> {
        let run = self.recover(name, &[options, &["--start", "--output", "json"]].concat()).await?;
        if run.code != Some(0) {
            return Err(format!("restore {options:?}: {run:#?}").into());
        }
        Restored::of(self.system.path().join(name), run.document()?)
    }

    /// The same, and it must be refused with this exit status, leaving nothing.
    pub(crate) async fn unrecovered(&self, code: i32, options: &[&str]) -> Outcome<Run> {
        let run = self.recover("refused", options).await?;
        if run.code != Some(code) {
            return Err(format!("restore {options:?}: {run:#?}").into());
        }
        let path: &Path = &self.system.path().join("refused");
        if path.exists() { Err(format!("{} was made: {run:#?}", path.display()).into()) } else { Ok(run) }
    }
}
