//! Files whose sealed bytes exceed the memory limit: uploaded in parts while they are sealed, read in ranges.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::push_rejection::PushRejection;
use super::{FileError, SegmentTags, WalFile};
use crate::model::Digest;
use crate::pipeline::{Budget, PartLayout, Piece, PipelineError, Produce, Recipe, seal};
use crate::repository::Repository;
use crate::store::{PutOptions, Store, StoreError, StoreErrorKind, Upload};

const PART: usize = 8 << 20;
/// Parts in memory.
const PARTS: usize = 3;

struct FileProducer(File);

impl Read for FileProducer {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Produce for FileProducer {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(vec![])
    }
}

/// Uploads a file. No object appears if its contents differ from `expected`.
pub(super) async fn upload(
    repository: &Repository,
    key: &str,
    options: &PutOptions,
    file: &WalFile,
    recipe: &Recipe,
    expected: Digest,
) -> Result<(), PushRejection> {
    let upload = repository.store.begin_upload(key, options).await?;
    let sent = send(&*upload, file, recipe, expected).await;
    if sent.is_err() {
        let _left_for_the_sweep = upload.abort().await;
    }
    sent
}

async fn send(
    upload: &dyn Upload,
    file: &WalFile,
    recipe: &Recipe,
    expected: Digest,
) -> Result<(), PushRejection> {
    let (sender, mut pieces) = mpsc::channel(1);
    let sealing = {
        let (file, recipe) = (file.clone(), recipe.clone());
        tokio::task::spawn_blocking(move || {
            let producer = Box::new(FileProducer(file.open()?));
            let shape = PartLayout { part_size: PART, parts_per_object: u32::MAX };
            let sealed = seal(producer, &recipe, shape, Budget::of_parts(PARTS), sender, Arc::default());
            match sealed {
                Ok(sealed) if sealed.plain == expected => Ok(()),
                Ok(_) => Err(FileError::Changed(file.path.clone())),
                Err(source) => Err(FileError::Seal { path: file.path.clone(), source }),
            }
        })
    };
    while let Some(piece) = pieces.recv().await {
        if let Piece::Part(part) = piece {
            upload.part(part.number, part.bytes).await?;
        }
    }
    match sealing.await {
        Ok(sealed) => sealed.map_err(PushRejection::File)?,
        Err(error) => {
            let source = PipelineError::Encode(std::io::Error::other(error));
            return Err(PushRejection::File(FileError::Seal { path: file.path.clone(), source }));
        }
    }
    upload.complete().await.map(drop).map_err(PushRejection::from)
}

/// An object to be read on a thread that may block, prefetching one range.
pub(super) struct RangeReader {
    store: Arc<dyn Store>,
    key: String,
    size: u64,
    next: u64,
    ahead: Option<JoinHandle<Result<Bytes, StoreError>>>,
    current: Bytes,
    runtime: Handle,
}

/// Opens an object for reading; returned with its metadata.
pub(super) async fn reader(
    store: &Arc<dyn Store>,
    key: &str,
) -> Result<(RangeReader, Option<SegmentTags>), StoreError> {
    let info = store.head(key).await?.ok_or_else(|| StoreError {
        operation: "read",
        key: key.to_owned(),
        location: store.location(),
        kind: StoreErrorKind::NotFound,
        detail: None,
    })?;
    let mut reader = RangeReader {
        store: Arc::clone(store),
        key: key.to_owned(),
        size: info.size,
        next: 0,
        ahead: None,
        current: Bytes::new(),
        runtime: Handle::current(),
    };
    reader.go_ahead();
    Ok((reader, SegmentTags::from_metadata(&info.metadata)))
}

impl RangeReader {
    fn go_ahead(&mut self) {
        let end = self.size.min(self.next + PART as u64);
        let (store, key, range) = (Arc::clone(&self.store), self.key.clone(), self.next..end);
        self.ahead = (!range.is_empty())
            .then(|| self.runtime.spawn(async move { store.get_range(&key, range).await }));
        self.next = end;
    }
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty()
            && let Some(range) = self.ahead.take()
        {
            self.current =
                self.runtime.block_on(range).map_err(io::Error::other)?.map_err(io::Error::other)?;
            self.go_ahead();
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
