const BLOCK: usize = 512;
/// The length of a segment's name.
const SEGMENT: usize = 24;

/// Removes the WAL from a tar archive as it passes by: it is archived separately.
#[derive(Debug, Default)]
pub(super) struct WalFilter {
    /// The beginning of a header.
    header: Vec<u8>,
    /// Remaining bytes of the current member, including the padding of its last block.
    left: u64,
    is_wal: bool,
}

impl WalFilter {
    /// Returns the next bytes of the archive without WAL.
    pub(super) fn keep(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(bytes.len() + BLOCK);
        while !bytes.is_empty() {
            let count;
            if self.left > 0 {
                count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                if !self.is_wal {
                    kept.extend_from_slice(&bytes[..count]);
                }
                self.left -= count as u64;
            } else {
                count = bytes.len().min(BLOCK - self.header.len());
                self.header.extend_from_slice(&bytes[..count]);
                if self.header.len() == BLOCK {
                    self.begin_member();
                    if !self.is_wal {
                        kept.extend_from_slice(&self.header);
                    }
                    self.header.clear();
                }
            }
            bytes = &bytes[count..];
        }
        kept
    }

    /// Returns the rest of a truncated archive.
    pub(super) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.header)
    }

    /// Begins a member. Without a valid header the following members are unknown, and everything is passed
    /// on.
    fn begin_member(&mut self) {
        let header = tar::Header::from_byte_slice(&self.header);
        let size = header.entry_size().unwrap_or_default();
        self.left = size.next_multiple_of(BLOCK as u64);
        self.is_wal = header.entry_type().is_file() && is_segment(&header.path_bytes());
    }
}

fn is_segment(path: &[u8]) -> bool {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    let name = path.strip_prefix(b"pg_wal/").unwrap_or_default();
    name.len() == SEGMENT && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn archive(members: &[(&str, usize)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, size) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(*size as u64);
            header.set_mode(0o600);
            header.set_path(path).unwrap();
            header.set_cksum();
            builder.append(&header, &vec![b'x'; *size][..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn members(archive: &[u8]) -> Vec<(String, usize)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes.len())
        });
        entries.collect()
    }

    proptest! {
        #[test]
        fn segments_go_and_everything_else_stays_however_it_is_read(chunk in 1_usize..3000, odd in 0_usize..2000) {
            let kept = [
                ("backup_label", 200),
                ("base/1/1259", odd),
                ("pg_wal/00000002.history", 40),
                ("pg_wal/archive_status/000000010000000000000003.done", 0),
                ("base/1/000000010000000000000003", 512),
                ("backup_manifest", 700),
            ];
            let mut all = kept.to_vec();
            all.insert(2, ("pg_wal/000000010000000000000003", 4096));
            all.insert(4, ("pg_wal/00000001000000000000000A", odd));
            let bytes = archive(&all);
            let mut filter = WalFilter::default();
            let mut found: Vec<u8> = bytes.chunks(chunk).flat_map(|some| filter.keep(some)).collect();
            found.extend(filter.end());
            let kept: Vec<_> = kept.iter().map(|(path, size)| ((*path).to_owned(), *size)).collect();
            prop_assert_eq!(members(&found), kept);
        }
    }

    #[test]
    fn an_archive_that_is_cut_stays_cut_there() {
        let bytes = archive(&[("base/1/1259", 10)]);
        let mut filter = WalFilter::default();
        let mut found = filter.keep(&bytes[..300]);
        found.extend(filter.end());
        assert_eq!(found, &bytes[..300]);
    }
}
