//! Folders on disk: what volumes and snapshots are made of.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use tempfile::TempDir;

use super::super::Outcome;
use super::super::cluster_template;
use super::super::postgres::{owner, programs};
use super::Shared;

/// Small segments: a switch of segments costs one, and tests switch often.
const INITDB: [&str; 3] = ["--username=rdsadmin", "--wal-segsize=1", "--auth=trust"];

/// Everything this control plane keeps. Gone with the last thing that stands in it.
#[derive(Debug)]
pub(super) struct Storage {
    root: TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    folders: AtomicU64,
    /// Set where servers are reached through a door.
    doors: OnceLock<Weak<Shared>>,
}

impl Storage {
    pub(super) fn new(major: u32) -> Outcome<Arc<Self>> {
        let root = super::super::scratch::open_folder("drctl-rds")?;
        let storage = Self {
            root,
            programs: programs(major)?,
            owner: owner()?,
            folders: AtomicU64::new(0),
            doors: OnceLock::new(),
        };
        storage.give(storage.root.path())?;
        Ok(Arc::new(storage))
    }

    /// A new folder that the servers' user owns.
    pub(super) fn folder(self: &Arc<Self>, kind: &str) -> Outcome<Folder> {
        let number = self.folders.fetch_add(1, Ordering::Relaxed);
        let path = self.root.path().join(format!("{kind}-{number}"));
        std::fs::create_dir(&path)?;
        self.give(&path)?;
        Ok(Folder { path, storage: Arc::clone(self) })
    }

    pub(super) fn give(&self, path: &Path) -> Outcome<()> {
        if let Some((user, group)) = self.owner {
            chown(path, Some(user), Some(group))?;
        }
        Ok(())
    }

    pub(super) fn put_doors(&self, shared: Weak<Shared>) {
        let _there_already = self.doors.set(shared);
    }

    pub(super) fn doors(&self) -> Option<Weak<Shared>> {
        self.doors.get().cloned()
    }

    /// A new cluster that `rdsadmin` owns.
    pub(super) fn initdb(&self, data: &Path) -> Outcome<()> {
        let mut initdb = self.program("initdb");
        initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]).args(INITDB).arg("-D").arg(data);
        run(initdb)?;
        Ok(())
    }

    /// Where clusters are kept that were made with these words; none may be there yet.
    pub(super) fn template(&self, words: &[&str]) -> Outcome<PathBuf> {
        let arguments: Vec<String> = INITDB.iter().chain(words).map(|word| (*word).to_owned()).collect();
        cluster_template::template(&self.programs, &arguments)
    }

    /// A program of PostgreSQL's, run as the user that may run servers.
    pub(super) fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if self.owner.is_some() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.env("LC_ALL", "C").current_dir(self.root.path());
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command
    }
}

/// A folder that is deleted with its last owner.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    storage: Arc<Storage>,
}

impl Folder {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// Another with the same content.
    pub(super) fn copy(&self, kind: &str) -> Outcome<Self> {
        let copy = self.storage.folder(kind)?;
        let mut command = Command::new("cp");
        command.arg("-a").arg("--reflink=auto").arg(self.path.join(".")).arg(&copy.path);
        run(command)?;
        Ok(copy)
    }

    /// Of all its files, in bytes.
    pub(super) fn size(&self) -> Outcome<u64> {
        let (mut size, mut folders) = (0, vec![self.path.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let about = entry.metadata()?;
                size += if about.is_file() { about.len() } else { 0 };
                folders.extend(about.is_dir().then(|| entry.path()));
            }
        }
        Ok(size)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.path);
    }
}

/// Runs a program to its end, and gives what it printed.
pub(super) fn run(mut command: Command) -> Outcome<String> {
    let output = command.output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?} failed ({}): {words}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
