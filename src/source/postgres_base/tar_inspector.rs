use thiserror::Error;

use super::completeness::Completeness;

const BLOCK: usize = 512;
/// The bytes that are kept of the end of `backup_manifest`: the part after the list of files.
const TAIL: usize = 64 << 10;

/// Why a stream is not a complete copy.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum TarError {
    #[error("what was read is not a tar archive, {at} bytes after its begin")]
    NotTar { at: u64 },
    #[error("the stream was cut after {files} files: it has no `backup_manifest`")]
    Cut { files: u64 },
    #[error("the copy has no `{0}`")]
    Lacks(&'static str),
}

/// Inspects the headers of a tar archive as it passes by.
#[derive(Debug)]
pub(super) struct TarWatch {
    header: Vec<u8>,
    place: TarPosition,
    /// Remaining bytes of the current member, without the padding of its last block.
    left: u64,
    padding: u64,
    at: u64,
    files: u64,
    label: bool,
    control: bool,
    manifest: Option<Vec<u8>>,
    presence: Completeness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TarPosition {
    Header,
    /// In the bytes of a member; whether it is the manifest.
    Member {
        manifest: bool,
    },
    /// After the block of zeros that ends an archive.
    End,
    Lost,
}

impl TarWatch {
    pub(super) fn new(presence: Completeness) -> Self {
        Self {
            header: Vec::with_capacity(BLOCK),
            place: TarPosition::Header,
            left: 0,
            padding: 0,
            at: 0,
            files: 0,
            label: false,
            control: false,
            manifest: None,
            presence,
        }
    }

    /// Processes the next bytes of the archive. `listed` receives those of `backup_manifest`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut listed: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let taken = match self.place {
                TarPosition::End | TarPosition::Lost => bytes.len(),
                TarPosition::Header => self.take_header(bytes),
                TarPosition::Member { manifest } => self.take_member(bytes, manifest, &mut listed),
            };
            bytes = &bytes[taken..];
            self.at += taken as u64;
        }
    }

    fn take_header(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(BLOCK - self.header.len());
        self.header.extend_from_slice(&bytes[..count]);
        if self.header.len() == BLOCK {
            self.place = self.read_header();
            self.header.clear();
        }
        count
    }

    fn read_header(&mut self) -> TarPosition {
        let header = tar::Header::from_byte_slice(&self.header);
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return TarPosition::End;
        }
        let sum: u32 = self
            .header
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        let (Ok(size), true) = (header.entry_size(), header.cksum().is_ok_and(|own| own == sum)) else {
            return TarPosition::Lost;
        };
        if header.entry_type().is_file() {
            self.files += 1;
        }
        let name = header.path_bytes();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        self.presence.saw(&String::from_utf8_lossy(name));
        self.label |= name == b"backup_label";
        self.control |= name == b"global/pg_control";
        let manifest = name == b"backup_manifest";
        if manifest {
            self.manifest = Some(Vec::new());
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        if size == 0 { TarPosition::Header } else { TarPosition::Member { manifest } }
    }

    fn take_member(&mut self, bytes: &[u8], manifest: bool, listed: &mut impl FnMut(&[u8])) -> usize {
        let fits = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let count = if self.left > 0 {
            let count = fits(self.left);
            if let Some(tail) = self.manifest.as_mut().filter(|_| manifest) {
                listed(&bytes[..count]);
                tail.extend_from_slice(&bytes[..count]);
                if tail.len() > 2 * TAIL {
                    tail.drain(..tail.len() - TAIL);
                }
            }
            self.left -= count as u64;
            count
        } else {
            let count = fits(self.padding);
            self.padding -= count as u64;
            count
        };
        if self.left == 0 && self.padding == 0 {
            self.place = TarPosition::Header;
        }
        count
    }

    /// Returns whether the last of the cluster's files was seen: after it, the server ends the copy.
    pub(super) fn has_control(&self) -> bool {
        self.control
    }

    /// Returns the end of `backup_manifest` and the completeness, once the archive has been read to its end.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Completeness), TarError> {
        match (self.place, self.manifest) {
            (TarPosition::Lost, _) => Err(TarError::NotTar { at: self.at }),
            (_, None) => Err(TarError::Cut { files: self.files }),
            (TarPosition::Header | TarPosition::Member { .. }, Some(_)) => {
                Err(TarError::Cut { files: self.files })
            }
            (TarPosition::End, Some(_)) if !self.label => Err(TarError::Lacks("backup_label")),
            (TarPosition::End, Some(_)) if !self.control => Err(TarError::Lacks("global/pg_control")),
            (TarPosition::End, Some(tail)) => Ok((tail, self.presence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, usize)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, size) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(*size as u64);
            let bytes: Vec<u8> = (0..*size).map(|n| (n % 251) as u8).collect();
            builder.append_data(&mut header, name, &bytes[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn watched(bytes: &[u8], step: usize) -> Result<Vec<u8>, TarError> {
        let mut watch = TarWatch::new(Completeness::wanting(["base/1/empty".to_owned()]));
        bytes.chunks(step).for_each(|chunk| watch.feed(chunk, |_| {}));
        let (tail, presence) = watch.finish()?;
        assert!(presence.has("base/1/empty"));
        Ok(tail)
    }

    const WHOLE: [(&str, usize); 5] = [
        ("backup_label", 200),
        ("base/1/1259", 8192),
        ("base/1/empty", 0),
        ("global/pg_control", 8192),
        ("backup_manifest", 300_000),
    ];

    #[test]
    fn the_end_of_the_manifest_is_kept_however_the_stream_is_cut_into_pieces() {
        let bytes = archive(&WHOLE);
        for step in [1, 511, 512, 4096, 100_001, bytes.len()] {
            let tail = watched(&bytes, step).unwrap();
            assert!((TAIL..=2 * TAIL).contains(&tail.len()), "{}", tail.len());
            assert_eq!(tail.last(), Some(&((299_999 % 251) as u8)));
        }
    }

    #[test]
    fn the_list_of_files_is_given_whole() {
        let bytes = archive(&WHOLE);
        for step in [511, 4096, bytes.len()] {
            let (mut watch, mut list) = (TarWatch::new(Completeness::default()), Vec::new());
            bytes.chunks(step).for_each(|chunk| watch.feed(chunk, |some| list.extend_from_slice(some)));
            assert!(
                list.len() == 300_000 && list.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8)
            );
        }
    }

    #[test]
    fn a_stream_that_ends_early_is_not_whole() {
        let bytes = archive(&WHOLE);
        for end in [0, 512, 9000, bytes.len() - 200_000, bytes.len() - 1024] {
            assert!(matches!(watched(&bytes[..end], 4096), Err(TarError::Cut { .. })), "{end}");
        }
        assert_eq!(watched(&archive(&WHOLE[..4]), 4096), Err(TarError::Cut { files: 4 }));
        let without = [WHOLE[0], WHOLE[4]];
        assert_eq!(watched(&archive(&without), 4096), Err(TarError::Lacks("global/pg_control")));
        assert!(matches!(watched(&[7; 5000], 4096), Err(TarError::NotTar { .. })));
    }
}
