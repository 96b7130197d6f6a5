//! What an attempt notes beside what it restores, so that the next one resumes it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{BackupId, Judgement, RunId, SourceName, SystemName};

const FORMAT: u32 = 1;

/// Why an attempt cannot be noted, or resumed.
#[derive(Debug, Error)]
pub enum StateError {
    #[error("failed to note in `{}` what is restored", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to read in `{}` what an earlier attempt restored", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another restore is at work on `{}`", .0.display())]
    InUse(PathBuf),
}

/// What an attempt restores, and which members it has restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RestoreState {
    format: u32,
    pub(super) system: SystemName,
    /// Of the first attempt.
    pub(super) begun: DateTime<Utc>,
    pub(super) point: Option<RunId>,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) members: BTreeMap<SourceName, RestoredMember>,
}

/// A member that is restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RestoredMember {
    pub(super) run: RunId,
    pub(super) backup: Option<BackupId>,
    pub(super) to: String,
    pub(super) recovery_point: Option<DateTime<Utc>>,
    pub(super) seconds: f64,
    pub(super) judgement: Judgement,
    pub(super) reasons: Vec<String>,
    pub(super) is_everything: bool,
    pub(super) at: RestoredAt,
}

/// Where a restored database can be queried, besides where it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RestoredAt {
    /// The name of the new database.
    pub(super) database: Option<String>,
    /// Of a cluster that was started.
    pub(super) socket: Option<PathBuf>,
    pub(super) port: Option<u16>,
}

impl RestoreState {
    pub(super) fn new(
        system: SystemName,
        begun: DateTime<Utc>,
        point: Option<RunId>,
        until: Option<DateTime<Utc>>,
    ) -> Self {
        Self { format: FORMAT, system, begun, point, until, members: BTreeMap::new() }
    }

    /// Reads what an earlier attempt noted; `None`: there was none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, StateError> {
        let failed = |source| StateError::Read { path: path.to_owned(), source };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let state: Self = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        if state.format != FORMAT {
            return Err(failed(io::Error::other("it was written by another version of drctl")));
        }
        Ok(Some(state))
    }

    /// Writes it, in one step.
    pub(super) fn write(&self, path: &Path) -> Result<(), StateError> {
        let write = || -> io::Result<()> {
            let draft = path.with_extension("json.new");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&draft, path)?;
            path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
        };
        write().map_err(|source| StateError::Write { path: path.to_owned(), source })
    }
}

/// A lock on the place of the state, as long as this process works there.
#[derive(Debug)]
pub(super) struct StateLock {
    _directory: File,
}

impl StateLock {
    pub(super) fn take(state: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::Write { path: state.to_owned(), source };
        let path = state.with_extension("lock");
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _directory: file }),
            Err(Errno::WOULDBLOCK) => Err(StateError::InUse(state.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_back_and_one_restore_works_there_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("plan.state.json");
        assert_eq!(RestoreState::read(&path).unwrap(), None);
        let now: DateTime<Utc> = "2026-11-30T12:00:00Z".parse().unwrap();
        let mut state = RestoreState::new("shop".parse().unwrap(), now, Some(RunId::new(now, 1)), None);
        let member = RestoredMember {
            run: RunId::new(now, 2),
            backup: None,
            to: "/srv/uploads".to_owned(),
            recovery_point: Some(now),
            seconds: 1.5,
            judgement: Judgement::Pass,
            reasons: vec![],
            is_everything: true,
            at: RestoredAt::default(),
        };
        state.members.insert("uploads".parse().unwrap(), member);
        state.write(&path).unwrap();
        assert_eq!(RestoreState::read(&path).unwrap(), Some(state));
        let lock = StateLock::take(&path).unwrap();
        assert!(matches!(StateLock::take(&path), Err(StateError::InUse(_))));
        drop(lock);
        StateLock::take(&path).unwrap();
        fs::write(&path, "{").unwrap();
        assert!(matches!(RestoreState::read(&path), Err(StateError::Read { .. })));
    }
}
