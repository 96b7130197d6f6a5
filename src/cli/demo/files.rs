//! What the application has beside its database: uploads, secrets, and sessions in SQLite.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::cli::error::CommandError;

const UPLOADS: u32 = 200;
const SESSIONS: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE sessions (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL, begun TEXT NOT NULL);
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
    INSERT INTO sessions SELECT i, i % 50, datetime('now') FROM n;";

/// Where they are.
#[derive(Clone, Debug)]
pub(super) struct DemoFiles {
    root: PathBuf,
}

impl DemoFiles {
    pub(super) fn below(folder: &Path) -> Self {
        Self { root: folder.join("app") }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(super) fn secrets(&self) -> PathBuf {
        self.root.join(".env")
    }

    pub(super) fn sessions(&self) -> PathBuf {
        self.root.join("sessions.db")
    }

    /// Writes them.
    pub(super) fn create(&self) -> Result<(), CommandError> {
        let written = || -> std::io::Result<()> {
            fs::create_dir_all(self.uploads())?;
            for n in 0..UPLOADS {
                let text = format!("upload {n}\n").repeat(usize::try_from(n).unwrap_or_default() + 1);
                fs::write(self.uploads().join(format!("photo-{n:03}.jpg")), text)?;
            }
            let secrets =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.secrets());
            secrets?.write_all(b"PAYMENT_API_KEY=not-a-real-one\n")
        };
        written().map_err(CommandError::failed)?;
        let sessions = Connection::open(self.sessions()).map_err(CommandError::failed)?;
        sessions.execute_batch(SESSIONS).map_err(CommandError::failed)
    }

    /// The sources of the policy, and the recovery point that they form with the database.
    pub(super) fn policy(&self) -> String {
        let [uploads, secrets, sessions] =
            [self.uploads(), self.secrets(), self.sessions()].map(|path| path.display().to_string());
        format!(
            "\n[sources.files]\nkind = \"files\"\npaths = [\"{uploads}\", \"{secrets}\"]\n\
             \n[sources.sessions]\nkind = \"sqlite\"\npath = \"{sessions}\"\n\
             \n[recovery_point]\nsources = [\"database\", \"files\", \"sessions\"]\n"
        )
    }

    /// Removes everything.
    pub(super) fn lose(&self) -> Result<(), CommandError> {
        fs::remove_dir_all(&self.root).map_err(CommandError::failed)
    }

    /// Returns the bytes of each file, by its path below the application's folder.
    pub(super) fn contents(&self) -> Result<BTreeMap<PathBuf, Vec<u8>>, CommandError> {
        read_below(&self.root, &[self.uploads(), self.secrets()])
    }

    /// Returns the same of what was restored into `files`, where paths are kept as they were.
    pub(super) fn restored_contents(&self, files: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, CommandError> {
        let within = |path: PathBuf| files.join(path.strip_prefix("/").unwrap_or(&path));
        let root = within(self.root.clone());
        read_below(&root, &[within(self.uploads()), within(self.secrets())])
    }
}

fn read_below(root: &Path, paths: &[PathBuf]) -> Result<BTreeMap<PathBuf, Vec<u8>>, CommandError> {
    let mut found = BTreeMap::new();
    let mut next = paths.to_vec();
    while let Some(path) = next.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).map_err(CommandError::failed)?;
            next.extend(entries.flatten().map(|entry| entry.path()));
        } else {
            let bytes = fs::read(&path).map_err(CommandError::failed)?;
            found.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), bytes);
        }
    }
    Ok(found)
}

/// Counts the rows of the sessions.
pub(super) fn sessions_in(database: &Path) -> Result<u64, CommandError> {
    let connection = Connection::open(database).map_err(CommandError::failed)?;
    let count = connection.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0));
    count.map(i64::unsigned_abs).map_err(CommandError::failed)
}
