//! What was read, and what was not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::index::{EntryKind, IndexEntry, PathBytes, is_within};
use crate::model::FilesDetails;

/// How many names of one sort the details have.
const MOST_NAMES: usize = 1000;

/// The file that names, on this host, what the last backup could not read.
const PROBLEMS: &str = "problems.txt";

/// The paths that are no more: NUL-separated, for `xargs -0`.
#[derive(Debug)]
pub(super) struct Deleted {
    file: BufWriter<File>,
    /// The last one: what is below it goes with it.
    last: Option<Vec<u8>>,
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Deleted {
    pub(super) fn new(file: File) -> Self {
        Self { file: BufWriter::new(file), last: None, count: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, path: &[u8]) -> io::Result<()> {
        if self.last.as_ref().is_some_and(|last| is_within(path, last)) {
            return Ok(());
        }
        self.file.write_all(path)?;
        self.file.write_all(&[0])?;
        self.count += 1;
        self.bytes += path.len() as u64 + 1;
        self.last = Some(path.to_vec());
        Ok(())
    }

    pub(super) fn end(self) -> io::Result<File> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// The counts of a backup.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) details: FilesDetails,
    /// New or changed, and in this backup.
    pub(super) read: u64,
    pub(super) vanished: u64,
    pub(super) other_file_systems: u64,
    reasons: Vec<(String, u64)>,
}

impl Tally {
    /// Counts an entry of the index.
    pub(super) fn entry(&mut self, entry: &IndexEntry) {
        let details = &mut self.details;
        details.entries += 1;
        match entry.kind {
            EntryKind::File => {
                details.files += 1;
                details.bytes = details.bytes.saturating_add(entry.size);
            }
            EntryKind::HardLink => details.files += 1,
            EntryKind::Directory => details.directories += 1,
            _ => {}
        }
    }

    pub(super) fn changed(&mut self, path: &[u8]) {
        self.details.changed_count += 1;
        name(&mut self.details.changed, path);
    }

    pub(super) fn unreadable(&mut self, path: &[u8], error: &io::Error) {
        self.details.unreadable_count += 1;
        name(&mut self.details.unreadable, path);
        let reason = error.to_string();
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.reasons.push((reason, 1)),
        }
    }

    pub(super) fn socket(&mut self, path: &[u8]) {
        self.details.socket_count += 1;
        name(&mut self.details.sockets, path);
    }

    /// Returns why the backup is not all that it should be, without a name of a file. `problems`: where the names are.
    pub(super) fn warnings(&self, problems: Option<&Path>) -> Vec<String> {
        let details = &self.details;
        let named = match problems {
            Some(path) => format!("`{}` on this host names them", path.display()),
            None => "the encrypted details name them".to_owned(),
        };
        let mut warnings = Vec::new();
        for (reason, count) in &self.reasons {
            warnings.push(format!("{} could not be read: {reason} ({named})", files(*count)));
        }
        if details.changed_count > 0 {
            warnings.push(format!(
                "{} changed each time while being read: what is stored may be of two times ({named})",
                files(details.changed_count)
            ));
        }
        warnings
    }

    /// Returns what is left out as it should be, without a name of a file.
    pub(super) fn excluded(&self) -> Vec<String> {
        let counted = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(one.to_owned()),
            count => Some(format!("{count} {many}")),
        };
        let sockets = counted(self.details.socket_count, "1 socket", "sockets");
        let mounts = counted(
            self.other_file_systems,
            "the contents of 1 directory: another file system, or drctl's own",
            "directories' contents: other file systems, or drctl's own",
        );
        sockets.into_iter().chain(mounts).collect()
    }

    /// Writes the names of what could not be read into a file of the host. Returns where; `None` where there are none.
    pub(super) fn write_problems(&self, folder: &Path) -> io::Result<Option<PathBuf>> {
        let (path, details) = (folder.join(PROBLEMS), &self.details);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if details.changed_count + details.unreadable_count == 0 {
            return Ok(None);
        }
        let mut text = String::new();
        for (what, names) in [("unreadable", &details.unreadable), ("changed", &details.changed)] {
            for name in names {
                text.push_str(&format!("{what}\t/{}\n", name.escape_debug()));
            }
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(Some(path))
    }
}

fn files(count: u64) -> String {
    if count == 1 { "1 file or directory".to_owned() } else { format!("{count} files or directories") }
}

fn name(names: &mut Vec<String>, path: &[u8]) {
    if names.len() < MOST_NAMES {
        names.push(PathBytes(path.to_vec()).text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_deleted_directory_goes_with_it() {
        let mut deleted = Deleted::new(tempfile::tempfile().unwrap());
        for path in ["a", "a/b", "a/b/c", "a.b", "c/d", "c/e"] {
            deleted.push(path.as_bytes()).unwrap();
        }
        assert_eq!((deleted.count, deleted.bytes), (4, 14));
    }

    #[test]
    fn no_warning_names_a_file() {
        let mut tally = Tally::default();
        tally.unreadable(b"srv/secret-name", &io::ErrorKind::PermissionDenied.into());
        tally.changed(b"srv/secret-name");
        tally.socket(b"srv/secret-name");
        let folder = tempfile::tempdir().unwrap();
        let problems = tally.write_problems(folder.path()).unwrap().unwrap();
        assert!(fs::read_to_string(&problems).unwrap().contains("unreadable\t/srv/secret-name\n"));
        let told = [tally.warnings(Some(&problems)), tally.excluded()].concat();
        assert_eq!(told.len(), 3);
        assert!(!told.join("\n").contains("secret-name"), "{told:?}");
        assert_eq!(Tally::default().write_problems(folder.path()).unwrap(), None);
        assert!(!problems.exists(), "that of the run before is gone");
    }
}
