use crc_fast::{CrcAlgorithm, Digest};
use thiserror::Error;

/// Redis, and Valkey since its version 9.
const MAGIC: [&[u8]; 2] = [b"REDIS", b"VALKEY"];
/// The magic and the digits of the version.
const HEADER: usize = 9;
/// The opcode that ends the data.
const END: u8 = 0xff;
const CHECKSUM: usize = 8;
/// The first version that ends with a checksum.
const WITH_CHECKSUM: u32 = 5;

/// Why a stream is no complete dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RdbFault {
    #[error("it does not begin as a dump does")]
    NoDump,
    #[error("it does not end as a dump does")]
    NoEnd,
    #[error("its checksum does not match")]
    Checksum,
}

/// What the first and last bytes of a dump say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RdbFooter {
    pub version: u32,
    /// Whether its checksum was there and matched; servers may be configured to leave it out (`rdbchecksum no`).
    pub is_checksummed: bool,
}

/// Checks a dump while it passes by: its header, the opcode at its end, its checksum (CRC-64 of Jones).
pub struct RdbCheck {
    header: Vec<u8>,
    digest: Digest,
    /// The last bytes, which may be the checksum.
    last: Vec<u8>,
    /// The byte before those.
    before: Option<u8>,
}

impl Default for RdbCheck {
    fn default() -> Self {
        Self {
            header: Vec::with_capacity(HEADER),
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
            last: Vec::with_capacity(CHECKSUM),
            before: None,
        }
    }
}

impl std::fmt::Debug for RdbCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RdbCheck")
    }
}

impl RdbCheck {
    /// Takes the next bytes; an error as soon as they cannot be those of a dump.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), RdbFault> {
        if self.header.len() < HEADER {
            let wanted = (HEADER - self.header.len()).min(bytes.len());
            self.header.extend(&bytes[..wanted]);
            if self.header.len() == HEADER {
                version(&self.header).ok_or(RdbFault::NoDump)?;
            }
        }
        let all = self.last.len() + bytes.len();
        let passed = all.saturating_sub(CHECKSUM);
        let of_last = passed.min(self.last.len());
        let of_new = passed - of_last;
        self.digest.update(&self.last[..of_last]);
        self.digest.update(&bytes[..of_new]);
        let newest = bytes[..of_new].last().or(self.last[..of_last].last());
        self.before = newest.copied().or(self.before);
        self.last.drain(..of_last);
        self.last.extend(&bytes[of_new..]);
        Ok(())
    }

    pub fn finish(mut self) -> Result<RdbFooter, RdbFault> {
        let version = version(&self.header).ok_or(RdbFault::NoDump)?;
        if version < WITH_CHECKSUM {
            let is_ended = self.last.last() == Some(&END);
            return if is_ended {
                Ok(RdbFooter { version, is_checksummed: false })
            } else {
                Err(RdbFault::NoEnd)
            };
        }
        let stored: [u8; CHECKSUM] = self.last.as_slice().try_into().map_err(|_| RdbFault::NoEnd)?;
        if self.before != Some(END) {
            return Err(RdbFault::NoEnd);
        }
        match u64::from_le_bytes(stored) {
            0 => Ok(RdbFooter { version, is_checksummed: false }),
            stored if stored == self.digest.finalize_reset() => {
                Ok(RdbFooter { version, is_checksummed: true })
            }
            _ => Err(RdbFault::Checksum),
        }
    }
}

fn version(header: &[u8]) -> Option<u32> {
    let digits =
        MAGIC.iter().find_map(|magic| header.strip_prefix(*magic)).filter(|_| header.len() == HEADER)?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|version| *version > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dump(body: &[u8]) -> Vec<u8> {
        let mut bytes = [b"REDIS0010", body, &[END]].concat();
        let checksum = crc_fast::checksum(CrcAlgorithm::Crc64Redis, &bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    fn checked(bytes: &[u8], chunk: usize) -> Result<RdbFooter, RdbFault> {
        let mut check = RdbCheck::default();
        bytes.chunks(chunk).try_for_each(|chunk| check.update(chunk))?;
        check.finish()
    }

    /// The value that Redis's own test has.
    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(crc_fast::checksum(CrcAlgorithm::Crc64Redis, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_dump_without_a_checksum_is_told_apart() {
        let mut bytes = dump(b"x");
        let at = bytes.len() - 8;
        bytes[at..].fill(0);
        assert_eq!(checked(&bytes, 4).unwrap(), RdbFooter { version: 10, is_checksummed: false });
        assert_eq!(checked(b"REDIS0003\xff", 3).unwrap().version, 3);
        for bad in [&b"REDIS0003"[..], b"", b"REDIS", b"PostgreSQL custom dump", b"REDIS00x0\xff"] {
            assert!(checked(bad, 2).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_dump_in_any_chunks_passes_and_any_cut_or_changed_one_does_not(
            body in proptest::collection::vec(any::<u8>(), 0..200), chunk in 1usize..50, at in any::<prop::sample::Index>(), bit in 0u8..8
        ) {
            let whole = dump(&body);
            prop_assert_eq!(checked(&whole, chunk), Ok(RdbFooter { version: 10, is_checksummed: true }));
            let at = at.index(whole.len());
            let mut other = whole.clone();
            other[at] ^= 1 << bit;
            // A header of another version is another dump only where the rest is.
            prop_assert!(checked(&other, chunk).is_err());
            let cut = checked(&whole[..at], chunk);
            prop_assert!(cut.is_err() || cut == Ok(RdbFooter { version: 10, is_checksummed: false }), "{:?}", cut);
        }
    }
}
