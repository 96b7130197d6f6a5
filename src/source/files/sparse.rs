//! The data of a file that has holes: they are found by asking the file system, and never read.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::pax::BLOCK;

/// Stretches of data beyond which holes are stored as zeros, the smallest first: the map of them is in memory.
const MOST: usize = 32 << 10;

/// The stretches of data of a file: offset and length of each, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extents(pub(super) Vec<(u64, u64)>);

impl Extents {
    /// Returns the data of the first `size` bytes; `None` where there is no hole, or the file system does not say.
    pub(super) fn of(file: BorrowedFd<'_>, size: u64) -> io::Result<Option<Self>> {
        let mut extents: Vec<(u64, u64)> = Vec::new();
        let (mut at, mut gap) = (0, BLOCK);
        while at < size {
            let from = match seek(file, SeekFrom::Data(at)) {
                Ok(from) => from,
                // The rest is a hole.
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let to = match seek(file, SeekFrom::Hole(from)) {
                Ok(to) => to.min(size),
                Err(Errno::NXIO) => size,
                Err(error) => return Err(error.into()),
            };
            if from >= size || to <= from {
                break;
            }
            match extents.last_mut() {
                Some((begin, length)) if from - (*begin + *length) < gap => *length = to - *begin,
                _ => extents.push((from, to - from)),
            }
            while extents.len() > MOST {
                gap *= 2;
                extents = joined(&extents, gap);
            }
            at = to;
        }
        let has_holes = extents != [(0, size)] && size > 0;
        Ok(has_holes.then_some(Self(extents)))
    }

    /// Returns how many bytes of data there are.
    pub(super) fn data(&self) -> u64 {
        self.0.iter().map(|(_, length)| length).sum()
    }

    /// Returns the map that stands before the data: in version 1.0 of GNU tar's format, numbers in lines, padded to blocks.
    /// A last stretch of no bytes says where the file ends.
    pub(super) fn map(&self, size: u64) -> Vec<u8> {
        let ends = self.0.last().is_some_and(|(from, length)| from + length == size);
        let end = (!ends).then_some((size, 0));
        let mut map = format!("{}\n", self.0.len() + usize::from(!ends));
        for (from, length) in self.0.iter().copied().chain(end) {
            map.push_str(&format!("{from}\n{length}\n"));
        }
        let mut map = map.into_bytes();
        super::pax::pad(&mut map);
        map
    }
}

/// Joins stretches with fewer than `gap` bytes between them.
fn joined(extents: &[(u64, u64)], gap: u64) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = Vec::new();
    for (from, length) in extents {
        match all.last_mut() {
            Some((begin, before)) if from - (*begin + *before) < gap => *before = from + length - *begin,
            _ => all.push((*from, *length)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn holes_are_found_and_the_map_says_where_the_data_is() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(20 << 30).unwrap();
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        file.write_all_at(&[1; 4096], 10 << 30).unwrap();
        let size = 20 << 30;
        let extents = Extents::of(file.as_fd(), size).unwrap().unwrap();
        assert!(extents.data() < 1 << 20 && extents.data() >= 8192, "{extents:?}");
        let map = extents.map(size);
        assert_eq!(map.len() % 512, 0);
        let text = String::from_utf8(map).unwrap();
        let numbers: Vec<u64> =
            text.trim_end_matches('\0').lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers.len() as u64, 1 + numbers[0] * 2);
        assert_eq!(numbers[numbers.len() - 2] + numbers[numbers.len() - 1], size);
        let dense = tempfile::tempfile().unwrap();
        dense.write_all_at(&[1; 8192], 0).unwrap();
        assert_eq!(Extents::of(dense.as_fd(), 8192).unwrap(), None);
        assert_eq!(joined(&[(0, 5), (8, 2), (100, 1)], 10), [(0, 10), (100, 1)]);
    }
}
