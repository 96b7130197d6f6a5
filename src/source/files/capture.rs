use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::archive::{Session, SessionParts};
use super::error::FilesError;
use super::index::{INDEX, PathBytes};
use super::manual_restore::commands;
use super::patterns::Patterns;
use super::read_entry::Reading;
use super::roots::Roots;
use super::scanned::{Scan, Scanned, archive_limit, scan};
use super::state::{self, IndexWriter, private};
use super::{DELETED, archive_name, is_archive};
use crate::event::{Events, Phase, PhaseTimer};
use crate::model::{Artifact, BackupKind, Details, FilesDetails, Manifest};
use crate::pipeline::{MemoryProducer, Produce};
use crate::platform::{Accounts, scratch_directory};
use crate::policy::FilesSource;
use crate::source::capture::{
    ArtifactSink, Capture, CaptureContext, Captured, DETAILS, Requirements, SourceError,
};
use crate::source::incremental::{BasePlan, BaseScope, ContentSupport, IncrementalSupport};
use crate::source::kept_list::unfinished;
use crate::source::thread_producer::ThreadProducer;
use crate::text::error_chain;

/// Files whose roots are open.
pub(super) struct FilesCapture<'c> {
    pub(super) roots: Roots,
    pub(super) patterns: Arc<Patterns>,
    pub(super) fingerprint: String,
    pub(super) config: &'c FilesSource,
}

#[async_trait(?Send)]
impl Capture for FilesCapture<'_> {
    fn requirements(&self) -> Requirements {
        Requirements {
            incremental: Some(IncrementalSupport::Content(ContentSupport {
                kind: BackupKind::Files,
                most: self.config.incrementals,
                fingerprint: self.fingerprint.clone(),
                check: state::check,
                weigh: archive_bytes,
            })),
            ..Requirements::default()
        }
    }

    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        capture(*self, context, sink).await.map_err(SourceError::new)
    }
}

/// Returns the bytes of a backup's archives.
fn archive_bytes(manifest: &Manifest) -> u64 {
    let archives = manifest.artifacts.iter().filter(|artifact| is_archive(&artifact.name));
    archives.map(|artifact| artifact.plain.size).sum()
}

async fn capture(
    prepared: FilesCapture<'_>,
    context: &CaptureContext<'_>,
    sink: &mut dyn ArtifactSink,
) -> Result<Captured, FilesError> {
    let FilesCapture { roots, patterns, fingerprint, config } = prepared;
    let mut phases = PhaseTimer::new(context.events);
    phases.begin(Phase::Inspect);
    report_scope(context.base, context.events);
    let begun = context.clock.now();
    let before: &[Manifest] =
        context.base.since().and_then(|since| since.chain.as_deref().ok()).unwrap_or_default();
    let since = context.base.since().map(|since| (since.list.clone(), since.manifest.id.to_string()));
    let folder = folder(context.base.keep.as_deref())?;
    let root_names = roots.tops.iter().map(|root| PathBytes(root.path.clone()).text()).collect();

    let (scanned, roots) = {
        let (folder, cancel, one_file_system) =
            (folder.clone(), context.cancel.clone(), config.one_file_system);
        let is_own = context.base.keep.is_some();
        let scanning = tokio::task::spawn_blocking(move || {
            let (roots, patterns) = (roots, patterns);
            let scanned = scan(&Scan {
                roots: &roots,
                patterns: &patterns,
                one_file_system,
                since,
                folder: &folder,
                is_own,
                cancel: &cancel,
            });
            scanned.map(|scanned| (scanned, roots))
        });
        scanning.await.map_err(|_| FilesError::Thread)??
    };
    let Scanned { list, deleted, mut tally, planned, touched } = scanned;
    phases.begin(Phase::Capture);
    tally.details = FilesDetails {
        roots: root_names,
        include: config.include.clone(),
        exclude: config.exclude.clone(),
        one_file_system: config.one_file_system,
        ..tally.details
    };
    let failed = |source| FilesError::List { folder: folder.clone(), source };
    let kept = match &context.base.keep {
        Some(keep) => private(&unfinished(keep)),
        None => tempfile::tempfile_in(&folder),
    };
    let limit = archive_limit(planned);
    let session = Session::new(SessionParts {
        reading: Arc::new(Reading { roots, accounts: Accounts::of_this_host() }),
        list,
        index: IndexWriter::new(kept.map_err(failed)?),
        deleted,
        tally,
        backup: u32::try_from(before.len()).unwrap_or(u32::MAX),
        limit,
        touched,
        folder: folder.clone(),
    });
    let shared = Arc::new(Mutex::new((session, false)));
    let mut artifacts = Vec::new();
    let is_only = planned <= limit;
    for number in 1.. {
        let (session, cancel) = (Arc::clone(&shared), context.cancel.clone());
        let producer = ThreadProducer::start(move |out| {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            session.1 = session.0.archive(number, out, &cancel)?;
            Ok(())
        });
        let estimate = if is_only { planned } else { limit };
        let stored = sink.store(&archive_name(number, is_only), Box::new(producer), Some(estimate)).await;
        artifacts.push(stored.map_err(FilesError::Store)?);
        if shared.lock().unwrap_or_else(PoisonError::into_inner).1 {
            break;
        }
    }
    let (session, _) =
        Arc::into_inner(shared).and_then(|shared| shared.into_inner().ok()).ok_or(FilesError::Thread)?;
    let Session { index, deleted, tally, .. } = session;
    let begun_nanos = begun.timestamp_nanos_opt().unwrap_or(i64::MIN);
    let (index, index_bytes) = index.end(context.naming.backup, &fingerprint, begun_nanos).map_err(failed)?;
    let (deleted_count, deleted_bytes) = (deleted.count, deleted.bytes);
    let deleted = deleted.end().map_err(failed)?;
    if !before.is_empty() && deleted_count > 0 {
        let file = FileProducer::new(deleted, deleted_bytes).map_err(failed)?;
        artifacts
            .push(sink.store(DELETED, Box::new(file), Some(deleted_bytes)).await.map_err(FilesError::Store)?);
    }
    phases.begin(Phase::Details);
    if index_bytes > 0 {
        let file = FileProducer::new(index, index_bytes).map_err(failed)?;
        artifacts
            .push(sink.store(INDEX, Box::new(file), Some(index_bytes)).await.map_err(FilesError::Store)?);
    }
    // Only a directory that others may not enter gets a file with names.
    let written = context.base.keep.as_ref().map_or(Ok(None), |_| tally.write_problems(&folder));
    let problems = match written {
        Ok(problems) => problems,
        Err(error) => {
            context.events.warning(format!(
                "the names of what could not be read were not written to `{}`: {error}",
                folder.display()
            ));
            None
        }
    };
    let (warnings, excluded) = (tally.warnings(problems.as_deref()), tally.excluded());
    if tally.vanished > 0 {
        context.events.notice(format!("{} entries were removed while the files were read", tally.vanished));
    }
    artifacts.push(store_details(tally.details, sink).await?);
    phases.end();
    let parent = before.last().map(|manifest| manifest.id.clone());
    let manual_restore = commands(before, context.naming.backup, &artifacts);
    let producer = format!("drctl {}", env!("CARGO_PKG_VERSION"));
    let captured = Captured::of_content(begun, producer, artifacts);
    Ok(Captured { parent, warnings, excluded, manual_restore, ..captured })
}

async fn store_details(files: FilesDetails, sink: &mut dyn ArtifactSink) -> Result<Artifact, FilesError> {
    let details = Details { files: Some(files), ..Details::default() };
    let text = serde_json::to_vec_pretty(&details).map_err(FilesError::Details)?;
    sink.store(DETAILS, Box::new(MemoryProducer::new(text)), None).await.map_err(FilesError::Store)
}

/// Returns the directory for lists, which has names of files: only its owner may read it.
fn folder(keep: Option<&Path>) -> Result<PathBuf, FilesError> {
    let Some(folder) = keep.and_then(Path::parent) else { return Ok(scratch_directory()) };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| FilesError::List { folder: folder.to_owned(), source })?;
    Ok(folder.to_owned())
}

fn report_scope(plan: &BasePlan, events: &Events) {
    match &plan.scope {
        BaseScope::Full(None) => {}
        BaseScope::Full(Some(why)) if why.is_silent() => {}
        BaseScope::Full(Some(why)) if why.is_due() => {
            events.notice(format!("taking a full backup: {}", error_chain(why)));
        }
        BaseScope::Full(Some(why)) => {
            events.warning(format!(
                "taking a full backup in place of an incremental one: {}",
                error_chain(why)
            ));
        }
        BaseScope::Incremental { since, passed_over } => {
            if let Some(passed_over) = passed_over {
                events.warning(passed_over.to_string());
            }
            events.notice(format!("reading what changed since {}", since.manifest.id));
        }
    }
}

/// The beginning of a file.
struct FileProducer {
    file: io::Take<File>,
}

impl FileProducer {
    fn new(mut file: File, size: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file: file.take(size) })
    }
}

impl Read for FileProducer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Produce for FileProducer {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        if self.file.limit() > 0 {
            return Err("the list of files was cut".into());
        }
        Ok(vec![])
    }
}
