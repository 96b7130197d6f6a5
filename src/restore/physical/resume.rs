//! A directory whose files are complete, and whose recovery is not: the next restore resumes there.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::layout::{CONTROL, RESUME_STATE};
use super::{BaseBackupSelector, PhysicalRestoreError, PhysicalRestoreRequest, TablespaceMapping};
use crate::model::BackupId;
use crate::platform::resolved_path;

/// The state of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResumeState {
    pub(super) backup: BackupId,
    #[serde(default)]
    pub(super) tablespaces: Vec<Placed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wal_directory: Option<PathBuf>,
}

/// The location of a tablespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Placed {
    pub(super) oid: u32,
    pub(super) to: PathBuf,
}

impl ResumeState {
    pub(super) fn has(&self, directory: &Path) -> bool {
        let mut known = self.tablespaces.iter().map(|placed| &placed.to).chain(&self.wal_directory);
        known.any(|known| known == directory)
    }
}

/// Reads the state of a directory; `None`: there is nothing to resume.
pub(super) fn look(directory: &Path) -> Option<ResumeState> {
    let recovers = directory.join("recovery.signal").exists() && directory.join(CONTROL).exists();
    let state = std::fs::read(directory.join(RESUME_STATE)).ok().filter(|_| recovers)?;
    serde_json::from_slice(&state).ok()
}

/// Returns the request with the backup that the directory already contains and with its tablespace locations.
pub(super) fn with_its_backup(
    request: &PhysicalRestoreRequest,
) -> Result<Option<PhysicalRestoreRequest>, PhysicalRestoreError> {
    let failed = |source| PhysicalRestoreError::Look { path: request.to.clone(), source };
    let to = resolved_path(&request.to).map_err(failed)?;
    let Some(state) = look(&to).filter(|_| request.backup == BaseBackupSelector::Fitting && !request.delta)
    else {
        return Ok(None);
    };
    let mut request = PhysicalRestoreRequest {
        backup: BaseBackupSelector::Prefix(state.backup.to_string()),
        ..request.clone()
    };
    request.wal_directory = request.wal_directory.or(state.wal_directory);
    // The locations of the request take precedence, and are refused where they differ.
    let placed = state.tablespaces.into_iter();
    request.tablespaces.extend(
        placed.map(|placed| TablespaceMapping { which: placed.oid.to_string(), directory: placed.to }),
    );
    Ok(Some(request))
}

/// Locks a directory for this process. `None`: another one holds it.
pub(super) fn hold(directory: &Path) -> io::Result<Option<File>> {
    let state = File::open(directory.join(RESUME_STATE))?;
    match flock(&state, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        locked => {
            locked?;
            Ok(Some(state))
        }
    }
}

/// Removes the state: there is nothing left to resume. A missing file is not an error.
pub(super) fn end(directory: &Path) -> io::Result<()> {
    match std::fs::remove_file(directory.join(RESUME_STATE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_whose_recovery_is_open_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(look(folder.path()), None);
        std::fs::create_dir(at("global")).unwrap();
        let state = ResumeState {
            backup: "20261120T115900Z-database-base-2222".parse().unwrap(),
            tablespaces: vec![Placed { oid: 16401, to: "/srv/a".into() }],
            wal_directory: None,
        };
        std::fs::write(at(RESUME_STATE), serde_json::to_vec(&state).unwrap()).unwrap();
        std::fs::write(at("global/pg_control"), "").unwrap();
        assert_eq!(look(folder.path()), None);
        std::fs::write(at("recovery.signal"), "").unwrap();
        assert_eq!(look(folder.path()), Some(state.clone()));
        assert!(state.has(Path::new("/srv/a")) && !state.has(Path::new("/srv")));
        let held = hold(folder.path()).unwrap();
        assert!(held.is_some() && hold(folder.path()).unwrap().is_none());
        end(folder.path()).unwrap();
        end(folder.path()).unwrap();
        assert_eq!(look(folder.path()), None);
    }
}
