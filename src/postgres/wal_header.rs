use thiserror::Error;

use crate::model::{Lsn, Segment, SegmentSize, SystemIdentifier, Timeline};

/// Bytes of the header of a segment.
pub const SEGMENT_HEADER: usize = 40;
/// Bytes of the header of every other page.
pub(super) const PAGE_HEADER: usize = 24;
/// The page begins with the rest of a record.
pub(super) const CONTINUED: u16 = 0x1;
/// The header is that of a segment.
pub(super) const LONG: u16 = 0x2;
/// The incomplete record of the previous page was abandoned.
pub(super) const GIVEN_UP: u16 = 0x8;
/// PostgreSQL's majors by the magic number of a page.
const MAJORS: [(u16, u32); 6] =
    [(0xD106, 13), (0xD10D, 14), (0xD110, 15), (0xD113, 16), (0xD116, 17), (0xD118, 18)];
const OLDEST: u16 = MAJORS[0].0;
/// The newest plausible magic number, as long as PostgreSQL keeps its numbering.
const NEWEST: u16 = 0xD1FF;

/// Why a file is not the segment of its name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    #[error("it is shorter than the header of a segment")]
    Short,
    #[error("it does not begin with the magic number of WAL of PostgreSQL 13 or newer, but with {0:04X}")]
    Magic(u16),
    #[error("its header has an invalid {what}: {value}")]
    Value { what: &'static str, value: u64 },
    #[error("its header has the start {found}, and a segment of its name starts at {expected}")]
    Address { found: Lsn, expected: Lsn },
    #[error("its header has timeline {found}, later than that of its name, {expected}")]
    Timeline { found: Timeline, expected: Timeline },
    #[error("no segment has this name where segments are {} bytes long", .0.bytes())]
    Name(SegmentSize),
}

/// The contents of a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub magic: u16,
    /// WAL is in the byte order of the host that wrote it.
    pub(super) little_endian: bool,
    /// Of its first record, so an older one than in the name if the timeline begins in this segment.
    pub timeline: Timeline,
    pub begin: Lsn,
    pub system_identifier: SystemIdentifier,
    pub segment_size: SegmentSize,
    pub page_size: usize,
}

impl SegmentHeader {
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.get(..SEGMENT_HEADER).ok_or(HeaderError::Short)?;
        let little_endian = bytes[1] == 0xD1;
        let fields = Fields { bytes, little_endian };
        let magic = fields.u16(0);
        if !(OLDEST..=NEWEST).contains(&magic) || fields.u16(2) & LONG == 0 {
            return Err(HeaderError::Magic(magic));
        }
        let value = |what, value| HeaderError::Value { what, value };
        let (timeline, page_size) = (fields.u32(4), fields.u32(36));
        let segment_size = u64::from(fields.u32(32));
        let page_fits = page_size.is_power_of_two() && (1 << 10..=1 << 16).contains(&page_size);
        Ok(Self {
            magic,
            little_endian,
            timeline: Timeline::new(timeline).ok_or(value("its timeline", timeline.into()))?,
            begin: Lsn(fields.u64(8)),
            system_identifier: SystemIdentifier(fields.u64(24)),
            segment_size: SegmentSize::new(segment_size).map_err(|_| value("segment size", segment_size))?,
            page_size: if page_fits {
                page_size as usize
            } else {
                return Err(value("page size", page_size.into()));
            },
        })
    }

    /// Returns the major version of PostgreSQL; `None` if it is newer than this program.
    pub fn major(&self) -> Option<u32> {
        MAJORS.iter().find(|(magic, _)| *magic == self.magic).map(|(_, major)| *major)
    }

    /// Checks that it can be the segment of this name.
    pub fn check(&self, name: Segment) -> Result<(), HeaderError> {
        let expected = name.begin(self.segment_size).ok_or(HeaderError::Name(self.segment_size))?;
        if self.begin != expected {
            return Err(HeaderError::Address { found: self.begin, expected });
        }
        if self.timeline > name.timeline {
            return Err(HeaderError::Timeline { found: self.timeline, expected: name.timeline });
        }
        Ok(())
    }
}

/// Reads numbers from a page. Beyond its end they are zero.
#[derive(Clone, Copy)]
pub(super) struct Fields<'p> {
    pub(super) bytes: &'p [u8],
    pub(super) little_endian: bool,
}

impl Fields<'_> {
    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        if let Some(bytes) = self.bytes.get(at..at + N) {
            array.copy_from_slice(bytes);
        }
        if !self.little_endian {
            array.reverse();
        }
        array
    }

    pub(super) fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub(super) fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(super) fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    pub(super) fn i64(self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }
}

/// Returns a segment without records, of system identifier 7300000000000000001.
#[cfg(test)]
pub(crate) fn segment_for_tests(timeline: u32, begin: u64, size: u32) -> Vec<u8> {
    let mut bytes = tests::header(timeline, begin, size, false);
    bytes.resize(size as usize, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn header(timeline: u32, begin: u64, size: u32, big_endian: bool) -> Vec<u8> {
        let fields: [(&[u8], bool); 9] = [
            (&0xD110_u16.to_le_bytes(), true),
            (&LONG.to_le_bytes(), true),
            (&timeline.to_le_bytes(), true),
            (&begin.to_le_bytes(), true),
            (&0_u32.to_le_bytes(), true),
            (&[0; 4], false),
            (&7_300_000_000_000_000_001_u64.to_le_bytes(), true),
            (&size.to_le_bytes(), true),
            (&8192_u32.to_le_bytes(), true),
        ];
        fields
            .iter()
            .flat_map(|(bytes, turns)| {
                let mut bytes = bytes.to_vec();
                if big_endian && *turns {
                    bytes.reverse();
                }
                bytes
            })
            .collect()
    }

    #[test]
    fn a_header_says_whose_and_which_it_is() {
        for big_endian in [false, true] {
            let found = SegmentHeader::parse(&header(2, 0x16_B300_0000, 16 << 20, big_endian)).unwrap();
            assert_eq!(found.major(), Some(15));
            assert_eq!(found.system_identifier, SystemIdentifier(7_300_000_000_000_000_001));
            found.check("0000000200000016000000B3".parse().unwrap()).unwrap();
            // The first segment of a timeline begins with a page of its parent.
            found.check("0000000300000016000000B3".parse().unwrap()).unwrap();
            let refused = |name: &str| found.check(name.parse().unwrap()).unwrap_err();
            assert!(matches!(refused("0000000100000016000000B3"), HeaderError::Timeline { .. }));
            assert!(matches!(refused("0000000200000016000000B4"), HeaderError::Address { .. }));
            assert!(matches!(refused("000000020000001600000FFF"), HeaderError::Name(_)));
        }
    }

    #[test]
    fn what_is_not_a_segment_is_refused() {
        assert_eq!(SegmentHeader::parse(&[0; 39]), Err(HeaderError::Short));
        assert_eq!(SegmentHeader::parse(&[0; 8192]), Err(HeaderError::Magic(0)));
        assert_eq!(SegmentHeader::parse(&[b'x'; 8192]), Err(HeaderError::Magic(0x7878)));
        let no_size = SegmentHeader::parse(&header(1, 0, 12345, false));
        assert_eq!(no_size, Err(HeaderError::Value { what: "segment size", value: 12345 }));
        assert!(SegmentHeader::parse(&header(0, 0, 16 << 20, false)).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), magic in any::<bool>()) {
            let mut bytes = bytes;
            if magic && bytes.len() > 4 {
                bytes[..4].copy_from_slice(&[0x10, 0xD1, 2, 0]);
            }
            let _any = SegmentHeader::parse(&bytes);
        }
    }
}
