//! Unpacks an archive of a data directory or a tablespace. Blocks: run it on a thread of its own.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use super::delta::{ReplacedFile, RetainedFile, remove_conflict, sweep};
use super::layout::{
    CONTROL, CONTROL_KEPT, MANIFEST, MANUAL_RESTORE, MARKER, RESTORED, RESUME_STATE, SERVER_LOG, TABLESPACES,
};
use super::owned_file::create;
use crate::repository::is_interrupted_read;
use crate::text::error_chain;

const BUFFER: usize = 1 << 20;

/// Folders that a server requires, and that an archive may lack.
pub(super) const FOLDERS: [&str; 18] = [
    "global",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_logical/mappings",
    "pg_logical/snapshots",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal/archive_status",
    "pg_xact",
];
/// Files that determine how a server starts; they are rewritten.
///
/// The last ones are of an earlier recovery from which the backed-up cluster came.
const LEFT_OUT: [&str; 10] = [
    "recovery.signal",
    "standby.signal",
    "tablespace_map",
    "postmaster.pid",
    "postmaster.opts",
    MANUAL_RESTORE,
    SERVER_LOG,
    MARKER,
    RESTORED,
    RESUME_STATE,
];

/// Why an archive was not unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// Not necessarily permanent: another repository may have an intact copy.
    #[error("failed to read it")]
    Read(#[source] io::Error),
    #[error("failed to write `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("`{path}` in it leads out of the directory")]
    Escapes { path: PathBuf },
    #[error("`{path}` in it is neither a file nor a directory")]
    Kind { path: PathBuf },
    #[error("it is not whole: it has no `{0}`")]
    NotWhole(&'static str),
}

impl UnpackError {
    pub(super) fn is_interruption(&self) -> bool {
        matches!(self, Self::Read(source) if is_interrupted_read(source))
    }

    /// Returns the whole error chain in one line.
    pub(super) fn told(&self) -> String {
        error_chain(self)
    }
}

/// The kind of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnpackMode {
    /// Its required files must be there. Unpacked without the files that determine how a server starts, and
    /// with its control file under another name.
    DataDirectory,
    /// One of the inputs of `pg_combinebackup`: exactly as it was written.
    Part,
    Tablespace,
}

/// The destination, and the owner of the files.
#[derive(Clone, Debug)]
pub(super) struct Unpacker {
    pub(super) root: PathBuf,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) what: UnpackMode,
    /// Existing files are changed into the unpacked ones.
    pub(super) changes: bool,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// The part of it that was already there.
    pub(super) reused: u64,
}

impl Unpacker {
    /// Reads the archive and any trailing data to the end, where it is verified.
    pub(super) fn unpack(&self, stream: impl Read) -> Result<Unpacked, UnpackError> {
        let mut archive = tar::Archive::new(stream);
        let mut unpacked = Unpacked::default();
        let mut made = BTreeSet::from([PathBuf::new()]);
        let (mut seen, mut kept) = (BTreeSet::new(), RetainedFile::default());
        let mut buffer = vec![0; BUFFER];
        for entry in archive.entries().map_err(UnpackError::Read)? {
            let mut entry = entry.map_err(UnpackError::Read)?;
            let path = inner(&entry.path().map_err(UnpackError::Read)?)?;
            if self.leaves_out(&path) {
                continue;
            }
            let kind = entry.header().entry_type();
            if kind.is_dir() {
                self.folders(&path, &mut made)?;
            } else if kind.is_file() || kind.is_contiguous() {
                self.folders(path.parent().unwrap_or(Path::new("")), &mut made)?;
                unpacked.bytes += self.file(&path, &mut entry, &mut buffer, &mut kept)?;
                unpacked.files += 1;
                if self.what != UnpackMode::Tablespace {
                    seen.extend(NEEDED.into_iter().filter(|needed| path == Path::new(needed)));
                }
            } else {
                return Err(UnpackError::Kind { path });
            }
        }
        let mut rest = archive.into_inner();
        while rest.read(&mut buffer).map_err(UnpackError::Read)? > 0 {}
        let missing = NEEDED.into_iter().find(|needed| !seen.contains(needed));
        match (self.what, missing) {
            (UnpackMode::DataDirectory | UnpackMode::Part, Some(missing)) => {
                return Err(UnpackError::NotWhole(missing));
            }
            (UnpackMode::DataDirectory, None) => {
                FOLDERS.iter().try_for_each(|folder| self.folders(Path::new(folder), &mut made))?;
            }
            (UnpackMode::Part | UnpackMode::Tablespace, _) => {}
        }
        if self.changes {
            sweep(&self.root, &made, &kept)
                .map_err(|source| UnpackError::Write { path: self.root.clone(), source })?;
            unpacked.reused = kept.bytes;
        }
        Ok(unpacked)
    }

    fn leaves_out(&self, path: &Path) -> bool {
        // The links of tablespaces point to their original locations.
        let is_link = path.parent() == Some(Path::new(TABLESPACES));
        match self.what {
            UnpackMode::DataDirectory => is_link || is_left_out(path),
            UnpackMode::Part => is_link,
            UnpackMode::Tablespace => false,
        }
    }

    fn folders(&self, path: &Path, made: &mut BTreeSet<PathBuf>) -> Result<(), UnpackError> {
        if made.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folders(parent, made)?;
        }
        let folder = self.root.join(path);
        if self.changes {
            remove_conflict(&folder).map_err(|source| UnpackError::Write { path: folder.clone(), source })?;
        }
        make_folder(&folder, self.owner)?;
        // An existing file may belong to another user.
        if let Some((user, group)) = self.owner.filter(|_| self.changes) {
            let owned = chown(&folder, Some(user), Some(group));
            owned.map_err(|source| UnpackError::Write { path: folder, source })?;
        }
        made.insert(path.to_owned());
        Ok(())
    }

    fn file(
        &self,
        path: &Path,
        entry: &mut impl Read,
        buffer: &mut [u8],
        kept: &mut RetainedFile,
    ) -> Result<u64, UnpackError> {
        let is_control = self.what == UnpackMode::DataDirectory && path == Path::new(CONTROL);
        let path = self.root.join(if is_control { Path::new(CONTROL_KEPT) } else { path });
        let write = |source| UnpackError::Write { path: path.clone(), source };
        let mut file = if self.changes {
            Sink::Over(ReplacedFile::open(&path, self.owner).map_err(write)?)
        } else {
            Sink::New(create(&path, self.owner).map_err(write)?)
        };
        let mut written = 0;
        loop {
            let mut filled = 0;
            while filled < buffer.len() {
                match entry.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(UnpackError::Read(error)),
                }
            }
            let put = match &mut file {
                Sink::New(file) => file.write_all(&buffer[..filled]),
                Sink::Over(over) => over.put(&buffer[..filled]),
            };
            put.map_err(write)?;
            written += filled as u64;
            if filled < buffer.len() {
                break;
            }
        }
        if let Sink::Over(over) = file {
            over.end(kept).map_err(write)?;
        }
        Ok(written)
    }
}

/// Returns whether a file of a data directory determines how a server starts.
pub(super) fn is_left_out(path: &Path) -> bool {
    LEFT_OUT.iter().any(|left_out| path == Path::new(left_out))
}

/// The destination of a file's bytes.
enum Sink {
    New(File),
    Over(ReplacedFile),
}

const NEEDED: [&str; 4] = ["PG_VERSION", "backup_label", CONTROL, MANIFEST];

/// Returns a path that stays below its root.
fn inner(path: &Path) -> Result<PathBuf, UnpackError> {
    let mut inner = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inner.push(name),
            Component::CurDir => {}
            _ => return Err(UnpackError::Escapes { path: path.to_owned() }),
        }
    }
    Ok(inner)
}

/// Creates a folder that only its owner can access; an existing one is not an error.
pub(super) fn make_folder(path: &Path, owner: Option<(u32, u32)>) -> Result<(), UnpackError> {
    let write = |source| UnpackError::Write { path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(write)?,
    }
    match owner {
        Some((user, group)) => chown(path, Some(user), Some(group)).map_err(write),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o777);
            // Its own setter refuses what is to be refused.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpacker(root: &Path) -> Unpacker {
        Unpacker { root: root.to_owned(), owner: None, what: UnpackMode::DataDirectory, changes: false }
    }

    const WHOLE: [(&str, &str); 5] = [
        ("PG_VERSION", "15\n"),
        ("backup_label", "START"),
        ("base/1/112", "table"),
        ("global/pg_control", "control"),
        ("backup_manifest", "{}"),
    ];

    #[test]
    fn a_data_directory_comes_without_what_would_start_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let mut members = WHOLE.to_vec();
        members.push(("standby.signal", ""));
        members.push(("pg_tblspc/16384", "a link"));
        let unpacked = unpacker(root.path()).unpack(&archive(&members)[..]).unwrap();
        assert_eq!(unpacked, Unpacked { files: 5, bytes: 3 + 5 + 5 + 7 + 2, reused: 0 });
        assert!(!root.path().join(CONTROL).exists() && root.path().join(CONTROL_KEPT).exists());
        assert!(!root.path().join("standby.signal").exists());
        assert!(!root.path().join("pg_tblspc/16384").exists());
        let mode = |path: &str| std::fs::metadata(root.path().join(path)).unwrap().permissions().mode();
        assert_eq!((mode("base/1/112") & 0o777, mode("pg_wal") & 0o777), (0o600, 0o700));
    }

    #[test]
    fn what_is_not_whole_or_leads_out_is_refused() {
        for left_out in ["PG_VERSION", "backup_label", "global/pg_control", "backup_manifest"] {
            let members: Vec<_> = WHOLE.into_iter().filter(|(path, _)| *path != left_out).collect();
            let root = tempfile::tempdir().unwrap();
            let refused = unpacker(root.path()).unpack(&archive(&members)[..]);
            assert!(matches!(refused, Err(UnpackError::NotWhole(missing)) if missing == left_out));
        }
        for path in ["../out", "/tmp/out", "base/../../out"] {
            let root = tempfile::tempdir().unwrap();
            let to = root.path().join("to");
            std::fs::create_dir(&to).unwrap();
            let refused = unpacker(&to).unpack(&archive(&[(path, "x")])[..]);
            assert!(matches!(refused, Err(UnpackError::Escapes { .. })), "{path}: {refused:?}");
            assert!(!root.path().join("out").exists());
        }
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "base", "/etc").unwrap();
        let root = tempfile::tempdir().unwrap();
        let refused = unpacker(root.path()).unpack(&builder.into_inner().unwrap()[..]);
        assert!(matches!(refused, Err(UnpackError::Kind { .. })));
    }

    #[test]
    fn an_archive_that_is_cut_or_not_proven_at_its_end_is_not_unpacked() {
        struct Breaks<'a>(&'a [u8]);
        impl Read for Breaks<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("not what was stored")),
                    count => Ok(count),
                }
            }
        }
        let bytes = archive(&WHOLE);
        let root = tempfile::tempdir().unwrap();
        let refused = unpacker(root.path()).unpack(Breaks(&bytes));
        assert!(matches!(refused, Err(UnpackError::Read(_))), "{refused:?}");
        for cut in [1, 512, 700, 1024 + 3] {
            let root = tempfile::tempdir().unwrap();
            assert!(unpacker(root.path()).unpack(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
