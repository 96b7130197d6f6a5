//! The facts of this host: the target directories, the server programs, and what their user can read.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::directory_lock::{DirectoryLock, DirectoryMarker};
use super::layout::{MANUAL_RESTORE, MARKER};
use super::{PhysicalRestoreError, PhysicalRestoreRequest, delta, resume};
use crate::model::{RepositoryName, SystemIdentifier};
use crate::platform::{free_space, resolved_path};
use crate::postgres::Tools;

/// Combines a chain.
pub(super) const COMBINE: &str = "pg_combinebackup";
pub(super) const VERIFY: &str = "pg_verifybackup";

/// What exists at a restore's destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DirectoryState {
    Absent,
    Empty,
    /// Leftovers of an interrupted run.
    LeftOver(String),
    /// Leftovers of an interrupted run that was changing a data directory, with its original system
    /// identifier.
    Changed(SystemIdentifier),
    /// In use by a run in progress.
    AtWork(String),
    /// A cluster restored by drctl, whether or not it was started since.
    Restored,
    /// The same, with a recovery that did not complete.
    Begun(resume::ResumeState),
    Data,
    NotADirectory,
}

/// A target directory.
#[derive(Clone, Debug)]
pub(super) struct DirectorySurvey {
    /// With links resolved, as far as it exists.
    pub(super) path: PathBuf,
    pub(super) standing: DirectoryState,
    pub(super) free: u64,
    /// The device of its file system.
    pub(super) device: u64,
    /// The data directory that contains it.
    pub(super) inside: Option<PathBuf>,
    /// A tablespace of the data directory that is to be changed.
    pub(super) is_reusable: bool,
}

impl DirectorySurvey {
    /// Returns the state of an earlier restore there whose recovery did not complete.
    pub(super) fn begun(&self) -> Option<&resume::ResumeState> {
        if let DirectoryState::Begun(state) = &self.standing { Some(state) } else { None }
    }

    pub(super) fn look(path: &Path) -> Result<Self, PhysicalRestoreError> {
        let failed = |source| PhysicalRestoreError::Look { path: path.to_owned(), source };
        let resolved = resolved_path(path).map_err(failed)?;
        let existing = resolved.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let device = std::fs::metadata(existing).map_err(failed)?.dev();
        let inside = resolved.ancestors().skip(1).find(|folder| folder.join("PG_VERSION").exists());
        Ok(Self {
            standing: standing(&resolved).map_err(failed)?,
            free: free_space(&resolved).map_err(failed)?,
            device,
            inside: inside.map(Path::to_owned),
            is_reusable: false,
            path: resolved,
        })
    }
}

fn standing(path: &Path) -> io::Result<DirectoryState> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DirectoryState::Absent),
        found => found?,
    };
    if !found.is_dir() {
        return Ok(DirectoryState::NotADirectory);
    }
    // The root of a file system always has it.
    let holds = |entry: &io::Result<std::fs::DirEntry>| {
        entry.as_ref().map_or(true, |entry| entry.file_name() != "lost+found")
    };
    if !std::fs::read_dir(path)?.any(|entry| holds(&entry)) {
        return Ok(DirectoryState::Empty);
    }
    // With its control file it is a data directory, whatever else it contains.
    match std::fs::read(path.join(MARKER)) {
        // Whatever the marker says: the WAL kept there may exist nowhere else.
        Ok(bytes)
            if !path.join("global/pg_control").exists()
                && delta::preserves_wal(path)
                && changes(&bytes).is_none() =>
        {
            Ok(DirectoryState::Data)
        }
        Ok(bytes) if !path.join("global/pg_control").exists() => {
            // Writing the marker may have been interrupted itself.
            let marker = serde_json::from_slice::<DirectoryMarker>(&bytes).ok();
            let changes = changes(&bytes);
            let run = marker.map_or_else(|| "unknown".to_owned(), |marker| marker.run);
            Ok(match (DirectoryLock::take(path)?, changes) {
                (None, _) => DirectoryState::AtWork(run),
                (Some(_), Some(cluster)) => DirectoryState::Changed(cluster),
                (Some(_), None) => DirectoryState::LeftOver(run),
            })
        }
        _ if path.join(MANUAL_RESTORE).exists() => {
            Ok(resume::look(path).map_or(DirectoryState::Restored, DirectoryState::Begun))
        }
        _ => Ok(DirectoryState::Data),
    }
}

fn changes(mark: &[u8]) -> Option<SystemIdentifier> {
    serde_json::from_slice::<DirectoryMarker>(mark).ok()?.changes
}

/// The facts of this host that a plan needs.
#[derive(Clone, Debug)]
pub(super) struct HostFacts {
    pub(super) to: DirectorySurvey,
    /// In the order of the backup's tablespaces.
    pub(super) tablespaces: Vec<DirectorySurvey>,
    /// The destination of `pg_wal`.
    pub(super) wal: Option<DirectorySurvey>,
    /// The target of the `pg_wal` link in the data directory that is changed.
    pub(super) wal_link: Option<PathBuf>,
    pub(super) is_root: bool,
    /// Server programs, each complete.
    pub(super) servers: Vec<Tools>,
    /// The programs that combine a chain, where there is one.
    pub(super) combining: Option<Tools>,
    /// Files needed by `restore_command` that the server's user cannot read.
    pub(super) unreadable: Vec<PathBuf>,
    /// Repositories that are directories of this host, with links resolved.
    pub(super) repositories: Vec<(RepositoryName, PathBuf)>,
    /// The data directory that is to be changed.
    pub(super) reusable: Option<delta::ReuseState>,
    /// The size of the files that are to be changed.
    pub(super) reusable_bytes: u64,
    /// The requested port where it is in use, and the system's error.
    pub(super) port_taken: Option<(u16, String)>,
}

impl HostFacts {
    /// Inspects this host. `combined_by`: the major version of the programs that have to combine a chain.
    pub(super) async fn look(
        request: &PhysicalRestoreRequest,
        tablespaces: &[PathBuf],
        combined_by: Option<u32>,
    ) -> Result<Self, PhysicalRestoreError> {
        let command = &request.command;
        let policy = Some(&command.policy).filter(|_| command.relay.is_none());
        let needed = command.identities.iter().chain(policy).chain([&command.drctl]);
        let unreadable = match &request.owner {
            Some(owner) => needed.filter(|path| !owner.may_read(path)).cloned().collect(),
            None => vec![],
        };
        let to = DirectorySurvey::look(&request.to)?;
        let is_data =
            matches!(to.standing, DirectoryState::Data | DirectoryState::Restored | DirectoryState::Begun(_));
        let is_changed = is_data || matches!(to.standing, DirectoryState::Changed(_));
        let look = |path: &Path| {
            delta::ReuseState::look(path)
                .map_err(|source| PhysicalRestoreError::Look { path: path.to_owned(), source })
        };
        Ok(Self {
            reusable_bytes: if request.delta && is_changed {
                delta::reusable_bytes(&to.path)
                    .map_err(|source| PhysicalRestoreError::Look { path: to.path.clone(), source })?
            } else {
                0
            },
            reusable: if request.delta && is_data { look(&to.path)? } else { None },
            wal: request.wal_directory.as_deref().map(DirectorySurvey::look).transpose()?,
            wal_link: if request.delta && is_changed { delta::wal_volume(&to.path) } else { None },
            to,
            tablespaces: tablespaces
                .iter()
                .map(|path| {
                    let place = DirectorySurvey::look(path)?;
                    let is_reusable = request.delta && delta::is_tablespace_of(&request.to, &place.path);
                    Ok(DirectorySurvey { is_reusable, ..place })
                })
                .collect::<Result<_, PhysicalRestoreError>>()?,
            is_root: rustix::process::geteuid().is_root(),
            servers: Tools::servers(request.tools.as_deref()).await,
            combining: match combined_by {
                Some(major) => Tools::with(request.tools.as_deref(), major, &[COMBINE, VERIFY]).await,
                None => None,
            },
            unreadable,
            repositories: request
                .repositories
                .iter()
                .map(|(name, path)| (name.clone(), resolved_path(path).unwrap_or_else(|_| path.clone())))
                .collect(),
            // A confined server listens on no port.
            port_taken: request
                .start
                .as_ref()
                .filter(|start| start.confined.is_none())
                .and_then(|start| start.port)
                .and_then(taken),
        })
    }
}

/// Returns the port and the error where a server could not listen on it.
fn taken(port: u16) -> Option<(u16, String)> {
    TcpListener::bind(("127.0.0.1", port)).err().map(|error| (port, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_told_from_what_holds_data() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("data");
        assert_eq!(DirectorySurvey::look(&to).unwrap().standing, DirectoryState::Absent);
        std::fs::create_dir(&to).unwrap();
        assert_eq!(DirectorySurvey::look(&to).unwrap().standing, DirectoryState::Empty);
        let marker = DirectoryMarker {
            run: "r1".to_owned(),
            backup: String::new(),
            what: String::new(),
            changes: None,
        };
        std::fs::write(to.join(MARKER), serde_json::to_vec(&marker).unwrap()).unwrap();
        let hold = DirectoryLock::take(&to).unwrap();
        assert!(hold.is_some());
        assert_eq!(DirectorySurvey::look(&to).unwrap().standing, DirectoryState::AtWork("r1".to_owned()));
        drop(hold);
        assert_eq!(DirectorySurvey::look(&to).unwrap().standing, DirectoryState::LeftOver("r1".to_owned()));
        std::fs::create_dir(to.join("global")).unwrap();
        std::fs::write(to.join("global/pg_control"), "").unwrap();
        assert_eq!(DirectorySurvey::look(&to).unwrap().standing, DirectoryState::Data);
        std::fs::write(to.join(MANUAL_RESTORE), "").unwrap();
        assert_eq!(DirectorySurvey::look(&to).unwrap().standing, DirectoryState::Restored);
        std::fs::write(to.join("PG_VERSION"), "15\n").unwrap();
        let inner = DirectorySurvey::look(&to.join("base/../new/deep")).unwrap();
        assert_eq!(inner.path, to.join("new/deep"));
        assert_eq!(inner.inside.as_deref(), Some(to.as_path()));
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&to, &link).unwrap();
        assert_eq!(DirectorySurvey::look(&link.join("new")).unwrap().inside, Some(to));
    }
}
