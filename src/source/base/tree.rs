use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use crc_fast::{CrcAlgorithm, Digest};
use thiserror::Error;

use super::chunks::Chunks;
use super::contents::{RelationFile, is_emptied, is_left_out, is_temporary_relation};
use super::file_list::FileList;
use super::page::is_sound;
use crate::model::{DamagedPage, Lsn};

const BLOCK: u64 = 512;
/// Read at a time: a multiple of every size of pages.
const PIECE: usize = 256 << 10;
const CONTROL: &str = "global/pg_control";
const LINKS: &str = "pg_tblspc";

/// Why a data directory could not be read whole.
#[derive(Debug, Error)]
pub(super) enum TreeError {
    #[error("failed to read `{path}`")]
    Read { path: PathBuf, source: io::Error },
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
    /// Pages of a relation's file before the next begins.
    pub(super) pages_in_segment: u32,
    pub(super) start: Lsn,
}

/// What is read, and what was found.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) list: FileList,
    pub(super) damaged: Vec<DamagedPage>,
    /// Paths that are left out although PostgreSQL may need them.
    pub(super) skipped: Vec<PathBuf>,
    pub(super) check: Option<PageCheck>,
}

/// A directory on disk and what its paths begin with, in the archive and in the list of files.
struct Place<'a> {
    root: &'a Path,
    listed: &'a Path,
}

impl Tree {
    /// Everything in the data directory but `pg_control`.
    pub(super) fn data_directory(&mut self, root: &Path, out: &mut Chunks) -> Result<(), TreeError> {
        self.folder(&Place { root, listed: Path::new("") }, Path::new(""), out)
    }

    /// What a tablespace has of this cluster: other majors may keep theirs beside it.
    pub(super) fn tablespace(
        &mut self,
        root: &Path,
        oid: u32,
        version: &str,
        out: &mut Chunks,
    ) -> Result<(), TreeError> {
        let listed = PathBuf::from(format!("{LINKS}/{oid}"));
        let within = Path::new(version);
        self.directory(&Place { root, listed: &listed }, within, out)?;
        self.folder(&Place { root, listed: &listed }, within, out)
    }

    /// What is in a folder.
    fn folder(&mut self, place: &Place<'_>, within: &Path, out: &mut Chunks) -> Result<(), TreeError> {
        let names = names(&place.root.join(within))?;
        let inits: BTreeSet<&str> = names
            .iter()
            .filter_map(|name| RelationFile::parse(name.to_str()?).filter(|file| file.is_init))
            .map(|file| file.number)
            .collect();
        let at_top = within.as_os_str().is_empty();
        for name in &names {
            let text = name.to_string_lossy();
            let path = within.join(name);
            // What is unlogged is empty after a recovery, but for how it begins.
            let is_unlogged =
                RelationFile::parse(&text).is_some_and(|file| !file.is_init && inits.contains(file.number));
            if is_left_out(&text, at_top)
                || is_temporary_relation(&text)
                || is_unlogged
                || path == Path::new(CONTROL)
            {
                continue;
            }
            let full = place.root.join(&path);
            // Tables that are dropped take their files with them.
            let Some(kind) = vanished(fs::symlink_metadata(&full), &full)? else { continue };
            if at_top && text == "pg_wal" {
                self.directory(place, &path, out)?;
                self.directory(place, &path.join("archive_status"), out)?;
            } else if kind.is_dir() {
                self.directory(place, &path, out)?;
                if !(at_top && is_emptied(&text)) {
                    self.folder(place, &path, out)?;
                }
            } else if kind.is_file() {
                self.file(place, &path, out)?;
            } else if kind.is_symlink() && within != Path::new(LINKS) {
                self.skipped.push(path);
            }
        }
        Ok(())
    }

    fn directory(&mut self, place: &Place<'_>, path: &Path, out: &mut Chunks) -> Result<(), TreeError> {
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
        write_header(header, &path.join(""), out)
    }

    fn file(&mut self, place: &Place<'_>, path: &Path, out: &mut Chunks) -> Result<(), TreeError> {
        let full = place.root.join(path);
        let Some(file) = vanished(File::open(&full), &full)? else { return Ok(()) };
        let failed = |source| TreeError::Read { path: full.clone(), source };
        let metadata = file.metadata().map_err(failed)?;
        let size = metadata.len();
        // Only a hint; where it is not taken, reading is a little slower.
        let _taken = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        write_header(header_of(&metadata, size), path, out)?;
        let listed = place.listed.join(path);
        let pages = self.pages_of(&listed);
        let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut at = 0;
        while at < size {
            let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(PIECE);
            let piece = out.room(want).map_err(TreeError::Output)?;
            let count = read_full(&file, piece, at).map_err(failed)?;
            // A file that was truncated meanwhile: the log says so again.
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

    /// How the pages of a file are checked, and the number of its first; `None` where it has none.
    fn pages_of(&self, listed: &Path) -> Option<(PageCheck, u32)> {
        let check = self.check?;
        let relation = RelationFile::parse(listed.file_name()?.to_str()?)?;
        let within = listed.components().next()?.as_os_str();
        ["base", "global", LINKS]
            .iter()
            .any(|folder| within == *folder)
            .then(|| (check, relation.segment.wrapping_mul(check.pages_in_segment)))
    }

    /// A file of which there are only its bytes.
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
        member(name, size, now, out)?;
        out.write(bytes).map_err(TreeError::Output)?;
        out.zeros(size.next_multiple_of(BLOCK) - size).map_err(TreeError::Output)?;
        self.list.add(Path::new(name), size, now, sum_of(&crc)).map_err(TreeError::List)
    }
}

/// The control file, as it was at one moment. A server writes it in one piece, but nothing says that it is
/// read so: what is read twice alike is whole.
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

/// The header of a file that is not one on disk.
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

/// Names in a folder, in order.
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

/// Looks at each whole page of a piece. One that does not fit is read once more: the server may have been
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
