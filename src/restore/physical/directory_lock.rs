//! Ownership of a directory while it is being restored.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::layout::MARKER;
use crate::model::SystemIdentifier;

/// The contents of the marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirectoryMarker {
    pub(super) run: String,
    pub(super) backup: String,
    pub(super) what: String,
    /// For a data directory that was being changed: its original system identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) changes: Option<SystemIdentifier>,
}

/// A lock held by this process on a directory's marker. The holder is at work there; the system releases the
/// lock when the process ends, for whatever reason.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _mark: File,
}

impl DirectoryLock {
    /// Takes the lock; `None`: another process holds it.
    pub(super) fn take(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(MARKER);
        let mark = File::open(&path)?;
        match flock(&mark, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        // The previous holder may have removed it, and another process may have created a new one since.
        let (held, named) = (mark.metadata()?, std::fs::metadata(&path));
        let is_same = named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()));
        Ok(is_same.then_some(Self { _mark: mark }))
    }
}
