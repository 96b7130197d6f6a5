//! The index of a backup of files: one JSON document a line, in the order of the paths. It is an artifact, encrypted as
//! all are, and the host keeps a copy to tell what has changed.

use std::cmp::Ordering;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use rustix::fs::{FileType, Stat};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The artifact with the index of the whole tree. Without the suffixes of its encoding.
pub const INDEX: &str = "index.ndjson";

/// The longest line: a path, and that of the file it is linked to, with every byte written as an escape.
const LONGEST_LINE: u64 = 4 << 20;

/// The bytes of a path from the root of the file system on, without the slash at its beginning. In JSON a string where
/// they are UTF-8, and `{"hex": …}` otherwise.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct PathBytes(pub Vec<u8>);

impl PathBytes {
    /// Returns the path as text, with marks for what is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// Returns whether it is `above` or below it.
    pub fn is_within(&self, above: &[u8]) -> bool {
        is_within(&self.0, above)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns whether a path is `above`, or below it.
pub fn is_within(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|rest| above.is_empty() || rest.is_empty() || rest[0] == b'/')
}

/// Compares name by name: what is in a directory comes directly after it, before a name that only begins like its own.
pub fn compare_paths(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(rank).cmp(other.iter().map(rank))
}

impl fmt::Debug for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

impl Serialize for PathBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("hex", &hex::encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for PathBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = PathBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or its bytes as `hex`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PathBytes, E> {
                Ok(PathBytes(text.as_bytes().to_vec()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PathBytes, A::Error> {
                match map.next_entry::<String, String>()? {
                    Some((key, text)) if key == "hex" => {
                        hex::decode(text).map(PathBytes).map_err(de::Error::custom)
                    }
                    _ => Err(de::Error::custom("no `hex`")),
                }
            }
        }
        deserializer.deserialize_any(Bytes)
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    #[default]
    File,
    /// Another name of a file that stands before it.
    HardLink,
    Directory,
    Symlink,
    Fifo,
    CharacterDevice,
    BlockDevice,
}

impl EntryKind {
    /// Returns the kind of something on disk; `None` for sockets, which exist only while their program runs.
    pub fn of(stat: &Stat) -> Option<Self> {
        Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::CharacterDevice => Self::CharacterDevice,
            FileType::BlockDevice => Self::BlockDevice,
            _ => return None,
        })
    }

    /// Returns whether it has bytes of its own, or those of another name of it.
    pub fn is_file(self) -> bool {
        matches!(self, Self::File | Self::HardLink)
    }

    /// Returns whether two entries are of one kind on disk: which of a file's names stands first may change.
    pub fn is_like(self, other: Self) -> bool {
        self == other || (self.is_file() && other.is_file())
    }
}

/// An entry of the tree that was backed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    pub path: PathBytes,
    pub kind: EntryKind,
    /// Of a file; of others 0.
    pub size: u64,
    /// The permissions, with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// In nanoseconds since 1970.
    pub mtime: i64,
    pub ctime: i64,
    pub inode: u64,
    /// Which backup of the chain has it: 0 is the full one.
    pub backup: u32,
    /// Which archive of that backup has it, from 1 on.
    pub archive: u32,
    /// Of a hard link: the path of the name that has the bytes.
    #[serde(default, skip_serializing_if = "PathBytes::is_empty")]
    pub link: PathBytes,
    /// It changed while it was read, twice: its bytes may be of two times.
    #[serde(default, skip_serializing_if = "is_false")]
    pub changed: bool,
    /// It could not be read this time, and is that of an earlier backup.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unread: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl IndexEntry {
    /// Returns the entry of something on disk; `None` for a socket.
    pub fn of(path: Vec<u8>, stat: &Stat) -> Option<Self> {
        let kind = EntryKind::of(stat)?;
        let time = |seconds: i64, nanos| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Some(Self {
            path: PathBytes(path),
            kind,
            size: if kind == EntryKind::File { u64::try_from(stat.st_size).unwrap_or_default() } else { 0 },
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: time(stat.st_mtime, nanos(stat.st_mtime_nsec)),
            ctime: time(stat.st_ctime, nanos(stat.st_ctime_nsec)),
            inode: stat.st_ino,
            ..Self::default()
        })
    }

    /// Returns whether nothing of it has changed, as far as the file system says.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.kind.is_like(other.kind)
            && (self.size, self.mode, self.uid, self.gid, self.mtime, self.ctime, self.inode)
                == (other.size, other.mode, other.uid, other.gid, other.mtime, other.ctime, other.inode)
    }
}

fn nanos(nanos: impl TryInto<i64>) -> i64 {
    nanos.try_into().unwrap_or_default()
}

/// Reads lines of JSON, in bounded memory whatever they hold.
pub struct Lines<R> {
    lines: BufReader<R>,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub fn new(from: R) -> Self {
        Self { lines: BufReader::with_capacity(128 << 10, from), line: Vec::new() }
    }

    /// Returns the next one; `None` at the end.
    pub fn next_line<T: de::DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        self.line.clear();
        let count = (&mut self.lines).take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
        if count == 0 {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the index was cut"));
        }
        Ok(Some(serde_json::from_slice(&self.line)?))
    }
}

impl<R> fmt::Debug for Lines<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_in_a_directory_follows_it() {
        let mut paths = ["a.b", "a/x", "a", "a/x.y", "a/x/z", "b"].map(str::as_bytes);
        paths.sort_by(|one, other| compare_paths(one, other));
        assert_eq!(paths, ["a", "a/x", "a/x/z", "a/x.y", "a.b", "b"].map(str::as_bytes));
        assert!(is_within(b"a/x", b"a") && is_within(b"a", b"a") && is_within(b"a", b""));
        assert!(!is_within(b"a.b", b"a") && !is_within(b"a", b"a/x"));
    }

    proptest! {
        #[test]
        fn any_path_comes_back(path in prop::collection::vec(1_u8.., 0..40), size in any::<u64>(), mtime in any::<i64>()) {
            let entry = IndexEntry { path: PathBytes(path), size, mtime, changed: size % 2 == 0, ..IndexEntry::default() };
            let mut line = serde_json::to_vec(&entry).unwrap();
            prop_assert!(!line.contains(&b'\n'));
            line.push(b'\n');
            prop_assert_eq!(Lines::new(&line[..]).next_line().unwrap(), Some(entry));
            let cut = Lines::new(&line[..line.len() - 1]).next_line::<IndexEntry>();
            prop_assert!(cut.is_err());
        }
    }
}
