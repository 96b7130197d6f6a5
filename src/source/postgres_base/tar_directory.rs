use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use crc_fast::{CrcAlgorithm, Digest};
use thiserror::Error;

use super::completeness::Completeness;
use super::exclusions::{
    RelationFile, is_emptied, is_followed, is_left_out, is_of_a_socket, is_temporary_relation,
};
use super::file_list::FileList;
use super::page_checksum::is_sound;
use crate::model::{DamagedPage, Excluded, Lsn};
use crate::source::thread_producer::Chunks;

const BLOCK: u64 = 512;
/// Bytes per read: a multiple of every page size.
const PIECE: usize = 256 << 10;
const CONTROL: &str = "global/pg_control";
const LINKS: &str = "pg_tblspc";

/// Why a data directory could not be read completely.
#[derive(Debug, Error)]
pub(super) enum TreeError {
    #[error("failed to read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` is a link to `{to}`, which cannot be followed")]
    Link { path: PathBuf, to: PathBuf, source: io::Error },
    #[error("`{path}` leads back to a directory that it is in")]
    Loop { path: PathBuf },
    #[error("`{path}`, which PostgreSQL needs, is neither a file nor a directory")]
    Special { path: PathBuf },
    #[error("the name of `{path}` does not fit into a tar archive")]
    Name { path: PathBuf, source: io::Error },
    #[error("`{path}` was written without a pause")]
    Unsteady { path: PathBuf },
    #[error("failed to write down the list of files")]
    List(#[source] io::Error),
    #[error(transparent)]
    Output(io::Error),
}

/// How the pages of a cluster are checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageCheck {
    pub(super) page_size: usize,
    /// Pages of a relation's file before the next segment begins.
    pub(super) pages_in_segment: u32,
    pub(super) start: Lsn,
}

/// The directory tree being archived, and what was found in it.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) list: FileList,
    pub(super) damaged: Vec<DamagedPage>,
    /// Files that are not PostgreSQL's own, and left out.
    pub(super) left_out: Vec<Excluded>,
    pub(super) presence: Completeness,
    /// Tablespaces without a directory.
    pub(super) absent: Vec<u32>,
    pub(super) check: Option<PageCheck>,
    /// Paths that were listed and had disappeared when they were read. The WAL records what was dropped; what
    /// was moved away temporarily is checked again.
    gone: Vec<PathBuf>,
    /// The directories being read, each inside of the previous one: device and inode number.
    within: Vec<(u64, u64)>,
}

/// A directory on disk, and the prefix of its paths in the archive and in the manifest.
struct TreePosition<'a> {
    root: &'a Path,
    listed: &'a Path,
}

impl Tree {
    pub(super) fn new(list: FileList, presence: Completeness, check: Option<PageCheck>) -> Self {
        Self {
            list,
            damaged: vec![],
            left_out: vec![],
            presence,
            absent: vec![],
            check,
            gone: vec![],
            within: vec![],
        }
    }

    /// Archives everything in the data directory except `pg_control`.
    pub(super) fn data_directory(&mut self, root: &Path, out: &mut Chunks) -> Result<(), TreeError> {
        let place = TreePosition { root, listed: Path::new("") };
        self.folder(&place, Path::new(""), out)?;
        self.look_again(&place, out)
    }

    /// Archives this cluster's part of a tablespace: other majors may have theirs next to it.
    pub(super) fn tablespace(
        &mut self,
        root: &Path,
        oid: u32,
        version: &str,
        out: &mut Chunks,
    ) -> Result<(), TreeError> {
        let listed = PathBuf::from(format!("{LINKS}/{oid}"));
        let (place, within) = (TreePosition { root, listed: &listed }, Path::new(version));
        let full = root.join(within);
        if vanished(fs::metadata(&full), &full)?.is_none() {
            self.absent.push(oid);
            return Ok(());
        }
        self.directory(&place, within, out)?;
        self.folder(&place, within, out)?;
        self.look_again(&place, out)
    }

    /// Checks the disappeared paths again: those that have come back are copied.
    fn look_again(&mut self, place: &TreePosition<'_>, out: &mut Chunks) -> Result<(), TreeError> {
        for path in std::mem::take(&mut self.gone) {
            self.entry(place, &path, out)?;
        }
        // Those that disappeared again are really gone.
        self.gone.clear();
        Ok(())
    }

    /// Archives the contents of a folder.
    fn folder(&mut self, place: &TreePosition<'_>, within: &Path, out: &mut Chunks) -> Result<(), TreeError> {
        let full = place.root.join(within);
        let Some(metadata) = vanished(fs::metadata(&full), &full)? else {
            self.gone.push(within.to_owned());
            return Ok(());
        };
        let key = (metadata.dev(), metadata.ino());
        if self.within.contains(&key) {
            return Err(TreeError::Loop { path: full });
        }
        self.within.push(key);
        let names = names(&full)?;
        let inits: BTreeSet<&str> = names
            .iter()
            .filter_map(|name| RelationFile::parse(name.to_str()?).filter(|file| file.is_init))
            .map(|file| file.number)
            .collect();
        for name in &names {
            // Unlogged relations are empty after a recovery, except for their init forks.
            let is_unlogged = RelationFile::parse(&name.to_string_lossy())
                .is_some_and(|file| !file.is_init && inits.contains(file.number));
            if !is_unlogged {
                self.entry(place, &within.join(name), out)?;
            }
        }
        self.within.pop();
        Ok(())
    }

    /// Archives a file, or a directory with its contents.
    fn entry(&mut self, place: &TreePosition<'_>, path: &Path, out: &mut Chunks) -> Result<(), TreeError> {
        let text = path.file_name().unwrap_or_default().to_string_lossy();
        let at_top = path.parent().is_none_or(|parent| parent.as_os_str().is_empty());
        let in_data_directory = place.listed.as_os_str().is_empty();
        if is_left_out(&text, at_top) || is_temporary_relation(&text) || path == Path::new(CONTROL) {
            return Ok(());
        }
        let full = place.root.join(path);
        // Dropped tables remove their files.
        let Some(kind) = vanished(fs::symlink_metadata(&full), &full)? else {
            self.gone.push(path.to_owned());
            return Ok(());
        };
        if at_top && text == "pg_wal" {
            self.directory(place, path, out)?;
            return self.directory(place, &path.join("archive_status"), out);
        }
        if at_top && is_emptied(&text) && (kind.is_dir() || kind.is_symlink()) {
            return self.directory(place, path, out);
        }
        // Tablespaces have archives of their own.
        if kind.is_symlink() && in_data_directory && path.parent() == Some(Path::new(LINKS)) {
            return Ok(());
        }
        let listed = place.listed.join(path);
        let kind = if kind.is_symlink() {
            let to = fs::read_link(&full).unwrap_or_default();
            if !is_followed(&listed) {
                self.leave(&listed, format!("a link to `{}`", to.display()));
                return Ok(());
            }
            // A dangling link: that is not a dropped table.
            fs::metadata(&full).map_err(|source| TreeError::Link { path: full.clone(), to, source })?
        } else {
            kind
        };
        if kind.is_dir() {
            self.directory(place, path, out)?;
            self.folder(place, path, out)
        } else if kind.is_file() {
            self.file(place, path, out)
        } else if is_followed(&listed) {
            Err(TreeError::Special { path: full })
        } else {
            if !is_of_a_socket(&text) {
                self.leave(&listed, "neither a file nor a directory".to_owned());
            }
            Ok(())
        }
    }

    fn leave(&mut self, listed: &Path, why: String) {
        self.left_out.push(Excluded { path: listed.display().to_string(), why });
    }

    fn directory(
        &mut self,
        place: &TreePosition<'_>,
        path: &Path,
        out: &mut Chunks,
    ) -> Result<(), TreeError> {
        let full = place.root.join(path);
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o700);
        if let Ok(metadata) = fs::metadata(&full) {
            header.set_mode(metadata.permissions().mode() & 0o7777);
            header.set_uid(u64::from(metadata.uid()));
            header.set_gid(u64::from(metadata.gid()));
            header.set_mtime(seconds(&metadata));
        }
        header.set_size(0);
        self.presence.saw(&place.listed.join(path).to_string_lossy());
        write_header(header, &path.join(""), out)
    }

    fn file(&mut self, place: &TreePosition<'_>, path: &Path, out: &mut Chunks) -> Result<(), TreeError> {
        let full = place.root.join(path);
        let Some(file) = vanished(File::open(&full), &full)? else {
            self.gone.push(path.to_owned());
            return Ok(());
        };
        let failed = |source| TreeError::Read { path: full.clone(), source };
        let metadata = file.metadata().map_err(failed)?;
        let size = metadata.len();
        // Only a hint; where it is rejected, reading is a little slower.
        let _taken = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        write_header(header_of(&metadata, size), path, out)?;
        let listed = place.listed.join(path);
        self.presence.saw(&listed.to_string_lossy());
        let pages = self.pages_of(&listed);
        let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut at = 0;
        while at < size {
            let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(PIECE);
            let piece = out.room(want).map_err(TreeError::Output)?;
            let count = read_full(&file, piece, at).map_err(failed)?;
            // The file was truncated meanwhile: replay truncates it again.
            piece[count..].fill(0);
            if let Some((check, first)) = pages {
                let damaged = &mut self.damaged;
                check_pages(&file, &mut piece[..count], at, check, first, |block| {
                    damaged.push(DamagedPage { file: listed.display().to_string(), block: Some(block) });
                })
                .map_err(failed)?;
            }
            crc.update(piece);
            at += want as u64;
        }
        out.zeros(size.next_multiple_of(BLOCK) - size).map_err(TreeError::Output)?;
        self.list.add(&listed, size, modified(&metadata), sum_of(&crc)).map_err(TreeError::List)
    }

    /// Returns how the pages of a file are checked, and the number of its first; `None` where it has no
    /// pages.
    fn pages_of(&self, listed: &Path) -> Option<(PageCheck, u32)> {
        let check = self.check?;
        let relation = RelationFile::parse(listed.file_name()?.to_str()?)?;
        let within = listed.components().next()?.as_os_str();
        ["base", "global", LINKS]
            .iter()
            .any(|folder| within == *folder)
            .then(|| (check, relation.segment.wrapping_mul(check.pages_in_segment)))
    }

    /// Archives a file from bytes in memory.
    pub(super) fn bytes(
        &mut self,
        name: &str,
        bytes: &[u8],
        now: DateTime<Utc>,
        out: &mut Chunks,
    ) -> Result<(), TreeError> {
        let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
        crc.update(bytes);
        let size = bytes.len() as u64;
        self.presence.saw(name);
        member(name, size, now, out)?;
        out.write(bytes).map_err(TreeError::Output)?;
        out.zeros(size.next_multiple_of(BLOCK) - size).map_err(TreeError::Output)?;
        self.list.add(Path::new(name), size, now, sum_of(&crc)).map_err(TreeError::List)
    }
}

/// Reads the control file consistently. A server writes it at once, but a read need not be atomic: two equal
/// reads are taken as consistent.
pub(super) fn control(root: &Path) -> Result<Vec<u8>, TreeError> {
    const ATTEMPTS: usize = 100;
    let path = root.join(CONTROL);
    let read = || fs::read(&path).map_err(|source| TreeError::Read { path: path.clone(), source });
    let mut last = read()?;
    for _ in 0..ATTEMPTS {
        std::thread::sleep(std::time::Duration::from_millis(2));
        let next = read()?;
        if next == last {
            return Ok(next);
        }
        last = next;
    }
    Err(TreeError::Unsteady { path })
}

/// Writes the header of a file that is not on disk.
pub(super) fn member(name: &str, size: u64, now: DateTime<Utc>, out: &mut Chunks) -> Result<(), TreeError> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o600);
    header.set_size(size);
    header.set_mtime(u64::try_from(now.timestamp()).unwrap_or_default());
    write_header(header, Path::new(name), out)
}

fn write_header(mut header: tar::Header, path: &Path, out: &mut Chunks) -> Result<(), TreeError> {
    header.set_path(path).map_err(|source| TreeError::Name { path: path.to_owned(), source })?;
    header.set_cksum();
    out.write(header.as_bytes()).map_err(TreeError::Output)
}

fn header_of(metadata: &Metadata, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(metadata.permissions().mode() & 0o7777);
    header.set_uid(u64::from(metadata.uid()));
    header.set_gid(u64::from(metadata.gid()));
    header.set_mtime(seconds(metadata));
    header.set_size(size);
    header
}

fn seconds(metadata: &Metadata) -> u64 {
    u64::try_from(metadata.mtime()).unwrap_or_default()
}

fn modified(metadata: &Metadata) -> DateTime<Utc> {
    DateTime::from_timestamp(metadata.mtime(), 0).unwrap_or_default()
}

fn sum_of(crc: &Digest) -> u32 {
    u32::try_from(crc.finalize() & u64::from(u32::MAX)).unwrap_or_default()
}

/// Returns the names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>, TreeError> {
    let failed = |source| TreeError::Read { path: folder.to_owned(), source };
    let Some(entries) = vanished(fs::read_dir(folder), folder)? else { return Ok(vec![]) };
    let mut names =
        entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    names.sort();
    Ok(names)
}

fn vanished<T>(found: io::Result<T>, path: &Path) -> Result<Option<T>, TreeError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TreeError::Read { path: path.to_owned(), source }),
    }
}

/// Reads until `buffer` is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read_at(&mut buffer[count..], at + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Checks each complete page of a chunk. One with a wrong checksum is read again: the server may have been
/// writing it.
fn check_pages(
    file: &File,
    piece: &mut [u8],
    at: u64,
    check: PageCheck,
    first: u32,
    mut damaged: impl FnMut(u32),
) -> io::Result<()> {
    let size = check.page_size;
    for (number, page) in piece.chunks_exact_mut(size).enumerate() {
        let in_file = at / size as u64 + number as u64;
        let in_file = u32::try_from(in_file).unwrap_or(u32::MAX);
        let block = first.wrapping_add(in_file);
        if is_sound(page, block, check.start) {
            continue;
        }
        let mut again = vec![0; size];
        if read_full(file, &mut again, u64::from(in_file) * size as u64)? == size {
            page.copy_from_slice(&again);
            if !is_sound(page, block, check.start) {
                damaged(in_file);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::pipeline::Produce as _;
    use crate::source::thread_producer::ThreadProducer;

    /// Reads a directory as a server's. Gives the names in the archive, and what was found.
    fn read(root: &Path, gone: &[&str]) -> Result<(Vec<String>, Tree), String> {
        let (root, gone) = (root.to_owned(), gone.iter().map(PathBuf::from).collect());
        let tree = Tree::new(FileList::begin(15, "7").unwrap(), Completeness::default(), None);
        let tree = std::sync::Arc::new(std::sync::Mutex::new(Tree { gone, ..tree }));
        let shared = std::sync::Arc::clone(&tree);
        let mut producer = Box::new(ThreadProducer::start(move |out| {
            shared.lock().unwrap().data_directory(&root, out)?;
            Ok(out.zeros(1024)?)
        }));
        let mut bytes = Vec::new();
        producer.read_to_end(&mut bytes).unwrap();
        producer.finish().map_err(|error| error.to_string())?;
        let mut archive = tar::Archive::new(&bytes[..]);
        let names = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().trim_end_matches('/').to_owned());
        let names = names.collect();
        Ok((names, std::sync::Arc::into_inner(tree).unwrap().into_inner().unwrap()))
    }

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    #[test]
    fn links_to_what_a_server_needs_are_followed_and_others_are_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let (root, disk) = (folder.path().join("data"), folder.path().join("disk"));
        for path in ["base/1/1259", "pg_tblspc/x", "pg_stat_tmp/y", "postgresql.conf"] {
            write(&root.join(path));
        }
        for path in ["db/1259", "db/2", "xact/0000", "file", "notes/a"] {
            write(&disk.join(path));
        }
        let link = |to: &str, from: &str| symlink(disk.join(to), root.join(from)).unwrap();
        link("db", "base/5");
        link("file", "base/1/2600");
        link("xact", "pg_xact");
        link("notes", "notes");
        link("file", "server.key");
        // Not PostgreSQL's data: a server fills it, and the other has an archive of its own.
        link("notes", "pg_replslot");
        link("db", "pg_tblspc/16400");
        let (names, tree) = read(&root, &[]).unwrap();
        for name in ["base/5", "base/5/1259", "base/5/2", "base/1/2600", "pg_xact/0000", "pg_replslot"] {
            assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
        }
        for name in ["notes", "notes/a", "pg_replslot/a", "server.key", "pg_tblspc/16400"] {
            assert!(!names.iter().any(|found| found == name), "{name} in {names:?}");
        }
        let left: Vec<_> = tree.left_out.iter().map(ToString::to_string).collect();
        let to = |name: &str, place: &str| format!("`{name}`, a link to `{}`", disk.join(place).display());
        assert_eq!(left, [to("notes", "notes"), to("server.key", "file")]);
    }

    #[test]
    fn a_link_that_leads_nowhere_or_in_a_circle_is_no_dropped_table() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        write(&root.join("base/1/1259"));
        symlink("/not/there", root.join("base/5")).unwrap();
        assert!(read(&root, &[]).unwrap_err().contains("base/5` is a link to `/not/there`"));
        fs::remove_file(root.join("base/5")).unwrap();
        symlink(&root, root.join("base/5")).unwrap();
        assert!(read(&root, &[]).unwrap_err().contains("leads back"));
        fs::remove_file(root.join("base/5")).unwrap();
        symlink("5", root.join("base/5")).unwrap();
        assert!(read(&root, &[]).unwrap_err().contains("cannot be followed"));
    }

    #[test]
    fn what_was_away_for_a_moment_is_copied_and_a_tablespace_without_a_directory_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        write(&root.join("global/1"));
        let (names, _) = read(&root, &["global/1", "base/9/1"]).unwrap();
        assert_eq!(names.iter().filter(|name| *name == "global/1").count(), 2);
        let mut tree = Tree::new(FileList::begin(15, "7").unwrap(), Completeness::default(), None);
        let place = folder.path().join("unmounted");
        fs::create_dir(&place).unwrap();
        let producer = ThreadProducer::start(move |out| {
            tree.tablespace(&place, 16400, "PG_15_202209061", out)?;
            if tree.absent == [16400] { Ok(()) } else { Err("it is not known".into()) }
        });
        Box::new(producer).finish().unwrap();
    }
}
