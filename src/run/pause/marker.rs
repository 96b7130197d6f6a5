//! What stands for a pause on this host.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::model::{RunId, SystemName};

const FOLDER: &str = "paused";
/// Whoever only reads the state holds the lock for a moment.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_AGAIN: Duration = Duration::from_millis(40);

/// A pause that was begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseMarker {
    pub system: SystemName,
    pub run: RunId,
    pub since: DateTime<Utc>,
    /// The program that resumes the application, and its arguments.
    pub resume: Vec<String>,
}

/// A marker whose lock this process holds.
#[derive(Debug)]
pub(super) struct HeldMarker {
    pub(super) marker: PauseMarker,
    path: PathBuf,
    _lock: File,
}

/// What is known of a pause on this host.
#[derive(Debug)]
pub(super) enum FoundMarker {
    Absent,
    /// Of a process that runs.
    InUse(PauseMarker),
    /// Of a process that is gone.
    Orphaned(HeldMarker),
}

impl HeldMarker {
    /// Creates the marker, durably; `None`: there is one.
    pub(super) fn create(state: &Path, marker: PauseMarker) -> io::Result<Option<Self>> {
        let folder = state.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let path = path(state, &marker.system);
        let draft = folder.join(format!(".{}.{}", marker.system, std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let created: io::Result<bool> = (|| {
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            file.write_all(&serde_json::to_vec_pretty(&marker)?)?;
            file.sync_all()?;
            match renameat_with(CWD, &draft, CWD, &path, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => return Ok(false),
                renamed => renamed?,
            }
            File::open(&folder)?.sync_all()?;
            Ok(true)
        })();
        if !matches!(created, Ok(true)) {
            let _gone = fs::remove_file(&draft);
        }
        Ok(created?.then_some(Self { marker, path, _lock: file }))
    }

    /// Finds the marker of a system.
    pub(super) fn find(state: &Path, system: &SystemName) -> io::Result<FoundMarker> {
        let path = path(state, system);
        let mut attempts = LOCK_ATTEMPTS;
        loop {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FoundMarker::Absent),
                Err(error) => return Err(error),
            };
            let marker: PauseMarker = serde_json::from_reader(&file)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if attempts == 0 => return Ok(FoundMarker::InUse(marker)),
                Err(Errno::WOULDBLOCK) => {
                    attempts -= 1;
                    std::thread::sleep(LOCK_AGAIN);
                    continue;
                }
                locked => locked?,
            }
            // Its holder may have removed it meanwhile.
            let (held, named) = (file.metadata()?, fs::metadata(&path));
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
                return Ok(FoundMarker::Orphaned(Self { marker, path, _lock: file }));
            }
        }
    }

    /// Removes the marker: the application is resumed.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

fn path(state: &Path, system: &SystemName) -> PathBuf {
    state.join(FOLDER).join(format!("{system}.json"))
}
