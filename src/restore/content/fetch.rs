//! Reads artifacts, from one repository after the other.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ContentRestoreError;
use super::surveyed::ChainLink;
use crate::event::Event;
use crate::model::Artifact;
use crate::pipeline::{OpenError, unseal_ahead};
use crate::repository::reader::{ReadWindow, stream_to_open};
use crate::repository::{is_interruption, layout};
use crate::run::RunContext;
use crate::text::error_chain;

const TOLD_EVERY: Duration = Duration::from_millis(250);

/// Why a consumer did not take an artifact.
#[derive(Debug)]
pub(super) enum ConsumeError {
    /// It could not be read: another repository may have it whole.
    Read(io::Error),
    /// What takes it failed, whichever repository it comes from.
    Target(ContentRestoreError),
}

/// Reads the artifacts of a chain.
pub(super) struct ArtifactFetch<'a> {
    pub(super) run: &'a RunContext,
    read: Arc<AtomicU64>,
    total: u64,
}

impl<'a> ArtifactFetch<'a> {
    /// `total`: the bytes before compression and encryption that will be read, for progress.
    pub(super) fn new(run: &'a RunContext, total: u64) -> Self {
        Self { run, read: Arc::default(), total }
    }

    /// Passes the plain bytes of an artifact to `consume`, on a thread where it may block. Their digest is verified when
    /// `consume` reads to their end, which it has to do: the last read fails if they are not what was stored. It is called
    /// again, from the beginning, for the next repository where one fails.
    pub(super) async fn consume<T: Send + 'static>(
        &self,
        link: &ChainLink,
        artifact: &Artifact,
        consume: impl Fn(&mut dyn Read) -> Result<T, ConsumeError> + Send + Sync + 'static,
    ) -> Result<T, ContentRestoreError> {
        let run = self.run;
        let consume = Arc::new(consume);
        let mut tries = Vec::new();
        for name in &link.holders {
            run.check_interruption()?;
            let Some(repository) = run.repositories.find(name) else { continue };
            let folder = layout::backup(&link.manifest.system, &link.manifest.id);
            let store = Arc::clone(&repository.store);
            let stream = stream_to_open(store, &folder, artifact, ReadWindow::default(), run.cancel.clone());
            let (identities, encoding, plain) =
                (run.identities.clone(), artifact.encoding.clone(), artifact.plain);
            let before = self.read.load(Ordering::Relaxed);
            let (counter, consume) = (Arc::clone(&self.read), Arc::clone(&consume));
            let working = tokio::task::spawn_blocking(move || {
                let opened = unseal_ahead(stream.into_reader(), &encoding, &identities, plain);
                let plain = opened.map_err(ReadOrTarget::Open)?;
                let mut plain = Counted { plain, counter };
                consume(&mut plain).map_err(ReadOrTarget::Consumer)
            });
            let reason = match self.watch(working).await {
                Ok(Ok(taken)) => return Ok(taken),
                Ok(Err(ReadOrTarget::Consumer(ConsumeError::Target(error)))) => return Err(error),
                Ok(Err(ReadOrTarget::Consumer(ConsumeError::Read(error)))) => {
                    let error = OpenError::Read(error);
                    if is_interruption(&error) {
                        return Err(ContentRestoreError::Interrupted);
                    }
                    error_chain(&error)
                }
                Ok(Err(ReadOrTarget::Open(error))) if is_interruption(&error) => {
                    return Err(ContentRestoreError::Interrupted);
                }
                Ok(Err(ReadOrTarget::Open(error))) => error_chain(&error),
                Err(error) => error.to_string(),
            };
            self.read.store(before, Ordering::Relaxed);
            run.events.emit(&Event::RepositoryLost { repository: name.clone(), reason: reason.clone() });
            tries.push((name.clone(), reason));
        }
        Err(ContentRestoreError::Fetch { artifact: artifact.name.clone(), tries })
    }

    /// Reports the progress while `work` runs.
    async fn watch<T>(&self, work: tokio::task::JoinHandle<T>) -> Result<T, tokio::task::JoinError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(TOLD_EVERY) => self.run.events.emit(&Event::Progress {
                    subject: "Restoring".to_owned(),
                    bytes: self.read.load(Ordering::Relaxed),
                    total: Some(self.total),
                    estimated: false,
                }),
            }
        }
    }
}

enum ReadOrTarget {
    Open(OpenError),
    Consumer(ConsumeError),
}

struct Counted<R> {
    plain: R,
    counter: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(buffer)?;
        self.counter.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
