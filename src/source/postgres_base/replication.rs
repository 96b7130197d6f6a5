use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::sync::Notify;

use super::backup_manifest::{RangeError, WalRange, wal_range};
use super::checksum_report::{damage_in, is_all};
use super::completeness::Completeness;
use super::copied::{BASE, BaseBackupCopy};
use super::error::BaseError;
use super::manifest_cache::ManifestCache;
use super::missing_files::MissingFiles;
use super::prepare::{BaseBackupCapture, SettingsReader};
use super::query::ask;
use super::skipped_files::{Skipped, skipped_in};
use super::tar_inspector::TarWatch;
use super::wal_filter::WalFilter;
use crate::event::Events;
use crate::model::{DamagedPage, Digest};
use crate::pipeline::Produce;
use crate::platform::{CancellationToken, Piped, ProcessError, seed};
use crate::postgres::Tools;
use crate::source::capture::ArtifactSink;
use crate::source::libpq::KEEPALIVES;
use crate::text::format_duration;

/// At most five lines per damaged file, and other messages.
const STDERR_LINES: usize = 5_000;
/// The server waits indefinitely for its WAL to be archived before it ends a copy. A longer copy is waited
/// for as long as it took.
const ARCHIVED_WITHIN: Duration = Duration::from_secs(600);
/// Allows for the checkpoint of a large server with many dirty pages.
const BEGUN_WITHIN: Duration = Duration::from_secs(3600);
/// Bytes awaited before anything is stored.
const FIRST: usize = 64 << 10;
const TOLD_AFTER: Duration = Duration::from_secs(60);

/// A `pg_basebackup` whose first bytes have arrived: at this point the server has accepted all of it.
pub(super) struct StartedCopy {
    child: Piped,
    first: Vec<u8>,
    /// The `application_name` of its connection.
    name: String,
    /// The server does not wait until its WAL is archived, and includes it.
    has_wal: bool,
}

/// Begins a copy, or an incremental one based on the given manifest.
pub(super) async fn begin(
    prepared: &BaseBackupCapture,
    tools: &Tools,
    since: Option<&Path>,
    stop: &CancellationToken,
) -> Result<StartedCopy, BaseError> {
    let server = prepared.parameters.to_string();
    let name = format!("drctl base {:08x}", seed());
    // A server that includes its WAL does not wait until that is archived; WAL that is not archived still
    // exists on it.
    let has_wal = prepared.archiving_fails.is_some();
    let wal = if has_wal { "--wal-method=fetch" } else { "--wal-method=none" };
    let mut program = tools
        .program("pg_basebackup")
        .map_err(|source| BaseError::Tools { server: server.clone(), source })?
        .args(["--format=tar", "--pgdata=-", wal, "--checkpoint=fast", "--no-password"])
        .arg("--label=drctl")
        .arg(format!("--dbname={KEEPALIVES} application_name='{name}'"))
        .keep_stderr(STDERR_LINES);
    if let Some(list) = since {
        let mut argument = OsString::from("--incremental=");
        argument.push(list);
        program = program.arg(argument);
    }
    let started = |source| BaseError::Start { server: server.clone(), source };
    // Cancelling this alone lets the run continue with something else.
    let stop = stop.child_token();
    let mut child = prepared.parameters.apply(program).await?.pipe(&stop).map_err(started)?;
    let begun = tokio::task::spawn_blocking(move || {
        let mut first = vec![0; FIRST];
        match child.read(&mut first) {
            Ok(count) if count > 0 => {
                first.truncate(count);
                Ok(StartedCopy { child, first, name, has_wal })
            }
            // There was no output: its exit status says why.
            Ok(_) => Err(child.finish().err()),
            Err(source) => {
                let program = "pg_basebackup".to_owned();
                Err(Some(ProcessError::Follow { program, source }))
            }
        }
    });
    match tokio::time::timeout(BEGUN_WITHIN, begun).await {
        Ok(Ok(Ok(begun))) => Ok(begun),
        Ok(Ok(Err(Some(source)))) => Err(started(source)),
        Ok(Ok(Err(None)) | Err(_)) => Err(BaseError::Range { server, source: RangeError::None }),
        Err(_) => {
            stop.cancel();
            let program = "pg_basebackup".to_owned();
            Err(started(ProcessError::Deadline { program, deadline: BEGUN_WITHIN }))
        }
    }
}

impl StartedCopy {
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }
}

/// Terminates the remaining session of a copy on the server. While that waits for its WAL to be archived, it
/// does not notice that its client is gone, and occupies one of the few WAL senders.
pub(super) async fn release(connection: &mut PgConnection, server: &str, name: &str, events: &Events) {
    let ended = sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = $1 AND usename = current_user",
    )
    .bind(name)
    .execute(connection);
    if let Err(error) = ask(server, ended).await {
        events.warning(format!(
            "what the server still does for the copy could not be ended (it is `{name}` in pg_stat_activity): {}",
            crate::text::error_chain(&error)
        ));
    }
}

/// Makes the server retain its WAL until the connection ends, so that it can send it at the end of a copy.
pub(super) async fn retain_wal(connection: &mut PgConnection, server: &str, events: &Events) {
    let name = format!("drctl_base_{:08x}", seed());
    let made = sqlx::query("SELECT pg_create_physical_replication_slot($1, true, true)");
    if let Err(error) = ask(server, made.bind(name).execute(connection)).await {
        events.warning(format!(
            "the server does not keep its WAL for the copy, which fails where it is archived and removed meanwhile: {}",
            crate::text::error_chain(&error)
        ));
    }
}

/// What is known of a copy in advance.
pub(super) struct Expected<'a> {
    pub(super) presence: Completeness,
    /// Bytes.
    pub(super) estimate: Option<u64>,
    /// Where its `backup_manifest` is cached.
    pub(super) keep: Option<&'a Path>,
}

/// Stores the output of `pg_basebackup`.
pub(super) async fn copy(
    prepared: &BaseBackupCapture,
    begun: StartedCopy,
    Expected { presence, estimate, keep }: Expected<'_>,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    stop: &CancellationToken,
) -> Result<BaseBackupCopy, BaseError> {
    let server = prepared.parameters.to_string();
    let SettingsReader::Replication(tools) = &prepared.reader else {
        return Err(BaseError::Range { server, source: RangeError::None });
    };
    let seen = Arc::new(CopyProgress::default());
    let stream = ReplicationStream {
        child: begun.child,
        first: io::Cursor::new(begun.first),
        filter: begun.has_wal.then(WalFilter::default),
        filtered: io::Cursor::default(),
        watch: TarWatch::new(presence),
        keeping: keep.map(ManifestCache::begin),
        seen: Arc::clone(&seen),
        events: events.clone(),
    };
    let storing = sink.store(BASE, Box::new(stream), estimate);
    let copying = Instant::now();
    let outcome = {
        tokio::pin!(storing);
        tokio::select! {
            stored = &mut storing => stored,
            waited = archived_too_late(&seen, copying, events), if !begun.has_wal => {
                stop.cancel();
                let _stopped = storing.await;
                return Err(BaseError::NotArchived { server, waited });
            }
        }
    };
    let artifact = outcome.map_err(|source| BaseError::Store { server: server.clone(), source })?;
    let mut end = seen.end.lock().unwrap_or_else(PoisonError::into_inner);
    let nothing = || BaseError::Range { server: server.clone(), source: RangeError::None };
    let End { range, damaged, skipped, presence, kept } = end.take().ok_or_else(nothing)?;
    let range = range.map_err(|source| BaseError::Range { server: server.clone(), source })?;
    let producer = version(tools);
    let lacking = skipped.needed.into_iter().map(|path| MissingFiles {
        path,
        database: None,
        why: "is a link, which a replication connection does not follow",
    });
    Ok(BaseBackupCopy {
        artifacts: vec![artifact],
        range,
        damaged,
        left_out: skipped.left_out,
        lacking: lacking.collect(),
        presence,
        producer,
        kept,
    })
}

/// Returns when the server has used up its time to archive its WAL; returns that time.
async fn archived_too_late(seen: &CopyProgress, copying: Instant, events: &Events) -> Duration {
    seen.all_files.notified().await;
    let within = ARCHIVED_WITHIN.max(copying.elapsed());
    tokio::time::sleep(TOLD_AFTER).await;
    events.warning(format!(
        "everything is copied, and the server still waits for its WAL to be archived (`drctl wal status` says why); giving up in {}",
        format_duration(Duration::from_secs((within - TOLD_AFTER).as_secs()))
    ));
    tokio::time::sleep(within - TOLD_AFTER).await;
    within
}

fn version(tools: &Tools) -> String {
    tools.version.replacen("pg_dump", "pg_basebackup", 1)
}

/// What was seen of the stream.
#[derive(Default)]
struct CopyProgress {
    all_files: Notify,
    end: Mutex<Option<End>>,
}

struct End {
    range: Result<WalRange, RangeError>,
    damaged: Vec<DamagedPage>,
    skipped: Skipped,
    presence: Completeness,
    kept: Option<Digest>,
}

/// A running `pg_basebackup`, which succeeds only if the complete copy was received.
struct ReplicationStream {
    child: Piped,
    first: io::Cursor<Vec<u8>>,
    filter: Option<WalFilter>,
    filtered: io::Cursor<Vec<u8>>,
    watch: TarWatch,
    keeping: Option<ManifestCache>,
    seen: Arc<CopyProgress>,
    events: Events,
}

impl ReplicationStream {
    /// Reads the program's next output.
    fn written(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.first.read(buffer)? {
            0 => self.child.read(buffer),
            count => Ok(count),
        }
    }

    /// Reads the same, without any WAL in it.
    fn next(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.filter.is_none() {
            return self.written(buffer);
        }
        loop {
            match self.filtered.read(buffer)? {
                0 => {}
                count => return Ok(count),
            }
            let count = self.written(buffer)?;
            let Some(filter) = &mut self.filter else { return Ok(count) };
            let kept = if count == 0 { filter.end() } else { filter.keep(&buffer[..count]) };
            if count == 0 && kept.is_empty() {
                return Ok(0);
            }
            self.filtered = io::Cursor::new(kept);
        }
    }
}

impl Read for ReplicationStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.next(buffer)?;
        let before = self.watch.has_control();
        let keeping = &mut self.keeping;
        self.watch.feed(&buffer[..count], |listed| {
            if let Some(keeping) = keeping {
                keeping.write(listed);
            }
        });
        if self.watch.has_control() && !before {
            self.seen.all_files.notify_one();
        }
        Ok(count)
    }
}

impl Produce for ReplicationStream {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        let said = match self.child.finish() {
            Ok(said) => said,
            // It exits so after everything else was received, and the copy is as good as the cluster.
            Err(ProcessError::Failed { code: Some(1), stderr, .. }) if is_all(&stderr) => stderr,
            Err(error) => return Err(error.into()),
        };
        let (tail, presence) = self.watch.finish()?;
        let damaged = damage_in(&said);
        for line in said.iter().filter(|line| line.starts_with("WARNING:")) {
            self.events.warning(line.clone());
        }
        let kept = self.keeping.and_then(|keeping| match keeping.end() {
            Ok(digest) => Some(digest),
            Err(error) => {
                self.events.warning(format!(
                    "the next base backup will be a full one: the list of this one's files could not be kept: {error}"
                ));
                None
            }
        });
        let mut end = self.seen.end.lock().unwrap_or_else(PoisonError::into_inner);
        *end = Some(End { range: wal_range(&tail), damaged, skipped: skipped_in(&said), presence, kept });
        Ok(said)
    }
}
