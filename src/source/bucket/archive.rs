//! An archive of objects: a tar file whose entries are numbers.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::BucketError;
use super::inventory::{LeftOut, ObjectRecord, StoredIn};
use super::read::{ATTEMPTS, Fetched, ObjectReader, Opened, left_out, pause};
use crate::model::{BackupId, Hasher, Sha256Hex};
use crate::pipeline::Produce;
use crate::platform::CancellationToken;
use crate::store::s3::ListedObject;

/// Small objects that are read at a time, and may be in memory.
const PARALLEL: usize = 16;
/// Pieces on their way to the one who stores them.
const PIECES: usize = 4;
const BLOCK: usize = 512;

/// What goes into one archive.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) backup: BackupId,
    /// Without the endings of its encoding.
    pub(super) name: String,
    /// Each with its number in the listing.
    pub(super) objects: Vec<(u64, ListedObject)>,
}

/// What became of an object.
#[derive(Debug)]
pub(super) struct Archived {
    pub(super) record: ObjectRecord,
    /// It is not what was listed.
    pub(super) is_changed: bool,
}

/// The outcomes of an archive, in the order of its batch, once it is stored.
pub(super) type Outcomes = Arc<Mutex<Vec<Archived>>>;

/// The archive as it is written.
pub(super) struct ArchiveStream {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
    work: JoinHandle<Result<(), BucketError>>,
}

impl ArchiveStream {
    pub(super) fn begin(
        reader: &Arc<ObjectReader>,
        batch: Batch,
        cancel: &CancellationToken,
    ) -> (Self, Outcomes) {
        let (sender, pieces) = mpsc::channel(PIECES);
        let outcomes = Outcomes::default();
        let writer = Writer {
            reader: Arc::clone(reader),
            backup: batch.backup,
            archive: batch.name,
            entries: 0,
            pieces: sender,
            outcomes: Arc::clone(&outcomes),
        };
        let (objects, cancel) = (batch.objects, cancel.clone());
        let work = tokio::spawn(async move {
            tokio::select! {
                written = writer.write(objects) => written,
                () = cancel.cancelled() => Err(BucketError::Interrupted),
            }
        });
        (Self { pieces, piece: Bytes::new(), work }, outcomes)
    }
}

impl Read for ArchiveStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                // The end, or a failure: the work says which.
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Produce for ArchiveStream {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        drop(self.pieces);
        tokio::runtime::Handle::current().block_on(self.work)??;
        Ok(vec![])
    }
}

struct Writer {
    reader: Arc<ObjectReader>,
    backup: BackupId,
    archive: String,
    entries: u64,
    pieces: mpsc::Sender<Bytes>,
    outcomes: Outcomes,
}

impl Writer {
    async fn write(mut self, objects: Vec<(u64, ListedObject)>) -> Result<(), BucketError> {
        let reader = Arc::clone(&self.reader);
        let fetch = |(number, listed): (u64, ListedObject)| {
            let reader = Arc::clone(&reader);
            async move { reader.fetch(number, listed).await }
        };
        let mut fetched = stream::iter(objects).map(fetch).buffered(PARALLEL);
        while let Some(next) = fetched.next().await {
            match next? {
                Fetched::Whole { record, bytes, is_changed } => {
                    let sha256 = Sha256Hex::digest(&bytes);
                    let size = bytes.len() as u64;
                    let stored = self.header(&record, size).await?;
                    self.send(bytes).await?;
                    self.pad(size).await?;
                    let record = ObjectRecord { stored: Some(stored), sha256: Some(sha256), ..record };
                    self.done(record, is_changed);
                }
                Fetched::Large { number, listed } => self.large(number, listed).await?,
                Fetched::LeftOut(record) => self.done(record, false),
            }
        }
        self.send(Bytes::from_static(&[0; 2 * BLOCK])).await
    }

    /// Writes an object as it arrives. An entry has the size that its header says: what of it does not come is filled with
    /// zeros, no record names it, and another entry follows.
    async fn large(&mut self, number: u64, listed: ListedObject) -> Result<(), BucketError> {
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            let opened = match self.reader.open(number, &listed).await? {
                Ok(opened) => opened,
                Err(why) => {
                    if let Fetched::LeftOut(record) = left_out(listed, why) {
                        self.done(record, false);
                    }
                    return Ok(());
                }
            };
            let is_changed = opened.is_changed;
            if let Some(record) = self.entry(number, opened).await? {
                self.done(record, is_changed);
                return Ok(());
            }
        }
        if let Fetched::LeftOut(record) = left_out(listed, LeftOut::Changing) {
            self.done(record, false);
        }
        Ok(())
    }

    async fn entry(&mut self, number: u64, opened: Opened) -> Result<Option<ObjectRecord>, BucketError> {
        let Opened { mut body, record, .. } = opened;
        let size = body.size;
        let stored = self.header(&record, size).await?;
        let (mut hasher, mut attempt) = (Hasher::default(), 1);
        loop {
            let reason = loop {
                match body.next().await {
                    Some(Ok(bytes)) if hasher.size() + bytes.len() as u64 <= size => {
                        hasher.update(&bytes);
                        self.send(bytes).await?;
                    }
                    Some(Ok(_)) => break "more bytes arrived than the store said".to_owned(),
                    Some(Err(reason)) => break reason,
                    None => break format!("{} bytes arrived of {size}", hasher.size()),
                }
            };
            if hasher.size() == size {
                break;
            }
            if attempt >= ATTEMPTS {
                return Err(BucketError::Broken { number, reason });
            }
            pause(attempt).await;
            attempt += 1;
            body = match self.reader.resume(number, &record, hasher.size()).await? {
                Some(body) => body,
                None => {
                    self.zeros(size - hasher.size()).await?;
                    self.pad(size).await?;
                    return Ok(None);
                }
            };
        }
        self.pad(size).await?;
        let sha256 = Some(hasher.digest().sha256);
        Ok(Some(ObjectRecord { stored: Some(stored), sha256, ..record }))
    }

    async fn header(&mut self, record: &ObjectRecord, size: u64) -> Result<StoredIn, BucketError> {
        self.entries += 1;
        let entry = format!("objects/{}", self.entries);
        let mut header = tar::Header::new_gnu();
        header.set_path(&entry).map_err(BucketError::Spool)?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(record.object.modified.timestamp()).unwrap_or_default());
        header.set_cksum();
        self.send(Bytes::copy_from_slice(header.as_bytes())).await?;
        Ok(StoredIn { backup: self.backup.clone(), archive: self.archive.clone(), entry })
    }

    async fn pad(&mut self, size: u64) -> Result<(), BucketError> {
        let over = size % BLOCK as u64;
        if over > 0 { self.zeros(BLOCK as u64 - over).await } else { Ok(()) }
    }

    async fn zeros(&mut self, mut count: u64) -> Result<(), BucketError> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while count > 0 {
            let piece = usize::try_from(count).unwrap_or(usize::MAX).min(ZEROS.len());
            self.send(Bytes::from_static(&ZEROS[..piece])).await?;
            count -= piece as u64;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), BucketError> {
        self.pieces.send(bytes).await.map_err(|_| BucketError::Ended)
    }

    fn done(&self, record: ObjectRecord, is_changed: bool) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(Archived { record, is_changed });
    }
}
