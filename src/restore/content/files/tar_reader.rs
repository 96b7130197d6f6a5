//! Reads the archives that drctl writes: pax, with the records of GNU tar for sparse files. Anything else is refused.

use std::io::{self, Read};

use super::names::number;
use crate::source::files::EntryKind;

const BLOCK: u64 = 512;
/// All records of a member: names, and attributes of 64 KiB each.
const MOST_RECORDS: u64 = 16 << 20;
/// Numbers in the map of a sparse file.
const MOST_EXTENTS: u64 = 1 << 20;
const SECOND: i64 = 1_000_000_000;

/// A member of an archive.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) user: String,
    pub(super) group: String,
    /// In nanoseconds.
    pub(super) mtime: i64,
    pub(super) link: Vec<u8>,
    pub(super) device: (u32, u32),
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a file, with its holes.
    pub(super) size: u64,
    /// Where its data is: one stretch, unless it has holes.
    pub(super) extents: Vec<(u64, u64)>,
}

/// An archive that is read from its beginning to its end.
pub(super) struct TarReader<R> {
    from: R,
    /// Data of the current member that was not read yet, and its padding.
    left: u64,
    padding: u64,
}

/// What the records of a member say.
#[derive(Default)]
struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    user: Option<String>,
    group: Option<String>,
    mtime: Option<i64>,
    is_sparse: bool,
    real_size: Option<u64>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive is not one that drctl writes: {what}"))
}

impl<R: Read> TarReader<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, left: 0, padding: 0 }
    }

    /// Returns the next member; at the end reads what follows, so that its digest is verified.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        self.skip()?;
        let mut records = Records::default();
        loop {
            let mut block = [0; 512];
            self.from.read_exact(&mut block)?;
            if block == [0; 512] {
                io::copy(&mut self.from, &mut io::sink())?;
                return Ok(None);
            }
            let header = tar::Header::from_byte_slice(&block);
            let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum();
            if header.cksum()? != sum + 8 * u32::from(b' ') {
                return Err(invalid("a header's checksum"));
            }
            let size = header.entry_size()?;
            if header.entry_type() == tar::EntryType::XHeader {
                if size > MOST_RECORDS {
                    return Err(invalid("its records are too long"));
                }
                let mut text = vec![0; usize::try_from(size.next_multiple_of(BLOCK)).unwrap_or_default()];
                self.from.read_exact(&mut text)?;
                text.truncate(usize::try_from(size).unwrap_or_default());
                records = Records::parse(&text)?;
                continue;
            }
            return self.member(header, size, records).map(Some);
        }
    }

    fn member(&mut self, header: &tar::Header, size: u64, records: Records) -> io::Result<Member> {
        let kind = match header.entry_type() {
            tar::EntryType::Regular => EntryKind::File,
            tar::EntryType::Link => EntryKind::HardLink,
            tar::EntryType::Directory => EntryKind::Directory,
            tar::EntryType::Symlink => EntryKind::Symlink,
            tar::EntryType::Fifo => EntryKind::Fifo,
            tar::EntryType::Char => EntryKind::CharacterDevice,
            tar::EntryType::Block => EntryKind::BlockDevice,
            _ => return Err(invalid("an unknown type of member")),
        };
        let ustar = header.as_ustar().ok_or_else(|| invalid("its format"))?;
        let field = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let text = |bytes: &[u8]| String::from_utf8_lossy(&field(bytes)).into_owned();
        let stored = records.size.unwrap_or(size);
        if kind != EntryKind::File && stored != 0 {
            return Err(invalid("bytes of what has none"));
        }
        let id = |number: u64| u32::try_from(number).map_err(|_| invalid("an owner"));
        let seconds = i64::try_from(header.mtime()?).unwrap_or(i64::MAX);
        let mut member = Member {
            path: records.path.unwrap_or_else(|| field(&ustar.name)),
            kind,
            mode: header.mode()? & 0o7777,
            uid: records.uid.map_or_else(|| id(header.uid()?), Ok)?,
            gid: records.gid.map_or_else(|| id(header.gid()?), Ok)?,
            user: records.user.unwrap_or_else(|| text(&ustar.uname)),
            group: records.group.unwrap_or_else(|| text(&ustar.gname)),
            mtime: records.mtime.unwrap_or_else(|| seconds.saturating_mul(SECOND)),
            link: records.link.unwrap_or_else(|| field(&ustar.linkname)),
            device: (0, 0),
            attributes: records.attributes,
            size: stored,
            extents: vec![(0, stored)],
        };
        if matches!(kind, EntryKind::CharacterDevice | EntryKind::BlockDevice) {
            let (major, minor) = (header.device_major()?, header.device_minor()?);
            member.device = (major.unwrap_or_default(), minor.unwrap_or_default());
        }
        self.left = stored;
        self.padding = stored.next_multiple_of(BLOCK) - stored;
        if records.is_sparse {
            member.size = records.real_size.ok_or_else(|| invalid("no size of a sparse file"))?;
            member.extents = self.map(member.size)?;
        }
        Ok(member)
    }

    /// Reads the map of a sparse file, which stands before its data.
    fn map(&mut self, size: u64) -> io::Result<Vec<(u64, u64)>> {
        let (mut text, mut numbers, mut wanted) = (Vec::new(), Vec::new(), 1);
        while (numbers.len() as u64) < wanted {
            if self.left < BLOCK {
                return Err(invalid("the map of a sparse file"));
            }
            let mut block = [0; 512];
            self.from.read_exact(&mut block)?;
            self.left -= BLOCK;
            text.extend_from_slice(&block);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                numbers.push(number(&text[..end]).ok_or_else(|| invalid("the map of a sparse file"))?);
                text.drain(..=end);
                if numbers.len() == 1 {
                    if numbers[0] > MOST_EXTENTS {
                        return Err(invalid("the map of a sparse file is too long"));
                    }
                    wanted = 1 + 2 * numbers[0];
                }
                if numbers.len() as u64 == wanted {
                    break;
                }
            }
        }
        let extents: Vec<(u64, u64)> = numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let (mut at, mut data) = (0_u64, 0_u64);
        for (from, length) in &extents {
            let to = from.checked_add(*length).filter(|to| *from >= at && *to <= size);
            at = to.ok_or_else(|| invalid("the map of a sparse file"))?;
            data += length;
        }
        if data != self.left {
            return Err(invalid("the size of a sparse file"));
        }
        Ok(extents)
    }

    /// Reads data of the current member; 0: its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        loop {
            match self.from.read(&mut buffer[..most]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.left -= count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.from).take(rest), &mut io::sink())?;
        if skipped == rest { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Records {
    fn parse(mut text: &[u8]) -> io::Result<Self> {
        let wrong = || invalid("a record");
        let mut records = Self::default();
        while !text.is_empty() {
            let space = text.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = number(&text[..space]).and_then(|length| usize::try_from(length).ok());
            let length =
                length.filter(|length| *length > space + 1 && *length <= text.len()).ok_or_else(wrong)?;
            let record = text[space + 1..length].strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            records.set(&record[..equals], &record[equals + 1..]).ok_or_else(wrong)?;
            text = &text[length..];
        }
        Ok(records)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let id = |value| number(value).and_then(|number| u32::try_from(number).ok());
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(id(value)?),
            b"gid" => self.gid = Some(id(value)?),
            b"uname" => self.user = Some(text(value)),
            b"gname" => self.group = Some(text(value)),
            b"mtime" => self.mtime = Some(time(value)?),
            b"GNU.sparse.major" => self.is_sparse = (value == b"1").then_some(true)?,
            b"GNU.sparse.minor" => (value == b"0").then_some(())?,
            b"GNU.sparse.name" => self.path = Some(value.to_vec()),
            b"GNU.sparse.realsize" => self.real_size = Some(number(value)?),
            key => {
                let name = key.strip_prefix(b"SCHILY.xattr.")?;
                self.attributes.push((decoded(name), value.to_vec()));
            }
        }
        Some(())
    }
}

/// GNU tar writes `=` and `%` of an attribute's name as escapes.
fn decoded(name: &[u8]) -> Vec<u8> {
    let (mut all, mut rest) = (Vec::new(), name);
    while let Some((byte, after)) = rest.split_first() {
        (rest, _) = match rest {
            [b'%', b'3', b'D', after @ ..] => (after, all.push(b'=')),
            [b'%', b'2', b'5', after @ ..] => (after, all.push(b'%')),
            _ => (after, all.push(*byte)),
        };
    }
    all
}

/// Reads seconds with a fraction of up to nine digits.
fn time(value: &[u8]) -> Option<i64> {
    let (sign, value) = match value.strip_prefix(b"-") {
        Some(rest) => (-1, rest),
        None => (1, value),
    };
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &b""[..]),
    };
    let mut digits = fraction.to_vec();
    digits.resize(9, b'0');
    let nanos = i64::try_from(number(&digits)?).ok()?;
    let seconds = i64::try_from(number(whole)?).ok()?;
    Some(sign * seconds.checked_mul(SECOND)?.checked_add(nanos)?)
}
