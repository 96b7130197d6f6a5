//! The table of contents of a custom-format archive (`pg_dump -Fc`), and where the data of its entries is.
//!
//! `pg_dump` cannot seek back in a stream, so an archive written to a pipe does not record where its data is,
//! and every process of a parallel `pg_restore` reads the whole file to find out. With the offsets filled in
//! ([`Index::patches`]), each seeks straight to its table, and the largest tables go first. A restore of some
//! tables is selected by the dependencies in the contents ([`super::selection`]).
//!
//! The format is that of `pg_backup_archiver.c` and `pg_backup_custom.c`, versions 1.12 to 1.16 (PostgreSQL
//! 9.6 to 18).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use thiserror::Error;

use super::globals_sql::split;

const MAGIC: &[u8; 5] = b"PGDMP";
const CUSTOM_FORMAT: u8 = 1;
const KNOWN_MINORS: std::ops::RangeInclusive<u8> = 12..=16;
const BLOCK_OF_DATA: u8 = 1;
const BLOCK_OF_LARGE_OBJECTS: u8 = 3;
/// Flags before an entry's offset.
const OFFSET_NOT_SET: u8 = 1;
const OFFSET_SET: u8 = 2;
/// The maximum length of a name or kind.
const WORD_LIMIT: u64 = 64 * 1024;
/// The maximum length of a definition that is kept; the rest of a longer one is skipped.
const DEFINITION_LIMIT: u64 = 16 << 20;
/// Kinds whose definitions name roles, determine who can read a table, or which columns may point to large
/// objects.
const DEFINED: [&str; 6] = ["ACL", "DEFAULT ACL", "POLICY", "USER MAPPING", "TABLE", "DOMAIN"];
/// The section of entries that precede all data.
const PRE_DATA: i64 = 2;

#[derive(Debug, Error)]
pub(super) enum ArchiveError {
    #[error("it is not a custom-format archive of pg_dump")]
    NotAnArchive,
    #[error("it is an archive of version 1.{0}, which is not known here")]
    Version(u8),
    #[error("it is not laid out as an archive is: {0}")]
    Layout(&'static str),
    #[error("failed to read it")]
    Read(#[from] io::Error),
}

/// The end of the statement that applies row-level security to a table's owner.
const FORCE_ROW_SECURITY: &str = " FORCE ROW LEVEL SECURITY;";

/// An entry of the contents: something that can be created or loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TocEntry {
    pub(super) id: u32,
    /// `TABLE`, `TABLE DATA`, `FK CONSTRAINT`, …
    pub(super) kind: String,
    pub(super) schema: Option<String>,
    /// The object's name; for a part of a table, the table's name and its own.
    pub(super) name: String,
    /// Entries it depends on.
    pub(super) needs: Vec<u32>,
    /// Whether it is created before any data is loaded.
    pub(super) is_before_data: bool,
    /// The role that owns it; empty where it has none.
    pub(super) owner: String,
    /// The statement that creates it, of the kinds whose names do not suffice ([`DEFINED`]).
    pub(super) definition: String,
    /// Columns of a table, name and type, that may point to large objects: of type `oid`, or of a
    /// user-defined type.
    pub(super) pointers: Vec<(String, String)>,
    /// The position in the archive of the flag and the offset of its data.
    offset_at: u64,
    offset_flag: u8,
}

impl TocEntry {
    /// Returns the object in one line: its kind, schema and name, with control characters escaped.
    pub(super) fn words(&self) -> String {
        format!("{} {}", self.kind, self.shown_name())
    }

    /// Returns the schema and the name, with control characters escaped.
    pub(super) fn shown_name(&self) -> String {
        match &self.schema {
            Some(schema) => one_line(&format!("{schema}.{}", self.name)),
            None => one_line(&self.name),
        }
    }
}

/// Returns a name in one line: PostgreSQL's names may contain line breaks.
pub(super) fn one_line(name: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    name.chars().map(escaped).collect()
}

#[cfg(test)]
impl TocEntry {
    pub(super) fn for_test(id: u32, kind: &str, schema: &str, name: &str, needs: &[u32]) -> Self {
        let schema = (!schema.is_empty()).then(|| schema.to_owned());
        let (kind, name, needs) = (kind.to_owned(), name.to_owned(), needs.to_vec());
        Self {
            id,
            kind,
            schema,
            name,
            needs,
            is_before_data: false,
            owner: String::new(),
            definition: String::new(),
            pointers: vec![],
            offset_at: 0,
            offset_flag: OFFSET_NOT_SET,
        }
    }
}

/// The entries of an archive, and the positions of their data.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) entries: Vec<TocEntry>,
    /// PostgreSQL's name of the encoding of its texts.
    pub(super) encoding: String,
    /// Names of entries as they are in the archive, where they are not plain ASCII: schema and name, by id.
    foreign: BTreeMap<u32, (Vec<u8>, Vec<u8>)>,
    offset_size: u8,
    /// Id and position of each block of data.
    blocks: Vec<(u32, u64)>,
}

impl Index {
    /// Returns whether the names in [`Self::entries`] are exact. For a database without an encoding the bytes
    /// are taken for UTF-8.
    pub(super) fn is_plain(&self) -> bool {
        self.foreign.is_empty() || ["UTF8", "SQL_ASCII"].contains(&self.encoding.as_str())
    }

    /// Returns the names that are not plain ASCII, in the archive's encoding.
    pub(super) fn foreign_names(&self) -> Vec<Vec<u8>> {
        let names = self.foreign.values().flat_map(|(schema, name)| [schema.clone(), name.clone()]);
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Returns the entries with the converted names.
    pub(super) fn converted(&self, names: &BTreeMap<Vec<u8>, String>) -> Vec<TocEntry> {
        let convert = |entry: &TocEntry| {
            let mut entry = entry.clone();
            if let Some((schema, name)) = self.foreign.get(&entry.id) {
                let of = |bytes: &Vec<u8>| names.get(bytes).cloned();
                entry.schema = entry.schema.map(|lossy| of(schema).unwrap_or(lossy));
                entry.name = of(name).unwrap_or(entry.name);
            }
            entry
        };
        self.entries.iter().map(convert).collect()
    }

    /// Returns the bytes to write at positions of the file to record where its data is.
    pub(super) fn patches(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let mut unset: std::collections::BTreeMap<u32, u64> = self
            .entries
            .iter()
            .filter(|entry| entry.offset_flag == OFFSET_NOT_SET)
            .map(|entry| (entry.id, entry.offset_at))
            .collect();
        self.blocks.iter().filter_map(move |(id, position)| {
            let at = unset.remove(id)?;
            let mut bytes = vec![OFFSET_SET];
            bytes
                .extend(position.to_le_bytes().into_iter().chain([0; 8]).take(usize::from(self.offset_size)));
            Some((at, bytes))
        })
    }
}

/// Reads an archive to its end.
pub(super) fn index(archive: impl BufRead) -> Result<Index, ArchiveError> {
    let mut bytes = Bytes { source: archive, position: 0, int_size: 4 };
    let TableOfContents { entries, encoding, foreign, offset_size } = read_contents(&mut bytes)?;
    let mut blocks = Vec::new();
    loop {
        let position = bytes.position;
        let Some(kind) = bytes.byte_or_end()? else { break };
        blocks.push((bytes.id()?, position));
        match kind {
            BLOCK_OF_DATA => bytes.skip_data()?,
            BLOCK_OF_LARGE_OBJECTS => {
                while bytes.int()? != 0 {
                    bytes.skip_data()?;
                }
            }
            _ => return Err(ArchiveError::Layout("a block of an unknown kind")),
        }
    }
    Ok(Index { entries, encoding, foreign, offset_size, blocks })
}

/// Reads only the table of contents, which is at the beginning.
pub(super) fn contents(archive: impl BufRead) -> Result<Vec<TocEntry>, ArchiveError> {
    let mut bytes = Bytes { source: archive, position: 0, int_size: 4 };
    Ok(read_contents(&mut bytes)?.entries)
}

/// The table of contents; the fields are those of [`Index`].
struct TableOfContents {
    entries: Vec<TocEntry>,
    encoding: String,
    foreign: BTreeMap<u32, (Vec<u8>, Vec<u8>)>,
    offset_size: u8,
}

fn read_contents<R: BufRead>(bytes: &mut Bytes<R>) -> Result<TableOfContents, ArchiveError> {
    let (minor, offset_size) = head(bytes)?;
    let count = bytes.int()?;
    let count = u32::try_from(count).map_err(|_| ArchiveError::Layout("a negative number of entries"))?;
    let mut entries = Vec::new();
    let mut encoding = "UTF8".to_owned();
    let mut foreign = BTreeMap::new();
    for _ in 0..count {
        let read = entry(bytes, minor, offset_size)?;
        // `SET client_encoding = 'LATIN1';`
        if let Some(word) = read.encoding.as_deref().and_then(|statement| statement.split('\'').nth(1)) {
            encoding = word.to_owned();
        }
        if !(read.schema.is_ascii() && read.name.is_ascii()) {
            foreign.insert(read.entry.id, (read.schema, read.name));
        }
        entries.push(read.entry);
    }
    Ok(TableOfContents { entries, encoding, foreign, offset_size })
}

/// Reads the minor version, and the size of an offset in bytes.
fn head<R: BufRead>(bytes: &mut Bytes<R>) -> Result<(u8, u8), ArchiveError> {
    for expected in MAGIC {
        if bytes.byte_or_end()? != Some(*expected) {
            return Err(ArchiveError::NotAnArchive);
        }
    }
    let (major, minor, _revision) = (bytes.byte()?, bytes.byte()?, bytes.byte()?);
    if major != 1 || !KNOWN_MINORS.contains(&minor) {
        return Err(ArchiveError::Version(minor));
    }
    bytes.int_size = bytes.byte()?;
    let offset_size = bytes.byte()?;
    if !(1..=8).contains(&bytes.int_size) || !(1..=16).contains(&offset_size) {
        return Err(ArchiveError::Layout("numbers of an impossible size"));
    }
    if bytes.byte()? != CUSTOM_FORMAT {
        return Err(ArchiveError::NotAnArchive);
    }
    if minor >= 15 {
        bytes.byte()?;
    } else {
        bytes.int()?;
    }
    // Creation time: seven numbers. Then the database, the server's version and pg_dump's.
    for _ in 0..7 {
        bytes.int()?;
    }
    for _ in 0..3 {
        bytes.skip_text()?;
    }
    Ok((minor, offset_size))
}

/// An entry, with its names as in the archive.
struct TocReader {
    entry: TocEntry,
    schema: Vec<u8>,
    name: Vec<u8>,
    /// The statement that sets the archive's encoding, in the one entry that does.
    encoding: Option<String>,
}

fn entry<R: BufRead>(bytes: &mut Bytes<R>, minor: u8, offset_size: u8) -> Result<TocReader, ArchiveError> {
    let id = bytes.id()?;
    bytes.int()?;
    // The catalog's and the object's oid.
    bytes.skip_text()?;
    bytes.skip_text()?;
    let name = bytes.raw_text()?.unwrap_or_default();
    let kind = bytes.text()?.unwrap_or_default();
    let is_before_data = bytes.int()? == PRE_DATA;
    let (mut encoding, mut definition, mut pointers) = (None, String::new(), vec![]);
    if kind == "ENCODING" {
        encoding = bytes.text()?;
    } else if DEFINED.contains(&kind.as_str()) {
        definition = bytes.text_up_to(DEFINITION_LIMIT)?.unwrap_or_default();
        if kind == "TABLE" {
            pointers = pointers_of(&definition);
            definition = row_security_of(&definition);
        }
    } else {
        bytes.skip_text()?;
    }
    for _ in 0..2 {
        bytes.skip_text()?;
    }
    let schema = bytes.raw_text()?.unwrap_or_default();
    bytes.skip_text()?;
    if minor >= 14 {
        bytes.skip_text()?;
    }
    if minor >= 16 {
        bytes.int()?;
    }
    let owner = bytes.text()?.unwrap_or_default();
    // Whether it has oids.
    bytes.skip_text()?;
    let mut needs = Vec::new();
    while let Some(text) = bytes.text()? {
        needs.push(text.parse().map_err(|_| ArchiveError::Layout("a dependency that is not a number"))?);
    }
    let offset_at = bytes.position;
    let offset_flag = bytes.byte()?;
    bytes.skip(u64::from(offset_size))?;
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let entry = TocEntry {
        id,
        kind,
        schema: (!schema.is_empty()).then(|| lossy(&schema)),
        name: lossy(&name),
        needs,
        is_before_data,
        owner,
        definition,
        pointers,
        offset_at,
        offset_flag,
    };
    Ok(TocReader { entry, schema, name, encoding })
}

/// Returns the columns of a table of type `oid`, or of a type outside of `pg_catalog`, whose schema pg_dump
/// writes.
fn pointers_of(definition: &str) -> Vec<(String, String)> {
    let statement = split(definition).into_iter().find(|statement| statement.begins(&["CREATE"]));
    let columns = statement.map(|statement| statement.columns()).unwrap_or_default();
    columns.into_iter().filter(|(_, kind)| kind == "oid" || kind.contains('.')).collect()
}

/// Returns the line of a table's definition that applies row-level security to its owner, too. The rest may
/// be long and is not needed.
fn row_security_of(definition: &str) -> String {
    let forces = |line: &&str| line.starts_with("ALTER TABLE ") && line.ends_with(FORCE_ROW_SECURITY);
    definition.lines().find(forces).unwrap_or_default().to_owned()
}

/// Decodes numbers and texts of an archive.
struct Bytes<R> {
    source: R,
    position: u64,
    int_size: u8,
}

impl<R: BufRead> Bytes<R> {
    fn byte_or_end(&mut self) -> Result<Option<u8>, ArchiveError> {
        let Some(byte) = self.source.fill_buf()?.first().copied() else { return Ok(None) };
        self.source.consume(1);
        self.position += 1;
        Ok(Some(byte))
    }

    fn byte(&mut self) -> Result<u8, ArchiveError> {
        self.byte_or_end()?.ok_or(ArchiveError::Layout("it ends too early"))
    }

    /// Reads a sign, then the bytes of the number, least significant first.
    fn int(&mut self) -> Result<i64, ArchiveError> {
        let is_negative = self.byte()? != 0;
        let mut number: u64 = 0;
        for position in 0..self.int_size {
            number |= u64::from(self.byte()?) << (8 * u32::from(position));
        }
        let number = i64::try_from(number).map_err(|_| ArchiveError::Layout("a number that is too large"))?;
        Ok(if is_negative { -number } else { number })
    }

    fn id(&mut self) -> Result<u32, ArchiveError> {
        u32::try_from(self.int()?).map_err(|_| ArchiveError::Layout("an id that is not one"))
    }

    fn text(&mut self) -> Result<Option<String>, ArchiveError> {
        let text = self.raw_text()?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// Reads a text as bytes: names of a database in another encoding are not UTF-8.
    fn raw_text(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Ok(length) = u64::try_from(self.int()?) else { return Ok(None) };
        if length > WORD_LIMIT {
            return Err(ArchiveError::Layout("a name that is too long"));
        }
        self.read_text(length).map(Some)
    }

    /// Reads a text of any length, of which at most `limit` bytes are kept.
    fn text_up_to(&mut self, limit: u64) -> Result<Option<String>, ArchiveError> {
        let Ok(length) = u64::try_from(self.int()?) else { return Ok(None) };
        let text = self.read_text(length.min(limit))?;
        self.skip(length.saturating_sub(limit))?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    fn read_text(&mut self, length: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut text = Vec::with_capacity(usize::try_from(length.min(WORD_LIMIT)).unwrap_or_default());
        for _ in 0..length {
            text.push(self.byte()?);
        }
        Ok(text)
    }

    fn skip_text(&mut self) -> Result<(), ArchiveError> {
        match u64::try_from(self.int()?) {
            Ok(length) => self.skip(length),
            Err(_) => Ok(()),
        }
    }

    fn skip_data(&mut self) -> Result<(), ArchiveError> {
        loop {
            match u64::try_from(self.int()?) {
                Ok(0) => return Ok(()),
                Ok(length) => self.skip(length)?,
                Err(_) => return Err(ArchiveError::Layout("data of a negative length")),
            }
        }
    }

    fn skip(&mut self, count: u64) -> Result<(), ArchiveError> {
        let mut left = count;
        while left > 0 {
            let there = self.source.fill_buf()?.len();
            if there == 0 {
                return Err(ArchiveError::Layout("it ends too early"));
            }
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there);
            self.source.consume(taken);
            self.position += taken as u64;
            left -= taken as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(number: i32) -> Vec<u8> {
        let mut bytes = vec![u8::from(number < 0)];
        bytes.extend(number.unsigned_abs().to_le_bytes());
        bytes
    }

    fn text(text: &str) -> Vec<u8> {
        [int(text.len() as i32), text.as_bytes().to_vec()].concat()
    }

    fn absent() -> Vec<u8> {
        int(-1)
    }

    /// Two tables of 3 and 5 bytes, of version 1.14.
    fn archive() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 14, 0, 4, 8, CUSTOM_FORMAT]);
        bytes.extend((0..8).flat_map(|_| int(0)));
        bytes.extend(["db", "15.1", "15.1"].into_iter().flat_map(text));
        bytes.extend(int(2));
        for (id, name) in [(7, "a"), (9, "b")] {
            bytes.extend(
                [int(id), int(1), text("0"), text("0"), text(name), text("TABLE DATA"), int(3)].concat(),
            );
            bytes.extend([text(""), text(""), text("COPY"), text("public"), text(""), absent()].concat());
            bytes.extend(
                [text("me"), text("false"), text("5"), absent(), vec![OFFSET_NOT_SET], vec![0; 8]].concat(),
            );
        }
        for (id, data) in [(9, "three"), (7, "two")] {
            bytes.push(BLOCK_OF_DATA);
            bytes.extend([int(id), text(data), int(0)].concat());
        }
        bytes
    }

    #[test]
    fn the_contents_are_read_and_the_data_is_found() {
        let mut file = archive();
        let read = index(&file[..]).unwrap();
        assert_eq!(read.entries.len(), 2);
        assert_eq!(read.entries[0].kind, "TABLE DATA");
        assert_eq!(read.entries[1].schema.as_deref(), Some("public"));
        assert_eq!(read.entries[0].needs, [5]);
        assert_eq!(read.entries[0].owner, "me");
        let begins = archive().len() - 2 * 16 - 8;
        assert_eq!(contents(&archive()[..begins]).unwrap(), read.entries, "the data is not needed for it");
        for (at, bytes) in read.patches() {
            let at = usize::try_from(at).unwrap();
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let patched = index(&file[..]).unwrap();
        assert_eq!(patched.patches().count(), 0, "every offset is set now");
        for entry in patched.entries {
            let at = usize::try_from(entry.offset_at).unwrap() + 1;
            let position = u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
            let at = usize::try_from(position).unwrap();
            assert_eq!(file[at..at + 6].to_vec(), [vec![BLOCK_OF_DATA], int(entry.id as i32)].concat());
        }
    }

    #[test]
    fn names_are_those_of_the_archives_encoding() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 14, 0, 4, 8, CUSTOM_FORMAT]);
        bytes.extend((0..8).flat_map(|_| int(0)));
        bytes.extend(["db", "15.1", "15.1"].into_iter().flat_map(text));
        bytes.extend(int(2));
        let latin = [int(5), b"K\xe4ufe".to_vec()].concat();
        let statement = text("SET client_encoding = 'LATIN1';\n");
        for (id, kind, name, creates) in
            [(1, "ENCODING", text("ENCODING"), statement), (2, "TABLE", latin, text("CREATE"))]
        {
            bytes.extend([int(id), int(0), text("0"), text("0"), name, text(kind), int(2)].concat());
            bytes.extend([creates, text(""), text(""), text("public"), text(""), absent()].concat());
            bytes.extend([text("me"), text("false"), absent(), vec![OFFSET_NOT_SET], vec![0; 8]].concat());
        }
        let read = index(&bytes[..]).unwrap();
        assert_eq!(read.encoding, "LATIN1");
        assert!(!read.is_plain());
        assert_eq!(read.foreign_names(), [b"K\xe4ufe".to_vec(), b"public".to_vec()]);
        let names = [(b"K\xe4ufe".to_vec(), "Käufe".to_owned())].into();
        assert_eq!(read.converted(&names)[1].name, "Käufe");
        assert_eq!(read.converted(&names)[1].schema.as_deref(), Some("public"));
    }

    #[test]
    fn anything_cut_off_or_foreign_is_refused() {
        let whole = archive();
        let data_begins = whole.len() - 2 * 16 - 8;
        for length in 0..data_begins {
            assert!(index(&whole[..length]).is_err(), "{length}");
        }
        assert!(matches!(index(&b"-- PostgreSQL database dump"[..]), Err(ArchiveError::NotAnArchive)));
        let mut newer = whole;
        newer[6] = 99;
        assert!(matches!(index(&newer[..]), Err(ArchiveError::Version(99))));
    }
}
