use std::io::{self, Read, Write};
use std::path::Path;

use super::archive::SUFFIXES;
use super::decode::{Arrived, Unusable};
use super::listing::strays;
use super::{Archive, SegmentTags, multipart};
use crate::model::{Lsn, Sha256Hex, WalName};
use crate::pipeline::{Identities, OpenError};
use crate::postgres::{CommitScan, SegmentHeader};
use crate::repository::Repository;
use crate::store::{StoreError, StoreErrorKind};

/// Stored bytes that are read with one request.
const IN_MEMORY: u64 = 40 << 20;

/// How far a stored file was compared with what was archived, without a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckedSegment {
    /// Its plain bytes.
    Plain,
    /// Its stored bytes only.
    Stored,
    /// It was readable, and has no metadata to compare it with.
    Nothing,
}

/// Reads an object of a repository again and verifies it.
///
/// `identities`: without any, or where none of them opens it, its stored bytes are compared.
///
/// # Errors
/// [`Unusable::is_damage`] distinguishes a damaged object from an unreadable one.
pub async fn check_segment(
    repository: &Repository,
    archive: &Archive,
    name: WalName,
    identities: &Identities,
) -> Result<CheckedSegment, Unusable> {
    let store = &repository.store;
    for suffix in SUFFIXES {
        let key = archive.key(name, suffix);
        let (archive, identities) = (archive.clone(), identities.clone());
        let checking = match store.get(&key, IN_MEMORY).await {
            Ok((bytes, info)) => {
                let strays = strays(&**store, &key, &info).await.map_err(Unusable::Store)?;
                tokio::task::spawn_blocking(move || {
                    let found = Sha256Hex::digest(&bytes);
                    let tags = match SegmentTags::from_metadata(&info.metadata) {
                        Some(tags) => Some(tags),
                        None => as_stored(&key, info.size, found, strays)?,
                    };
                    let stored = tags.as_ref().and_then(|tags| tags.stored);
                    if let Some(expected) = stored.filter(|expected| *expected != found) {
                        return Err(Unusable::Altered { key, found, expected });
                    }
                    let arrived =
                        Arrived { archive: &archive, name, key, stored: &bytes[..], found: None, tags };
                    let checked =
                        if stored.is_some() { CheckedSegment::Stored } else { CheckedSegment::Nothing };
                    prove(arrived, &identities, checked)
                })
            }
            Err(error) if error.kind == StoreErrorKind::TooLarge => {
                let (stored, tags) = multipart::reader(store, &key).await.map_err(Unusable::Store)?;
                tokio::task::spawn_blocking(move || {
                    let arrived = Arrived { archive: &archive, name, key, stored, found: None, tags };
                    prove(arrived, &identities, CheckedSegment::Nothing)
                })
            }
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            Err(error) => return Err(Unusable::Store(error)),
        };
        return checking.await.unwrap_or_else(|error| Err(unwritten(io::Error::other(error))));
    }
    let kind = StoreErrorKind::NotFound;
    let (key, location) = (archive.key(name, ""), store.location());
    Err(Unusable::Store(StoreError { operation: "read", key, location, kind, detail: None }))
}

/// Returns the metadata of the write whose bytes a file still has, where only its mtime was changed. `None`
/// where there never was any metadata.
fn as_stored(
    key: &str,
    size: u64,
    found: Sha256Hex,
    strays: Vec<(u64, SegmentTags)>,
) -> Result<Option<SegmentTags>, Unusable> {
    let is_of_it = |tags: &SegmentTags| tags.stored == Some(found);
    let Some((stored_size, stray)) = strays.iter().find(|(_, tags)| is_of_it(tags)).or(strays.first()) else {
        return Ok(None);
    };
    match stray.stored {
        _ if *stored_size != size => {
            Err(Unusable::Resized { key: key.to_owned(), found: size, expected: *stored_size })
        }
        Some(expected) if expected != found => {
            Err(Unusable::Altered { key: key.to_owned(), found, expected })
        }
        _ => Ok(Some(stray.clone())),
    }
}

/// Verifies the plain bytes, where they can be decoded; otherwise returns what was `checked` before.
fn prove<R: Read + Send>(
    arrived: Arrived<'_, R>,
    identities: &Identities,
    checked: CheckedSegment,
) -> Result<CheckedSegment, Unusable> {
    let key = arrived.key.clone();
    let is_segment = matches!(arrived.name, WalName::Segment(_));
    let damaged = arrived.tags.as_ref().and_then(|tags| tags.damaged);
    let mut scan = WalScan::default();
    let checked = compare(arrived, identities, checked, &mut scan)?;
    match scan.damaged().or(damaged).filter(|_| is_segment) {
        Some(at) => Err(Unusable::Damaged { key, at }),
        None => Ok(checked),
    }
}

/// Scans the WAL of a segment as its bytes pass.
#[derive(Default)]
struct WalScan(Option<CommitScan>);

impl WalScan {
    fn damaged(&self) -> Option<Lsn> {
        self.0.as_ref().and_then(CommitScan::damaged)
    }
}

impl Write for WalScan {
    /// Takes complete pages, as [`Arrived::prove`] writes them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.is_none() {
            self.0 = SegmentHeader::parse(bytes).ok().map(|header| CommitScan::new(&header));
        }
        if let Some(scan) = &mut self.0 {
            scan.take(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compare<R: Read + Send>(
    mut arrived: Arrived<'_, R>,
    identities: &Identities,
    checked: CheckedSegment,
    sink: &mut impl Write,
) -> Result<CheckedSegment, Unusable> {
    let is_sealed = arrived.key.ends_with(".age");
    if is_sealed && identities.is_empty() {
        let key = arrived.key;
        return match io::copy(&mut arrived.stored, &mut io::sink()) {
            Ok(_) => Ok(checked),
            Err(source) => Err(Unusable::Read { key, source }),
        };
    }
    match arrived.prove(identities, sink, Path::new("")) {
        Ok(_) => Ok(CheckedSegment::Plain),
        Err(Unusable::Open { source: OpenError::NoIdentity | OpenError::WrongIdentity, .. }) => Ok(checked),
        Err(error) => Err(error),
    }
}

fn unwritten(source: io::Error) -> Unusable {
    Unusable::Write { path: "a worker's thread".into(), source }
}
