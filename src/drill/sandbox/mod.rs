//! Where a drill restores to: a directory of its own, and servers without a network that are reached by a socket in it.
//!
//! *Invariants.* Everything that a drill creates on this host is in its directory. A directory whose drill does not run
//! any more is removed by the next one, its server stopped first; one whose drill runs is left alone.

mod isolation;
mod leftovers;
mod server;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::model::RunId;
use crate::platform::{CancellationToken, ProcessError, server_process};
use crate::postgres::{ConnectError, ServerPrograms};
use crate::restore::physical::{ConfinedStart, DirectoryOwner};

pub(super) use isolation::Isolation;
pub(super) use leftovers::remove_leftovers;
pub(super) use server::{PORT, SandboxServer};

/// The lock of the drill that runs in a directory; its name marks the directory as a sandbox.
const LOCK: &str = "drctl-drill.lock";
const DATA: &str = "data";
const HBA: &str = "pg_hba.conf";
/// The extension of a directory that is being made.
const UNFINISHED: &str = "new";
/// The maximum length of a socket's path.
const SOCKET_PATH: usize = 107;
const SOCKET: &str = ".s.PGSQL.65535";
/// The users that a server of root's sandbox runs as: the first that exists.
const USERS: [&str; 2] = ["postgres", "daemon"];

#[derive(Debug, Error)]
pub(super) enum SandboxError {
    #[error("failed to make the sandbox `{path}`")]
    Make { path: PathBuf, source: io::Error },
    #[error("`{path}` belongs to another user, or others may write to it: a sandbox is not made in it")]
    Foreign { path: PathBuf },
    #[error("the path of the sandbox `{path}` is too long for a socket")]
    TooLong { path: PathBuf },
    #[error(
        "the path of the sandbox `{path}` has characters that PostgreSQL's programs do not take as they are"
    )]
    Characters { path: PathBuf },
    #[error("PostgreSQL does not run as root, and this host has no user `postgres` or `daemon` to run it as")]
    NoUser,
    #[error("the user `{user}` cannot reach the sandbox `{path}`: a directory above it is closed to it")]
    OutOfReach { user: String, path: PathBuf },
    #[error(
        "this host has no server programs of PostgreSQL {major} or newer (`apt-get install postgresql-{major}`)"
    )]
    NoServer { major: u32 },
    #[error("failed to start the server of the sandbox")]
    Start(#[source] ProcessError),
    #[error("failed to reach the server of the sandbox")]
    Reach(#[source] ConnectError),
    #[error("interrupted")]
    Interrupted,
}

/// The directory of one drill, locked until it is dropped.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) directory: PathBuf,
    pub(super) isolation: Isolation,
    /// Who runs the servers, where this process is root's.
    pub(super) owner: Option<DirectoryOwner>,
    _lock: File,
}

impl Sandbox {
    /// Creates the sandbox of a drill in `root`, and finds out how this host isolates a server.
    pub(in crate::drill) async fn create(
        root: &Path,
        drill: &RunId,
        cancel: &CancellationToken,
    ) -> Result<Self, SandboxError> {
        let is_root = rustix::process::geteuid().is_root();
        let owner = if is_root { Some(owner().await.ok_or(SandboxError::NoUser)?) } else { None };
        if !root.to_string_lossy().chars().all(|c| c.is_alphanumeric() || "/._-+@".contains(c)) {
            return Err(SandboxError::Characters { path: root.to_owned() });
        }
        let directory = root.join(short_name(drill));
        if directory.join("s").join(SOCKET).as_os_str().len() > SOCKET_PATH {
            return Err(SandboxError::TooLong { path: directory });
        }
        make_root(root)?;
        // It has its name once it is locked: another drill takes it for abandoned otherwise.
        let unfinished = directory.with_extension(UNFINISHED);
        let made = Self::make(&unfinished, owner.as_ref()).and_then(|lock| {
            fs::rename(&unfinished, &directory)?;
            Ok(lock)
        });
        let lock = match made {
            Ok(lock) => lock,
            Err(source) => {
                let _gone = fs::remove_dir_all(&unfinished);
                return Err(SandboxError::Make { path: directory, source });
            }
        };
        if let Some(owner) = owner.as_ref().filter(|owner| !is_open_to(owner, root)) {
            let _gone = fs::remove_dir_all(&directory);
            return Err(SandboxError::OutOfReach { user: owner.name.clone(), path: root.to_owned() });
        }
        let isolation = Isolation::find(is_root, &directory, cancel).await;
        Ok(Self { isolation, directory, owner, _lock: lock })
    }

    /// The directory stays this user's own: what the server's user could replace, this one must not follow.
    fn make(directory: &Path, owner: Option<&DirectoryOwner>) -> io::Result<File> {
        DirBuilder::new().mode(if owner.is_some() { 0o711 } else { 0o700 }).create(directory)?;
        let lock = File::create_new(directory.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        for name in ["s", "spool", DATA] {
            DirBuilder::new().mode(0o700).create(directory.join(name))?;
        }
        // Who is in the sandbox is its superuser: no other user reaches the socket.
        let hba = directory.join(HBA);
        fs::write(&hba, "local all all trust\n")?;
        fs::set_permissions(&hba, Permissions::from_mode(0o644))?;
        if let Some(owner) = owner {
            for name in ["s", DATA] {
                chown(directory.join(name), Some(owner.user), Some(owner.group))?;
            }
        }
        Ok(lock)
    }

    pub(super) fn socket_directory(&self) -> PathBuf {
        self.directory.join("s")
    }

    /// Returns where files wait that are handed over.
    pub(super) fn spool(&self) -> PathBuf {
        self.directory.join("spool")
    }

    /// Returns where the WAL's relay listens.
    pub(super) fn relay(&self) -> PathBuf {
        self.socket_directory().join("wal")
    }

    /// Returns the data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join(DATA)
    }

    fn hba_file(&self) -> PathBuf {
        self.directory.join(HBA)
    }

    /// Returns how a restored server is started.
    pub(super) fn confined(&self) -> ConfinedStart {
        ConfinedStart {
            launcher: self.isolation.launcher.clone(),
            socket_directory: self.socket_directory(),
            hba_file: self.hba_file(),
            settings: server::settings(),
        }
    }

    fn ids(&self) -> Option<(u32, u32)> {
        self.owner.as_ref().map(|owner| (owner.user, owner.group))
    }

    fn programs(&self, directory: PathBuf) -> ServerPrograms {
        ServerPrograms {
            directory,
            owner: self.ids(),
            launcher: self.isolation.launcher.clone(),
            clears_environment: true,
        }
    }

    /// Verifies that the server that runs in the sandbox has no network. Returns what was found.
    pub(super) fn prove_isolation(&self) -> Result<String, String> {
        let process = server_process(&self.data()).ok_or("its process was not found")?;
        match isolation::is_apart(process) {
            true => Ok(format!(
                "the server, process {process}, is in {}",
                isolation::namespace_of(process).unwrap_or_default()
            )),
            false => Err(format!("the server, process {process}, is in the network namespace of this host")),
        }
    }

    /// Leaves it as it is: later drills do not remove it. Returns the directory.
    pub(in crate::drill) fn keep(self) -> PathBuf {
        let _gone = fs::remove_file(self.directory.join(LOCK));
        self.directory
    }

    /// Stops what runs in it and removes it. Returns what is left, and why.
    pub(super) async fn tear_down(self) -> Result<String, String> {
        let shown = format!("directory `{}`", self.directory.display());
        leftovers::clear(&self.directory).await.map_err(|why| format!("{shown}: {why}"))?;
        self.remove_files().map_err(|error| format!("{shown}: {error}"))?;
        if self.directory.exists() { Err(format!("{shown}: it is still there")) } else { Ok(shown) }
    }

    fn remove_files(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.directory)
    }
}

/// Makes the directory of all sandboxes, or takes the one that is there, if no other user could replace what is in it.
fn make_root(root: &Path) -> Result<(), SandboxError> {
    let made = |source| SandboxError::Make { path: root.to_owned(), source };
    if let Some(parent) = root.parent() {
        DirBuilder::new().mode(0o755).recursive(true).create(parent).map_err(made)?;
    }
    match DirBuilder::new().mode(0o711).create(root) {
        Ok(()) => return fs::set_permissions(root, Permissions::from_mode(0o711)).map_err(made),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(made(error)),
    }
    let found = fs::symlink_metadata(root).map_err(made)?;
    let is_own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if !is_own || found.mode() & 0o022 != 0 {
        return Err(SandboxError::Foreign { path: root.to_owned() });
    }
    Ok(())
}

async fn owner() -> Option<DirectoryOwner> {
    for name in USERS {
        if let Some(owner) = DirectoryOwner::find(name).await {
            return Some(owner);
        }
    }
    None
}

/// Whether a user may enter a directory and all above it.
fn is_open_to(owner: &DirectoryOwner, path: &Path) -> bool {
    path.ancestors().filter(|folder| !folder.as_os_str().is_empty()).all(|folder| {
        fs::metadata(folder).is_ok_and(|found| {
            let shift = match () {
                () if found.uid() == owner.user => 6,
                () if found.gid() == owner.group => 3,
                () => 0,
            };
            found.permissions().mode() >> shift & 1 != 0
        })
    })
}

/// Returns a name that is short enough for a socket below it.
fn short_name(drill: &RunId) -> String {
    drill.as_str().replace(['T', '-', 'Z'], "")
}
