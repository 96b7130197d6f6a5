use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::super::fault::StoreFault;
use super::super::{PutOptions, StoreError, StoreErrorKind, Upload, Written};
use super::atomic_write::DraftFile;
use super::folder::{BODY, DirectoryStore};
use super::object_file::{ObjectFiles, new_file};

/// Bytes after which a part waits for a sync to disk, so that little is left to sync at the end.
const SYNC_EVERY: u64 = 256 << 20;

/// Parts are written to their offset in one file. Those that arrive before the first part (whose size
/// determines the offsets) wait in files of their own.
#[derive(Debug)]
pub(super) struct DirectoryUpload {
    store: DirectoryStore,
    key: String,
    options: PutOptions,
    draft: Arc<DraftFile>,
    parts: Arc<Mutex<UploadedParts>>,
}

#[derive(Debug, Default)]
struct UploadedParts {
    /// Size of the first part, known once that arrives.
    size: Option<u64>,
    /// Sizes of the parts written so far.
    written: BTreeMap<u32, u64>,
    /// Parts that wait in files of their own.
    early: Vec<u32>,
    unsynced: u64,
    /// Completed or aborted.
    ended: bool,
}

impl DirectoryUpload {
    pub(super) fn new(store: DirectoryStore, key: &str, options: &PutOptions, draft: DraftFile) -> Self {
        Self {
            store,
            key: key.to_owned(),
            options: options.clone(),
            draft: Arc::new(draft),
            parts: Arc::default(),
        }
    }
}

impl UploadedParts {
    fn go_on(&self) -> Result<(), StoreFault> {
        if self.ended { Err(refused("the upload has ended")) } else { Ok(()) }
    }

    /// Returns the offset of the part in the file; `None` while the part size is unknown.
    fn place(&mut self, number: u32, length: u64) -> Result<Option<u64>, StoreFault> {
        self.go_on()?;
        let before = number.checked_sub(1).ok_or_else(|| refused("parts are numbered from 1"))?;
        if before == 0 {
            self.size = Some(length);
        }
        match self.size {
            Some(size) if length > size => Err(refused("a part is larger than the first")),
            Some(size) => Ok(Some(u64::from(before) * size)),
            None => Ok(None),
        }
    }

    /// Returns the size of the object; fails if the parts do not form one.
    fn total(&self) -> Result<u64, StoreFault> {
        let Some((&last, &last_length)) = self.written.last_key_value() else { return Ok(0) };
        let size = self.size.unwrap_or_default();
        let gap = self.written.len() != last as usize;
        if gap || self.written.range(..last).any(|(_, &length)| length != size) || last_length > size {
            return Err(refused("a part is missing, or of another size than the first"));
        }
        Ok(u64::from(last - 1) * size + last_length)
    }
}

fn refused(words: &str) -> StoreFault {
    StoreFault::new(StoreErrorKind::Other, words)
}

fn write_part(
    draft: &DraftFile,
    parts: &Mutex<UploadedParts>,
    number: u32,
    body: &[u8],
) -> Result<(), StoreFault> {
    let lock = || parts.lock().unwrap_or_else(PoisonError::into_inner);
    let length = body.len() as u64;
    let place = lock().place(number, length)?;
    match place {
        Some(offset) => draft.file.write_all_at(body, offset)?,
        None => {
            let path = draft.folder.join(format!("part.{number}"));
            let _repeated = fs::remove_file(&path);
            new_file(&path)?.write_all_at(body, 0)?;
        }
    }
    let sync = {
        let mut parts = lock();
        parts.written.insert(number, length);
        parts.early.retain(|early| *early != number);
        if place.is_none() {
            parts.early.push(number);
        }
        parts.unsynced += length;
        let sync = parts.unsynced >= SYNC_EVERY;
        if sync {
            parts.unsynced = 0;
        }
        sync
    };
    if sync {
        draft.file.sync_data()?;
    }
    Ok(())
}

fn join(draft: &DraftFile, parts: &Mutex<UploadedParts>) -> Result<(), StoreFault> {
    let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
    parts.go_on()?;
    let total = parts.total()?;
    for &number in &parts.early {
        let body = fs::read(draft.folder.join(format!("part.{number}")))?;
        draft.file.write_all_at(&body, u64::from(number - 1) * parts.size.unwrap_or_default())?;
    }
    let length = draft.file.metadata()?.len();
    if length != total {
        return Err(StoreFault::new(
            StoreErrorKind::Corrupt,
            format!("{length} bytes are there, {total} were written"),
        ));
    }
    parts.ended = true;
    Ok(())
}

fn abort(draft: &DraftFile, parts: &Mutex<UploadedParts>) -> Result<(), StoreFault> {
    let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
    if !parts.ended {
        parts.ended = true;
        // An open file keeps its space, and that may be what fills the disk.
        draft.file.set_len(0)?;
    }
    match fs::remove_dir_all(&draft.folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[async_trait]
impl Upload for DirectoryUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<(), StoreError> {
        let (draft, parts) = (Arc::clone(&self.draft), Arc::clone(&self.parts));
        if number == 1 {
            // Immediately, not when a thread is free: the parts after it then know their offset.
            parts.lock().unwrap_or_else(PoisonError::into_inner).size = Some(body.len() as u64);
        }
        self.store
            .run("write", &self.key, BODY, move |_: &ObjectFiles| write_part(&draft, &parts, number, &body))
            .await
    }

    async fn complete(&self) -> Result<Written, StoreError> {
        let (draft, parts) = (Arc::clone(&self.draft), Arc::clone(&self.parts));
        let (key, options) = (self.key.clone(), self.options.clone());
        self.store
            .run("complete", &self.key, BODY, move |files| {
                files.check_root()?;
                join(&draft, &parts)?;
                files.publish(&key, &draft, &options)
            })
            .await
    }

    async fn abort(&self) -> Result<(), StoreError> {
        let (draft, parts) = (Arc::clone(&self.draft), Arc::clone(&self.parts));
        self.store.run("abort", &self.key, BODY, move |_| abort(&draft, &parts)).await
    }
}
