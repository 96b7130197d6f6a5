//! A SQLite database, as a copy of one point in time that was checked.

use async_trait::async_trait;
use thiserror::Error;

use super::capture::{ArtifactSink, Capture, CaptureContext, Captured, SinkError, Source, SourceError};
use super::details::store_details;
use super::manual_restore::{IN_DIRECTORY, plain};
use super::scratch_file::ScratchFile;
use crate::event::{Phase, PhaseTimer};
use crate::model::{BackupKind, Details};
use crate::platform::PrivateScratch;
use crate::policy::SqliteSource;
use crate::sqlite::{SqliteError, check_file, copy_database};
use crate::text::count;

/// The artifact, without the endings of its encoding.
pub const SQLITE_DATABASE: &str = "database.sqlite";

/// A source that is a SQLite database.
#[derive(Debug)]
pub(super) struct SqliteBackups {
    pub(super) kinds: Vec<BackupKind>,
    pub(super) config: SqliteSource,
}

/// Why a SQLite database could not be captured.
#[derive(Debug, Error)]
pub enum SqliteCaptureError {
    #[error(transparent)]
    Database(#[from] SqliteError),
    #[error("failed to write to the scratch directory")]
    Scratch(#[source] std::io::Error),
    #[error("failed to store `{artifact}`")]
    Store { artifact: &'static str, source: SinkError },
}

#[async_trait(?Send)]
impl Source for SqliteBackups {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn prepare(&self, _kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        check_file(&self.config.path).map_err(SourceError::new)?;
        Ok(Box::new(SqliteCapture { config: &self.config }))
    }
}

struct SqliteCapture<'c> {
    config: &'c SqliteSource,
}

#[async_trait(?Send)]
impl Capture for SqliteCapture<'_> {
    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        capture(self.config, context, sink).await.map_err(SourceError::new)
    }
}

async fn capture(
    config: &SqliteSource,
    context: &CaptureContext<'_>,
    sink: &mut dyn ArtifactSink,
) -> Result<Captured, SqliteCaptureError> {
    let mut phases = PhaseTimer::new(context.events);
    phases.begin(Phase::Capture);
    let scratch = PrivateScratch::create().map_err(SqliteCaptureError::Scratch)?;
    let copy = scratch.path().join(SQLITE_DATABASE);
    let copied = copy_database(&config.path, &copy, config.lock_wait, context.clock, context.cancel).await?;
    let facts = copied.inspection.facts;
    let file = ScratchFile::take(&copy).map_err(SqliteCaptureError::Scratch)?;
    let size = file.size();
    let store = |artifact| move |source| SqliteCaptureError::Store { artifact, source };
    let database = sink.store(SQLITE_DATABASE, Box::new(file), Some(size)).await;
    let database = database.map_err(store(SQLITE_DATABASE))?;
    phases.begin(Phase::Details);
    let violations = match facts.foreign_key_violations {
        Some(0) => None,
        Some(violations) => Some(format!(
            "{} to rows that do not exist (`PRAGMA foreign_key_check`)",
            count(violations, "reference")
        )),
        None => Some("its foreign keys cannot be checked".to_owned()),
    };
    for notice in copied.inspection.notices.iter().chain(&violations) {
        context.events.notice(format!("`{}`: {notice}", context.naming.source));
    }
    let counted = format!(
        "{}, {}: integrity checked",
        count(facts.tables.len() as u64, "table"),
        count(facts.rows(), "row")
    );
    context.events.notice(format!("`{}`: {counted}", context.naming.source));
    let details = Details { sqlite: Some(facts), ..Details::default() };
    let details = store_details(sink, &details).await.map_err(store("details.json"))?;
    phases.end();
    let manual_restore = vec![
        IN_DIRECTORY.to_owned(),
        format!("{} > {SQLITE_DATABASE}", plain(&database)),
        format!("echo '{}  {SQLITE_DATABASE}' | sha256sum --check", database.plain.sha256),
        format!("sqlite3 {SQLITE_DATABASE} 'PRAGMA integrity_check'"),
        "# no -wal, -shm or -journal of another database may be beside it where the application opens it"
            .to_owned(),
    ];
    let producer = format!("SQLite {}", rusqlite::version());
    let captured = Captured::of_content(copied.recovery_point, producer, vec![database, details]);
    Ok(Captured { manual_restore, ..captured })
}
