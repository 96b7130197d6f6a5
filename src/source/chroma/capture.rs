use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;

use super::collections::{collections, live_positions, vector_positions};
use super::segments::{Beside, archive};
use super::{CHROMA_DATABASE, CHROMA_SEGMENTS};
use crate::event::{Phase, PhaseTimer};
use crate::model::{BackupKind, ChromaFacts, Details};
use crate::platform::{PrivateScratch, free_space};
use crate::policy::ChromaSource;
use crate::source::capture::{
    ArtifactSink, Capture, CaptureContext, Captured, SinkError, Source, SourceError,
};
use crate::source::details::store_details;
use crate::source::manual_restore::{IN_DIRECTORY, plain};
use crate::source::scratch_file::ScratchFile;
use crate::sqlite::{SqliteError, check_file, copy_database, open_copy};
use crate::text::{count, format_size};

/// Between two attempts; each waits once more.
const PAUSE: Duration = Duration::from_secs(1);
/// Room that is left beside a copy.
const MARGIN: u64 = 16 << 20;

/// A source that is a directory of ChromaDB.
#[derive(Debug)]
pub(in crate::source) struct ChromaBackups {
    pub(in crate::source) kinds: Vec<BackupKind>,
    pub(in crate::source) config: ChromaSource,
}

/// Why a directory of ChromaDB could not be captured.
#[derive(Debug, Error)]
pub enum ChromaCaptureError {
    #[error(transparent)]
    Database(#[from] SqliteError),
    #[error("`{}` is no database of ChromaDB: it lacks its tables", .0.display())]
    NoChroma(PathBuf),
    #[error("failed to read the indexes in `{}`", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("failed to write to the scratch directory")]
    Scratch(#[source] std::io::Error),
    #[error(
        "a copy of {} does not fit into `{}`, which has {} free: make room, or name another directory by `TMPDIR`",
        format_size(*.needed), .directory.display(), format_size(*.free)
    )]
    NoSpace { directory: PathBuf, free: u64, needed: u64 },
    #[error(
        "the indexes were written to during each of {}: a copy would lack vectors; pause what writes to ChromaDB during the backup, or raise `attempts`",
        count(u64::from(*.0), "attempt")
    )]
    NeverStill(u32),
    #[error("failed to store `{artifact}`")]
    Store { artifact: &'static str, source: SinkError },
    #[error("interrupted")]
    Interrupted,
}

#[async_trait(?Send)]
impl Source for ChromaBackups {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn prepare(&self, _kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        check_file(&self.config.path.join(CHROMA_DATABASE)).map_err(SourceError::new)?;
        Ok(Box::new(ChromaCapture { config: &self.config }))
    }
}

struct ChromaCapture<'c> {
    config: &'c ChromaSource,
}

#[async_trait(?Send)]
impl Capture for ChromaCapture<'_> {
    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        self.capture(context, sink).await.map_err(SourceError::new)
    }
}

/// A copy in scratch during which no index changed.
struct StillCopy {
    scratch: PrivateScratch,
    recovery_point: DateTime<Utc>,
    facts: ChromaFacts,
    notices: Vec<String>,
    left_out: Vec<PathBuf>,
}

impl ChromaCapture<'_> {
    async fn capture(
        &self,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, ChromaCaptureError> {
        let mut phases = PhaseTimer::new(context.events);
        phases.begin(Phase::Capture);
        let copy = self.still_copy(context).await?;
        let store = |artifact| move |source| ChromaCaptureError::Store { artifact, source };
        let mut artifacts = vec![];
        for name in [CHROMA_DATABASE, CHROMA_SEGMENTS] {
            let file =
                ScratchFile::take(&copy.scratch.path().join(name)).map_err(ChromaCaptureError::Scratch)?;
            let size = file.size();
            artifacts.push(sink.store(name, Box::new(file), Some(size)).await.map_err(store(name))?);
        }
        phases.begin(Phase::Details);
        let source = context.naming.source;
        let embeddings = copy.facts.collections.iter().map(|collection| collection.embeddings).sum();
        context.events.notice(format!(
            "`{source}`: {}, {}: integrity checked",
            count(copy.facts.collections.len() as u64, "collection"),
            count(embeddings, "embedding")
        ));
        for notice in &copy.notices {
            context.events.notice(format!("`{source}`: {notice}"));
        }
        let manual_restore = vec![
            IN_DIRECTORY.to_owned(),
            "mkdir restored".to_owned(),
            format!("{} > restored/{CHROMA_DATABASE}", plain(&artifacts[0])),
            format!("echo '{}  restored/{CHROMA_DATABASE}' | sha256sum --check", artifacts[0].plain.sha256),
            format!("{} | tar -x -C restored --no-same-owner", plain(&artifacts[1])),
            format!("sqlite3 restored/{CHROMA_DATABASE} 'PRAGMA integrity_check'"),
            "# `restored` is the directory that ChromaDB opens: both belong together, neither works with another backup's".to_owned(),
        ];
        let details = Details { chroma: Some(copy.facts), ..Details::default() };
        artifacts.push(store_details(sink, &details).await.map_err(store("details.json"))?);
        phases.end();
        // Their names may say something.
        let excluded = match copy.left_out.len() as u64 {
            0 => vec![],
            many => vec![format!("{} (links, sockets)", count(many, "special file"))],
        };
        let captured =
            Captured::of_content(copy.recovery_point, format!("SQLite {}", rusqlite::version()), artifacts);
        Ok(Captured { manual_restore, excluded, ..captured })
    }

    async fn still_copy(&self, context: &CaptureContext<'_>) -> Result<StillCopy, ChromaCaptureError> {
        for attempt in 1..=self.config.attempts {
            if attempt > 1 {
                let source = context.naming.source;
                context.events.notice(format!("`{source}`: an index was written to meanwhile: copied again"));
                tokio::select! {
                    () = tokio::time::sleep(PAUSE * (attempt - 1)) => {}
                    () = context.cancel.cancelled() => return Err(ChromaCaptureError::Interrupted),
                }
            }
            if let Some(copy) = self.try_copy(context).await? {
                return Ok(copy);
            }
        }
        Err(ChromaCaptureError::NeverStill(self.config.attempts))
    }

    /// Copies the database, then the indexes; `None` where an index changed meanwhile.
    async fn try_copy(&self, context: &CaptureContext<'_>) -> Result<Option<StillCopy>, ChromaCaptureError> {
        let root = self.config.path.clone();
        let read = |source| ChromaCaptureError::Read { path: self.config.path.clone(), source };
        let before = Beside::list(&root).map_err(read)?;
        let scratch = PrivateScratch::create().map_err(ChromaCaptureError::Scratch)?;
        check_room(scratch.path(), before.bytes())?;
        let (live, copy) = (root.join(CHROMA_DATABASE), scratch.path().join(CHROMA_DATABASE));
        let lock_wait = self.config.lock_wait;
        let copied = copy_database(&live, &copy, lock_wait, context.clock, context.cancel).await?;
        let no_chroma = |_| ChromaCaptureError::NoChroma(live.clone());
        let (collections, positions) = {
            let database = open_copy(&copy)?;
            (collections(&database).map_err(no_chroma)?, vector_positions(&database).map_err(no_chroma)?)
        };
        let (from, listed, to) = (root.clone(), before.clone(), scratch.path().join(CHROMA_SEGMENTS));
        let (cancel, path, header) = (context.cancel.clone(), live.clone(), copied.header);
        let blocking = tokio::task::spawn_blocking(move || {
            let archived = archive(&from, &listed, &to, &cancel);
            let after = Beside::list(&from)?;
            Ok::<_, std::io::Error>((archived, after, live_positions(&path, header, lock_wait)))
        });
        let (archived, after, now) = blocking.await.map_err(|_| SqliteError::Stopped)?.map_err(read)?;
        if context.cancel.is_cancelled() {
            return Err(ChromaCaptureError::Interrupted);
        }
        // Of the files beside the indexes only one that could not be read counts.
        if !before.has_same_indexes(&after) || (archived.is_err() && before != after) {
            return Ok(None);
        }
        let failed = |source| SqliteError::Query { doing: "read", path: live.clone(), source };
        if now.map_err(failed)? != positions {
            return Ok(None);
        }
        archived.map_err(read)?;
        Ok(Some(StillCopy {
            scratch,
            recovery_point: copied.recovery_point,
            facts: ChromaFacts { database: copied.inspection.facts, collections, files: before.facts() },
            notices: copied.inspection.notices,
            left_out: before.left_out,
        }))
    }
}

fn check_room(directory: &Path, needed: u64) -> Result<(), ChromaCaptureError> {
    let free = free_space(directory).map_err(ChromaCaptureError::Scratch)?;
    if free >= needed.saturating_add(MARGIN) {
        return Ok(());
    }
    Err(ChromaCaptureError::NoSpace { directory: directory.to_owned(), free, needed })
}
