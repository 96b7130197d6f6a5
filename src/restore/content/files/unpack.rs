//! Writes what one archive has of a restore. Archive and index are in one order, and are merged: a member that the index
//! does not have, or has of another archive, is passed over.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::index_file::{IndexFile, Selection, Wanted};
use super::names::inside;
use super::tar_reader::{Member, TarReader};
use super::tree::{Lost, Rights, Tree};
use crate::platform::CancellationToken;
use crate::restore::content::ContentRestoreError;
use crate::restore::content::fetch::ConsumeError;
use crate::source::files::{EntryKind, compare_paths};

const BUFFER: usize = 256 << 10;

/// What is written where.
pub(super) struct Unpack {
    pub(super) root: Arc<File>,
    /// For messages.
    pub(super) to: PathBuf,
    pub(super) rights: Rights,
    pub(super) index: IndexFile,
    pub(super) selection: Selection,
    pub(super) wanted: Arc<Wanted>,
    /// Which entries of the index are written; all, where it is empty.
    pub(super) writes: Arc<Vec<bool>>,
    pub(super) cancel: CancellationToken,
}

/// What came of one archive.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// They get their rights and times at the end.
    pub(super) directories: Vec<Member>,
    pub(super) lost: Lost,
}

impl Unpack {
    /// Reads archive `number` of the chain's backup `backup` to its end.
    pub(super) fn archive(
        &self,
        plain: &mut dyn Read,
        backup: u32,
        number: u32,
    ) -> Result<Unpacked, ConsumeError> {
        let mut tree = Tree::new(Arc::clone(&self.root), self.rights.clone());
        let mut unpacked = Unpacked::default();
        let mut reader = TarReader::new(BufReader::with_capacity(BUFFER, plain));
        let mut entries = self.index.entries();
        let mut next = entries.next().transpose().map_err(|error| self.failed(&[], error))?;
        let mut buffer = vec![0; BUFFER];
        while let Some(mut member) = reader.next().map_err(ConsumeError::Read)? {
            if self.cancel.is_cancelled() {
                return Err(ConsumeError::Target(ContentRestoreError::Interrupted));
            }
            member.path =
                inside(&member.path).ok_or_else(|| self.refused("a path outside of the target"))?.to_vec();
            let path = member.path.clone();
            while next.as_ref().is_some_and(|(_, entry)| compare_paths(&entry.path.0, &path).is_lt()) {
                next = entries.next().transpose().map_err(|error| self.failed(&path, error))?;
            }
            let is_wanted = next.as_ref().is_some_and(|(at, entry)| {
                entry.path.0 == path
                    && (entry.backup, entry.archive) == (backup, number)
                    && entry.kind == member.kind
                    && self.selection.has(entry)
                    && !self.selection.is_above(entry)
                    && self.writes.get(*at).copied().unwrap_or(true)
            });
            let donated = self.wanted.donors.get(&(backup, path.clone()));
            let place = match donated {
                Some(link) if member.kind == EntryKind::File && !is_wanted => link.clone(),
                _ if is_wanted => path.clone(),
                _ => continue,
            };
            let failed = |error| self.failed(&place, error);
            match member.kind {
                EntryKind::File => self.file(&mut tree, &place, &member, &mut reader, &mut buffer)?,
                EntryKind::Directory => {
                    tree.directory(&place).map_err(failed)?;
                    unpacked.directories.push(member);
                }
                EntryKind::HardLink => {
                    let to =
                        inside(&member.link).ok_or_else(|| self.refused("a link outside of the target"))?;
                    match self.wanted.donors.get(&(backup, to.to_vec())) {
                        // It was written in the place of its first name.
                        Some(first) if *first == place => {}
                        Some(first) => tree.link(&place, first).map_err(failed)?,
                        None => tree.link(&place, to).map_err(failed)?,
                    }
                }
                _ => tree.make(&place, &member).map_err(failed)?,
            }
        }
        unpacked.lost = tree.lost;
        Ok(unpacked)
    }

    fn file(
        &self,
        tree: &mut Tree,
        path: &[u8],
        member: &Member,
        reader: &mut TarReader<BufReader<&mut dyn Read>>,
        buffer: &mut [u8],
    ) -> Result<(), ConsumeError> {
        let failed = |error| self.failed(path, error);
        let file = tree.create(path).map_err(failed)?;
        for (from, length) in &member.extents {
            let mut at = 0;
            while at < *length {
                let want = usize::try_from(length - at).unwrap_or(usize::MAX).min(buffer.len());
                let count = reader.read(&mut buffer[..want]).map_err(ConsumeError::Read)?;
                if count == 0 {
                    return Err(ConsumeError::Read(io::ErrorKind::UnexpectedEof.into()));
                }
                file.write_all_at(&buffer[..count], from + at).map_err(failed)?;
                at += count as u64;
            }
        }
        // What follows the last stretch of data is a hole.
        file.set_len(member.size).map_err(failed)?;
        tree.finish_file(&file, member).map_err(failed)
    }

    fn failed(&self, path: &[u8], source: io::Error) -> ConsumeError {
        let path = self.to.join(String::from_utf8_lossy(path).as_ref());
        ConsumeError::Target(ContentRestoreError::Write { path, source })
    }

    /// Gives the directories their rights and times: those within others first.
    pub(super) fn finish(&self, mut directories: Vec<Member>) -> Result<Lost, ContentRestoreError> {
        let mut tree = Tree::new(Arc::clone(&self.root), self.rights.clone());
        directories.sort_by(|one, other| compare_paths(&other.path, &one.path));
        for directory in &directories {
            tree.finish_directory(directory).map_err(|source| ContentRestoreError::Write {
                path: self.to.join(String::from_utf8_lossy(&directory.path).as_ref()),
                source,
            })?;
        }
        Ok(tree.lost)
    }

    fn refused(&self, what: &str) -> ConsumeError {
        ConsumeError::Target(ContentRestoreError::Target(format!(
            "the archive names {what}: it is not one that drctl wrote, and nothing more is restored of it"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::platform::Accounts;
    use crate::source::files::{IndexEntry, PathBytes};

    /// A member as whoever forges an archive writes it.
    fn member(path: &str, kind: tar::EntryType, link: &str, data: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        let fields = header.as_ustar_mut().unwrap();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(data.len() as u64);
        header.set_cksum();
        let mut bytes = [header.as_bytes(), data].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn file(path: &str, data: &[u8]) -> Vec<u8> {
        member(path, tar::EntryType::Regular, "", data)
    }

    fn entry(path: &str, kind: EntryKind, link: &str) -> IndexEntry {
        let path = PathBytes(path.as_bytes().to_vec());
        let link = PathBytes(link.as_bytes().to_vec());
        IndexEntry { path, kind, link, archive: 1, ..IndexEntry::default() }
    }

    fn unpack(root: &Path, entries: &[IndexEntry], members: &[Vec<u8>]) -> Result<Unpacked, ConsumeError> {
        unpack_bytes(root, entries, &[members.concat(), vec![0; 1024]].concat())
    }

    fn unpack_bytes(root: &Path, entries: &[IndexEntry], bytes: &[u8]) -> Result<Unpacked, ConsumeError> {
        let mut index = tempfile::tempfile().unwrap();
        for entry in entries {
            serde_json::to_writer(&mut index, entry).unwrap();
            index.write_all(b"\n").unwrap();
        }
        let unpack = Unpack {
            root: Arc::new(File::open(root).unwrap()),
            to: root.to_owned(),
            rights: Rights { owners: false, is_root: false, accounts: Arc::new(Accounts::default()) },
            index: IndexFile(Arc::new(index)),
            selection: Selection::default(),
            wanted: Arc::default(),
            writes: Arc::default(),
            cancel: CancellationToken::new(),
        };
        unpack.archive(&mut &*bytes, 0, 1)
    }

    #[test]
    fn nothing_is_written_outside_whatever_the_archive_says() {
        use tar::EntryType::{Link, Symlink};
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        let to = outside.display().to_string();
        let hostile: Vec<(Vec<IndexEntry>, Vec<Vec<u8>>)> = vec![
            // Names: those that the index does not have, and those that it has.
            (vec![], vec![file("../outside/new", b"x")]),
            (vec![], vec![file(&format!("{to}/new"), b"x")]),
            (vec![], vec![file("a/../../outside/new", b"x")]),
            (vec![entry("../outside/new", EntryKind::File, "")], vec![file("../outside/new", b"x")]),
            // Through a link that the archive makes before.
            (
                vec![entry("a", EntryKind::Symlink, ""), entry("a/new", EntryKind::File, "")],
                vec![member("a", Symlink, &to, b""), file("a/new", b"x")],
            ),
            (
                vec![entry("a", EntryKind::Symlink, ""), entry("a/b", EntryKind::Directory, "")],
                vec![
                    member("a", Symlink, "../outside", b""),
                    member("a/b/", tar::EntryType::Directory, "", b""),
                ],
            ),
            // A second name for what is outside.
            (vec![entry("a", EntryKind::HardLink, "b")], vec![member("a", Link, "../outside/secret", b"")]),
            (
                vec![entry("a", EntryKind::Symlink, ""), entry("b", EntryKind::HardLink, "a/secret")],
                vec![member("a", Symlink, "../outside", b""), member("b", Link, "a/secret", b"")],
            ),
            (
                vec![entry("a", EntryKind::Symlink, ""), entry("b", EntryKind::HardLink, "a")],
                vec![member("a", Symlink, "../outside/secret", b""), member("b", Link, "a", b"")],
            ),
        ];
        for (entries, members) in hostile {
            std::fs::create_dir(&root).unwrap();
            let unpacked = unpack(&root, &entries, &members);
            assert!(matches!(unpacked, Err(ConsumeError::Target(_))), "{entries:?}: {unpacked:?}");
            let names: Vec<_> =
                std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["secret"], "{entries:?}");
            assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
            std::fs::remove_dir_all(&root).unwrap();
        }
        // A link in the target that leads outside is not written through, and not followed.
        std::fs::create_dir(&root).unwrap();
        symlink(outside.join("secret"), root.join("a")).unwrap();
        unpack(&root, &[entry("a", EntryKind::File, "")], &[file("a", b"mine")]).unwrap();
        assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
        assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "mine");
    }

    #[test]
    fn only_what_the_index_names_is_written_and_of_two_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = IndexEntry { archive: 2, ..entry("c", EntryKind::File, "") };
        let index = [entry("a", EntryKind::File, ""), elsewhere];
        let members = [file("a", b"first"), file("a", b"second"), file("b", b"deleted"), file("c", b"old")];
        unpack(folder.path(), &index, &members).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("a")).unwrap(), "second");
        assert!(!folder.path().join("b").exists() && !folder.path().join("c").exists());
        // A type that the index does not name is not made.
        let pipe = member("a", tar::EntryType::Fifo, "", b"");
        std::fs::remove_file(folder.path().join("a")).unwrap();
        unpack(folder.path(), &index, &[pipe]).unwrap();
        assert!(!folder.path().join("a").exists());
    }

    #[test]
    fn an_archive_that_is_cut_or_flipped_in_a_header_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let whole = file("a", b"data");
        for cut in [0, 1, 511, 512, 513, 600, 1024] {
            let cut = unpack_bytes(folder.path(), &[entry("a", EntryKind::File, "")], &whole[..cut]);
            assert!(matches!(cut, Err(ConsumeError::Read(_))), "{cut:?}");
        }
        for at in [0, 124, 156, 200] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            let read = unpack(folder.path(), &[entry("a", EntryKind::File, "")], &[flipped]);
            assert!(matches!(read, Err(ConsumeError::Read(_))), "{at}: {read:?}");
        }
        // The map of a sparse file that leads beyond its size, or backwards.
        for map in ["1\n0\n4\n", "2\n5\n1\n0\n1\n", "99999999999\n", "1\nx\n1\n"] {
            let records: Vec<u8> = [("major", "1"), ("minor", "0"), ("name", "a"), ("realsize", "3")]
                .iter()
                .flat_map(|(key, value)| {
                    let rest = format!(" GNU.sparse.{key}={value}\n");
                    format!("{}{rest}", rest.len() + 2).into_bytes()
                })
                .collect();
            let mut data = map.as_bytes().to_vec();
            data.resize(512, 0);
            data.extend_from_slice(b"1234");
            let extended = member("x", tar::EntryType::XHeader, "", &records);
            let read = unpack(
                folder.path(),
                &[entry("a", EntryKind::File, "")],
                &[extended, file("GNUSparseFile.0/a", &data)],
            );
            assert!(matches!(read, Err(ConsumeError::Read(_))), "{map:?}: {read:?}");
        }
    }
}
