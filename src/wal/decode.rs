use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Archive, SegmentTags};
use crate::model::{Digest, Encoding, Hasher, Lsn, Segment, Sha256Hex, SystemIdentifier, WalName};
use crate::pipeline::{Identities, OpenError, unseal};
use crate::postgres::{HeaderError, SegmentHeader};
use crate::store::{StoreError, StoreErrorKind};

/// Why an object of a repository is not usable.
#[derive(Debug, Error)]
pub enum Unusable {
    #[error(transparent)]
    Store(StoreError),
    #[error("`{key}` is damaged: it has SHA-256 {found}, and {expected} was stored")]
    Altered { key: String, found: Sha256Hex, expected: Sha256Hex },
    #[error("`{key}` is damaged: it has {found} bytes, and {expected} were stored")]
    Resized { key: String, found: u64, expected: u64 },
    #[error("failed to open `{key}`")]
    Open { key: String, source: OpenError },
    #[error("failed to read `{key}`")]
    Read { key: String, source: io::Error },
    #[error("the header of `{key}` does not match its name")]
    Header { key: String, source: HeaderError },
    #[error("`{key}` has system identifier {found}")]
    Cluster { key: String, found: SystemIdentifier },
    #[error("`{key}` holds {found} bytes, and a segment of its cluster has {expected}")]
    Size { key: String, found: u64, expected: u64 },
    #[error("WAL in `{key}` is damaged at {at}: recovery ends there")]
    Damaged { key: String, at: Lsn },
    /// Not caused by the repository.
    #[error("failed to write `{path}`")]
    Write { path: PathBuf, source: io::Error },
}

impl Unusable {
    /// Returns whether the object does not exist.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind == StoreErrorKind::NotFound)
    }

    /// Returns whether the object is damaged, as opposed to unavailable.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Store(error) => error.kind == StoreErrorKind::Corrupt,
            Self::Open { source: OpenError::Header(source) | OpenError::Read(source), .. }
            | Self::Read { source, .. } => {
                // The store may fail in the middle of an object that is read in ranges.
                let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>());
                inner.is_none_or(|inner| inner.kind == StoreErrorKind::Corrupt)
            }
            Self::Open { .. } | Self::Write { .. } => false,
            _ => true,
        }
    }
}

/// A file received from a repository, before it is decoded.
pub(super) struct Arrived<'a, R> {
    pub(super) archive: &'a Archive,
    pub(super) name: WalName,
    pub(super) key: String,
    pub(super) stored: R,
    /// The digest of `stored`, where it is in memory and known.
    pub(super) found: Option<Sha256Hex>,
    pub(super) tags: Option<SegmentTags>,
}

/// A file that was verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct VerifiedSegment {
    pub(super) plain: Digest,
    /// The header of a segment.
    pub(super) header: Option<SegmentHeader>,
    /// Where it was damaged before it was archived.
    pub(super) damaged: Option<Lsn>,
}

impl<R: Read + Send> Arrived<'_, R> {
    /// Decrypts the file, decompresses and verifies it, and writes it to `path`, durably. On an error the
    /// file there must be discarded.
    pub(super) fn unpack(self, identities: &Identities, path: &Path) -> Result<VerifiedSegment, Unusable> {
        let write = |source| Unusable::Write { path: path.to_owned(), source };
        let mut file = File::create(path).map_err(write)?;
        let proven = self.prove(identities, &mut file, path)?;
        file.sync_all().map_err(write)?;
        Ok(proven)
    }

    /// Decrypts the file, decompresses and verifies it. `path` names `sink` in errors.
    pub(super) fn prove(
        self,
        identities: &Identities,
        sink: &mut impl Write,
        path: &Path,
    ) -> Result<VerifiedSegment, Unusable> {
        let key = self.key;
        let expected = self.tags.as_ref().and_then(|tags| tags.stored);
        if let (Some(found), Some(expected)) = (self.found, expected)
            && found != expected
        {
            return Err(Unusable::Altered { key, found, expected });
        }
        let encoding: &[Encoding] =
            if key.ends_with(".age") { &[Encoding::Zstd, Encoding::Age] } else { &[Encoding::Zstd] };
        let expected = self.tags.as_ref().map(|tags| tags.plain);
        let damaged = self.tags.as_ref().and_then(|tags| tags.damaged);
        let mut plain = match unseal(self.stored, encoding, identities, expected) {
            Ok(plain) => plain,
            Err(source) => return Err(Unusable::Open { key, source }),
        };
        let mut hasher = Hasher::default();
        let mut header = None;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let filled = match fill(&mut plain, &mut buffer) {
                Ok(0) => break,
                Ok(filled) => filled,
                Err(source) => return Err(Unusable::Read { key, source }),
            };
            let bytes = &buffer[..filled];
            if let WalName::Segment(segment) = self.name
                && hasher.size() == 0
            {
                header = Some(check(bytes, segment, self.archive, &key)?);
            }
            hasher.update(bytes);
            sink.write_all(bytes).map_err(|source| Unusable::Write { path: path.to_owned(), source })?;
        }
        let plain = hasher.digest();
        // Without metadata only the header determines a segment's length.
        let size = header.map_or(plain.size, |header: SegmentHeader| header.segment_size.bytes());
        if plain.size != size {
            return Err(Unusable::Size { key, found: plain.size, expected: size });
        }
        Ok(VerifiedSegment { plain, header, damaged })
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

pub(super) fn check(
    bytes: &[u8],
    segment: Segment,
    archive: &Archive,
    key: &str,
) -> Result<SegmentHeader, Unusable> {
    let refused = |source| Unusable::Header { key: key.to_owned(), source };
    let header = SegmentHeader::parse(bytes).map_err(refused)?;
    header.check(segment).map_err(refused)?;
    if header.system_identifier != archive.cluster {
        return Err(Unusable::Cluster { key: key.to_owned(), found: header.system_identifier });
    }
    Ok(header)
}

/// Renames a file durably. Both paths are on one file system.
pub(super) fn place(from: &Path, to: &Path) -> Result<(), Unusable> {
    let failed = |source| Unusable::Write { path: to.to_owned(), source };
    std::fs::rename(from, to).map_err(failed)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
