//! Whose a directory is while it is being restored.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::layout::MARKER;
use crate::model::SystemIdentifier;

/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirectoryMarker {
    pub(super) run: String,
    pub(super) backup: String,
    pub(super) what: String,
    /// Of a data directory that was being changed into another one: whose it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) changes: Option<SystemIdentifier>,
}

/// That a directory's mark is held by this process. Whoever holds it is at work there; the system lets it go
/// when the process ends, however that is.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _mark: File,
}

impl DirectoryLock {
    /// `None`: another process holds it.
    pub(super) fn take(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(MARKER);
        let mark = File::open(&path)?;
        match flock(&mark, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        // Whoever held it may have removed it, and someone else may have made another one since.
        let (held, named) = (mark.metadata()?, std::fs::metadata(&path));
        let is_same = named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()));
        Ok(is_same.then_some(Self { _mark: mark }))
    }
}
