//! A source that needs no server: what it gives follows from its artifacts' names.

use std::io::{self, Cursor, Read};

use async_trait::async_trait;
use drctl::model::{BackupId, BackupKind};
use drctl::pipeline::Produce;
use drctl::platform::{Clock as _, SystemClock};
use drctl::source::{
    ArtifactSink, Capture, CaptureContext, Captured, DETAILS, SinkError, Source, SourceContext, SourceError,
};

/// What a source does that cannot be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FakeFault {
    /// It is rejected before anything is stored.
    Rejects,
    /// Reading the artifact of this number fails in its middle.
    Breaks(usize),
    /// The artifact of this number is read to its end, and its program then fails.
    ExitsBadly(usize),
    /// Everything was stored, and then it fails.
    EndsBadly,
}

#[derive(Debug, thiserror::Error)]
#[error("the fake source failed: {0:?}")]
struct FakeFailed(FakeFault);

#[derive(Debug, thiserror::Error)]
#[error("failed to back up the fake source")]
struct NotStored(#[source] SinkError);

/// A source of a few artifacts, which have the same bytes each time.
#[derive(Clone, Debug)]
pub(crate) struct FakeSource {
    kinds: Vec<BackupKind>,
    /// Names and sizes.
    artifacts: Vec<(&'static str, usize)>,
    fault: Option<FakeFault>,
    /// Begun by earlier runs.
    in_flight: Vec<BackupId>,
}

impl FakeSource {
    pub(crate) fn new(artifacts: &[(&'static str, usize)]) -> Self {
        Self {
            kinds: vec![BackupKind::Logical],
            artifacts: artifacts.to_vec(),
            fault: None,
            in_flight: vec![],
        }
    }

    pub(crate) fn failing(self, fault: FakeFault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// One whose service completes these by itself.
    pub(crate) fn completing(self, in_flight: Vec<BackupId>) -> Self {
        Self { in_flight, ..self }
    }

    /// How many artifacts it has, with the details.
    pub(crate) fn artifacts(&self) -> usize {
        self.artifacts.len() + 1
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.artifacts.iter().copied().chain([(DETAILS, 200)])
    }
}

/// Bytes that do not compress, so that they are cut into parts and objects.
pub(crate) fn noise(name: &str, size: usize) -> Vec<u8> {
    let seed = name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

#[async_trait(?Send)]
impl Source for FakeSource {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn in_flight(
        &self,
        _kind: BackupKind,
        _context: &SourceContext<'_>,
    ) -> Result<Vec<BackupId>, SourceError> {
        Ok(self.in_flight.clone())
    }

    async fn prepare(&self, _kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        match self.fault {
            Some(fault @ FakeFault::Rejects) => Err(SourceError::new(FakeFailed(fault))),
            _ => Ok(Box::new(FakeCapture(self))),
        }
    }
}

struct FakeCapture<'s>(&'s FakeSource);

#[async_trait(?Send)]
impl Capture for FakeCapture<'_> {
    async fn run(
        self: Box<Self>,
        _context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        let recovery_point = SystemClock.now();
        let mut artifacts = vec![];
        for (number, (name, size)) in self.0.all().enumerate() {
            let fault = self.0.fault.filter(
                |fault| matches!(fault, FakeFault::Breaks(at) | FakeFault::ExitsBadly(at) if *at == number),
            );
            let bytes = noise(name, size);
            let producer = Box::new(FakeProducer { rest: Cursor::new(bytes), half: size as u64 / 2, fault });
            let stored = sink.store(name, producer, Some(size as u64)).await;
            artifacts.push(stored.map_err(|error| SourceError::new(NotStored(error)))?);
        }
        if let Some(fault @ FakeFault::EndsBadly) = self.0.fault {
            return Err(SourceError::new(FakeFailed(fault)));
        }
        Ok(Captured {
            recovery_point,
            server: None,
            physical: None,
            parent: None,
            managed: None,
            missing_copies: vec![],
            warnings: vec![],
            producer: "fake".to_owned(),
            artifacts,
            manual_restore: vec![],
            excluded: vec![],
        })
    }
}

struct FakeProducer {
    rest: Cursor<Vec<u8>>,
    half: u64,
    fault: Option<FakeFault>,
}

impl Read for FakeProducer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.fault {
            Some(fault @ FakeFault::Breaks(_)) if self.rest.position() >= self.half => {
                Err(io::Error::other(FakeFailed(fault)))
            }
            Some(FakeFault::Breaks(_)) => {
                let left = usize::try_from(self.half - self.rest.position()).unwrap_or(usize::MAX).max(1);
                let most = buffer.len().min(left);
                self.rest.read(&mut buffer[..most])
            }
            _ => self.rest.read(buffer),
        }
    }
}

impl Produce for FakeProducer {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        match self.fault {
            Some(fault) => Err(Box::new(FakeFailed(fault))),
            None => Ok(vec![]),
        }
    }
}
