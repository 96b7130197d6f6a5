//! Counts the keys of a dump without reading what they hold.

use std::io::{self, Read};

use crate::model::RedisDatabase;

/// What a dump holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdbContents {
    pub databases: Vec<RedisDatabase>,
    /// Libraries of functions.
    pub functions: u64,
}

/// Reads a dump to its end opcode. `None`: it has something that is not known here, or ends too early.
pub fn count_keys(dump: impl Read) -> Option<RdbContents> {
    let mut reader = Skipper { input: dump, buffer: vec![0; 64 << 10], at: 0, end: 0 };
    reader.skip(9)?;
    let mut contents = RdbContents::default();
    let mut expires = false;
    loop {
        match reader.byte()? {
            AUX => {
                reader.string()?;
                reader.string()?;
            }
            FUNCTION => {
                reader.string()?;
                contents.functions += 1;
            }
            MODULE_AUX => {
                reader.length()?;
                reader.module()?;
            }
            RESIZE => {
                reader.length()?;
                reader.length()?;
            }
            SLOT_INFO => {
                for _ in 0..3 {
                    reader.length()?;
                }
            }
            IDLE => {
                reader.length()?;
            }
            FREQUENCY => reader.skip(1)?,
            EXPIRES_MS => {
                reader.skip(8)?;
                expires = true;
            }
            EXPIRES => {
                reader.skip(4)?;
                expires = true;
            }
            SELECT => {
                let number = reader.length()?;
                contents.databases.push(RedisDatabase { number, ..RedisDatabase::default() });
            }
            END => {
                contents.databases.retain(|database| database.keys > 0);
                return Some(contents);
            }
            kind => {
                reader.string()?;
                reader.value(kind)?;
                if contents.databases.is_empty() {
                    contents.databases.push(RedisDatabase::default());
                }
                let database = contents.databases.last_mut()?;
                database.keys += 1;
                database.expiring += u64::from(std::mem::take(&mut expires));
            }
        }
    }
}

const SLOT_INFO: u8 = 244;
const FUNCTION: u8 = 245;
const MODULE_AUX: u8 = 247;
const IDLE: u8 = 248;
const FREQUENCY: u8 = 249;
const AUX: u8 = 250;
const RESIZE: u8 = 251;
const EXPIRES_MS: u8 = 252;
const EXPIRES: u8 = 253;
const SELECT: u8 = 254;
const END: u8 = 255;

/// A length, or a string that is encoded as a number or compressed.
enum Length {
    Of(u64),
    Encoded(u8),
}

struct Skipper<R> {
    input: R,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
}

impl<R: Read> Skipper<R> {
    /// Fills the buffer again once it was read; `None` at the end of the input.
    fn fill(&mut self) -> Option<()> {
        while self.at == self.end {
            self.end = match self.input.read(&mut self.buffer) {
                Ok(0) => return None,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return None,
            };
            self.at = 0;
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.fill()?;
        self.at += 1;
        Some(self.buffer[self.at - 1])
    }

    fn skip(&mut self, mut count: u64) -> Option<()> {
        while count > 0 {
            self.fill()?;
            let here = count.min((self.end - self.at) as u64);
            self.at += here as usize;
            count -= here;
        }
        Some(())
    }

    fn big_endian(&mut self, bytes: usize) -> Option<u64> {
        (0..bytes).try_fold(0, |value, _| Some(value << 8 | u64::from(self.byte()?)))
    }

    fn any_length(&mut self) -> Option<Length> {
        let first = self.byte()?;
        let low = u64::from(first & 0x3f);
        Some(match first >> 6 {
            0 => Length::Of(low),
            1 => Length::Of(low << 8 | u64::from(self.byte()?)),
            2 if first == 0x80 => Length::Of(self.big_endian(4)?),
            2 if first == 0x81 => Length::Of(self.big_endian(8)?),
            3 => Length::Encoded(first & 0x3f),
            _ => return None,
        })
    }

    fn length(&mut self) -> Option<u64> {
        match self.any_length()? {
            Length::Of(length) => Some(length),
            Length::Encoded(_) => None,
        }
    }

    fn string(&mut self) -> Option<()> {
        match self.any_length()? {
            Length::Of(length) => self.skip(length),
            Length::Encoded(number @ 0..=2) => self.skip(1 << number),
            Length::Encoded(3) => {
                let compressed = self.length()?;
                self.length()?;
                self.skip(compressed)
            }
            Length::Encoded(_) => None,
        }
    }

    fn times(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let count = self.length()?;
        (0..count).try_for_each(|_| each(self).ok_or(())).ok()
    }

    /// Skips a value, by the number of its type in `rdb.h`.
    fn value(&mut self, kind: u8) -> Option<()> {
        match kind {
            // Strings, and everything that is packed into one: ziplist, intset, listpack.
            0 | 9..=13 | 16 | 17 | 20 => self.string(),
            // Lists and sets, quicklists of ziplists.
            1 | 2 | 14 => self.times(Self::string),
            // Sorted sets: scores as text, scores as numbers.
            3 => self.times(|of| {
                of.string()?;
                let length = of.byte()?;
                of.skip(if length >= 253 { 0 } else { u64::from(length) })
            }),
            5 => self.times(|of| of.string().and_then(|()| of.skip(8))),
            // Hashes.
            4 => self.times(|of| of.string().and_then(|()| of.string())),
            // Quicklists of listpacks.
            18 => self.times(|of| of.length().and_then(|_| of.string())),
            7 => {
                self.length()?;
                self.module()
            }
            15 | 19 | 21 => self.stream(kind),
            // Hashes whose fields have a time to live.
            24 => {
                self.skip(8)?;
                self.times(|of| of.length().and_then(|_| of.string()).and_then(|()| of.string()))
            }
            25 => self.skip(8).and_then(|()| self.string()),
            _ => None,
        }
    }

    /// Skips what a module wrote: each item begins with its type.
    fn module(&mut self) -> Option<()> {
        loop {
            match self.length()? {
                0 => return Some(()),
                1 | 2 => {
                    self.length()?;
                }
                3 => self.skip(4)?,
                4 => self.skip(8)?,
                5 => self.string()?,
                _ => return None,
            }
        }
    }

    fn stream(&mut self, kind: u8) -> Option<()> {
        let (has_bounds, has_active_time) = (kind >= 19, kind >= 21);
        self.times(|of| of.string().and_then(|()| of.string()))?;
        // Its length and its last id; since Redis 7 its first id, the last deleted one, and how many were added.
        for _ in 0..if has_bounds { 8 } else { 3 } {
            self.length()?;
        }
        self.times(|group| {
            group.string()?;
            for _ in 0..if has_bounds { 3 } else { 2 } {
                group.length()?;
            }
            group.times(|pending| {
                pending.skip(16 + 8)?;
                pending.length().map(|_| ())
            })?;
            group.times(|consumer| {
                consumer.string()?;
                consumer.skip(if has_active_time { 16 } else { 8 })?;
                consumer.times(|pending| pending.skip(16))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_by_database_and_by_whether_they_expire() {
        let mut dump = b"REDIS0011".to_vec();
        dump.extend(b"\xfa\x03ver\x057.0.0\xf5\x01f\xfe\x00\xfb\x02\x01");
        dump.extend(b"\x00\x01a\x02hi");
        dump.extend(b"\xfc\0\0\0\0\0\0\0\0\xf8\x05\x00\x01b\xc0\x07");
        // A hash in a listpack with times to live, a compressed string, a list of 300 in 14 bits.
        dump.extend(b"\xfe\x4b\xff\xfb\x03\x00");
        dump.extend(b"\x19\x01h\0\0\0\0\0\0\0\0\x02xx");
        dump.extend(b"\x00\x01c\xc3\x02\x40\x50ab");
        dump.extend(b"\x01\x01l\x41\x2c");
        dump.extend(b"\x01z".repeat(300));
        dump.extend(b"\xfe\x10\xff");
        let counted = count_keys(&dump[..]).unwrap();
        let database = |number, keys, expiring| RedisDatabase { number, keys, expiring };
        assert_eq!(counted.databases, [database(0, 2, 1), database(0xbff, 3, 0)]);
        assert_eq!(counted.functions, 1);
        assert_eq!(count_keys(&dump[..dump.len() - 1]), None);
    }

    #[test]
    fn what_is_not_known_is_not_counted() {
        assert_eq!(count_keys(&b"REDIS0099\xfe\x00\x63\x01a\x01a\xff"[..]), None);
        assert_eq!(count_keys(&b"REDIS0010\xff"[..]), Some(RdbContents::default()));
    }
}
