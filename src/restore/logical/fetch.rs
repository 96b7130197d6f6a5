//! Fetches the dump from a repository: into a file, verified, or as a stream that is verified at its end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::archive_toc::{ArchiveError, Index, TocEntry, contents, index};
use super::plan::DumpRestorePlan;
use super::{ArchiveSummary, DumpRestoreError};
use crate::event::Event;
use crate::model::{Artifact, Digest, Manifest, RepositoryName};
use crate::pipeline::{OpenError, unseal_ahead};
use crate::repository::reader::{ReadWindow, stream_to_open};
use crate::repository::{Repository, is_interruption, layout};
use crate::run::RunContext;
use crate::text::error_chain;

const BUFFER: usize = 256 << 10;
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// How a table of contents is read: it is seldom larger than this.
const BEGINNING: ReadWindow = ReadWindow { chunk: 1 << 20, parallel: 1 };

/// The decoded dump in an unlinked file: it disappears with the last process that has it open, however that
/// process ends.
pub(super) struct Scratch {
    file: File,
    /// `Err` where the archive's layout is not understood; `pg_restore` then reads it on its own.
    pub(super) index: Result<Index, ArchiveError>,
}

impl Scratch {
    /// Returns the archive's contents, where they are understood.
    pub(super) fn entries(&self) -> Option<&[TocEntry]> {
        self.index.as_ref().ok().map(|index| index.entries.as_slice())
    }

    /// Returns a path that opens the file as long as this process lives.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }
}

/// Writing the file failed, which another repository would not fix.
#[derive(Debug, Error)]
#[error("failed to write the scratch file")]
struct ScratchWrite(#[source] io::Error);

/// Fetches and decodes the dump into `directory`, from the first repository whose copy is intact.
pub(super) async fn to_scratch(
    run: &RunContext,
    plan: &DumpRestorePlan,
    directory: &Path,
) -> Result<(Scratch, RepositoryName), DumpRestoreError> {
    let mut tries = Vec::new();
    for name in &plan.repositories {
        run.check_interruption()?;
        let Some(repository) = run.repositories.find(name) else { continue };
        let scratch = |source| DumpRestoreError::Scratch { directory: directory.to_owned(), source };
        let file = tempfile::tempfile_in(directory).map_err(scratch)?;
        let opened = unpack(run, plan, repository, file).await;
        match opened {
            Ok(found) => return Ok((found, name.clone())),
            Err(error) if is_interruption(&error) => return Err(DumpRestoreError::Interrupted),
            Err(error) => {
                if let Some(source) = scratch_failure(&error) {
                    return Err(scratch(source));
                }
                tries.push((name.clone(), error_chain(&error)));
                lost(run, plan, name, error_chain(&error));
            }
        }
    }
    Err(DumpRestoreError::Fetch { artifact: plan.steps.dump.name.clone(), tries })
}

/// Reports that a repository is not used any more for this restore, and which one is next.
pub(super) fn lost(run: &RunContext, plan: &DumpRestorePlan, name: &RepositoryName, reason: String) {
    run.events.emit(&Event::RepositoryLost { repository: name.clone(), reason });
    let next = plan.repositories.iter().skip_while(|other| *other != name).nth(1);
    if let Some(next) = next {
        run.events.warning(format!("reading the dump again, from its beginning, from repository {next}"));
    }
}

fn scratch_failure(error: &OpenError) -> Option<io::Error> {
    let OpenError::Read(source) = error else { return None };
    let ScratchWrite(inner) = source.get_ref()?.downcast_ref()?;
    Some(
        inner
            .raw_os_error()
            .map_or_else(|| io::Error::other(inner.to_string()), io::Error::from_raw_os_error),
    )
}

/// Returns the plain dump as a stream. An error at its end means that it was damaged.
pub(super) fn plain(
    run: &RunContext,
    plan: &DumpRestorePlan,
    repository: &Repository,
) -> impl FnOnce() -> Result<Box<dyn BufRead + Send>, OpenError> + Send + 'static {
    plain_of(run, &plan.steps.manifest, &plan.steps.dump, repository, ReadWindow::default())
}

/// Returns the same for a dump without a plan.
fn plain_of(
    run: &RunContext,
    manifest: &Manifest,
    dump: &Artifact,
    repository: &Repository,
    window: ReadWindow,
) -> impl FnOnce() -> Result<Box<dyn BufRead + Send>, OpenError> + Send + 'static {
    let dump = dump.clone();
    let folder = layout::backup(&manifest.system, &manifest.id);
    let store = Arc::clone(&repository.store);
    let stream = stream_to_open(store, &folder, &dump, window, run.cancel.clone());
    let identities = run.identities.clone();
    move || unseal_ahead(stream.into_reader(), &dump.encoding, &identities, dump.plain)
}

/// Reads the beginning of a dump, where its table of contents is, from the first repository that returns it.
/// It is not verified and decides about no data: that is left to the restore, which reports what is wrong.
pub(super) async fn read_ahead(
    run: &RunContext,
    manifest: &Manifest,
    dump: &Artifact,
    repositories: &[RepositoryName],
) -> Option<ArchiveSummary> {
    for repository in repositories.iter().filter_map(|name| run.repositories.find(name)) {
        let begin = plain_of(run, manifest, dump, repository, BEGINNING);
        let reading = tokio::task::spawn_blocking(move || contents(begin().ok()?).ok());
        if let Ok(Some(entries)) = reading.await {
            return Some(ArchiveSummary { entries });
        }
    }
    None
}

async fn unpack(
    run: &RunContext,
    plan: &DumpRestorePlan,
    repository: &Repository,
    file: File,
) -> Result<Scratch, OpenError> {
    let begin = plain(run, plan, repository);
    let written = Arc::new(AtomicU64::new(0));
    let copying = {
        let written = Arc::clone(&written);
        tokio::task::spawn_blocking(move || -> Result<Scratch, OpenError> {
            let plain = ScratchRetention { plain: begin()?, file, written };
            let mut plain = BufReader::with_capacity(BUFFER, plain);
            let index = match index(&mut plain) {
                Err(ArchiveError::Read(source)) => return Err(OpenError::Read(source)),
                index => index,
            };
            // Whatever was understood of it, the digest is verified at the end of the stream.
            io::copy(&mut plain, &mut io::sink()).map_err(OpenError::Read)?;
            let file = plain.into_inner().file;
            for (at, bytes) in index.iter().flat_map(Index::patches) {
                let patched = file.write_all_at(&bytes, at);
                patched.map_err(|error| OpenError::Read(io::Error::other(ScratchWrite(error))))?;
            }
            Ok(Scratch { file, index })
        })
    };
    let Digest { size, .. } = plan.steps.dump.plain;
    let copied = tell(run, "Fetching", &written, size, copying).await;
    copied.unwrap_or_else(|error| Err(OpenError::Read(io::Error::other(error))))
}

/// Reports the progress in bytes while `work` runs.
pub(super) async fn tell<T>(
    run: &RunContext,
    subject: &str,
    bytes: &AtomicU64,
    total: u64,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(TOLD_EVERY) => run.events.emit(&Event::Progress {
                subject: subject.to_owned(),
                bytes: bytes.load(Ordering::Relaxed),
                total: Some(total),
                estimated: false,
            }),
        }
    }
}

/// Passes on what it reads, and keeps it in the file.
struct ScratchRetention<R> {
    plain: R,
    file: File,
    written: Arc<AtomicU64>,
}

impl<R: Read> Read for ScratchRetention<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(buffer)?;
        self.file.write_all(&buffer[..count]).map_err(|error| io::Error::other(ScratchWrite(error)))?;
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
