use std::io::{self, Read};
use std::path::Path;

use super::archive::SUFFIXES;
use super::unpack::{Arrived, Unusable};
use super::{Archive, Tags, large};
use crate::model::{Sha256Hex, WalName};
use crate::pipeline::{Identities, OpenError};
use crate::repository::{Repository, StoreError, StoreErrorKind};

/// Stored bytes that are read with one request.
const IN_MEMORY: u64 = 40 << 20;

/// How far a stored file was compared with what was archived, and agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Its plain bytes.
    Plain,
    /// Its stored bytes only.
    Stored,
    /// It could be read, and nothing is kept with it to compare it with.
    Nothing,
}

/// Reads what a repository has under a name again.
///
/// `identities`: without any, or where none of them opens it, its stored bytes are compared.
///
/// # Errors
/// [`Unusable::is_damage`] tells what is bad from what could not be read.
pub async fn check(
    repository: &Repository,
    archive: &Archive,
    name: WalName,
    identities: &Identities,
) -> Result<Checked, Unusable> {
    let store = &repository.store;
    for suffix in SUFFIXES {
        let key = archive.key(name, suffix);
        let (archive, identities) = (archive.clone(), identities.clone());
        let checking = match store.get(&key, IN_MEMORY).await {
            Ok((bytes, info)) => tokio::task::spawn_blocking(move || {
                let found = Sha256Hex::of(&bytes);
                let tags = Tags::of(&info.metadata);
                let stored = tags.as_ref().and_then(|tags| tags.stored);
                if let Some(expected) = stored.filter(|expected| *expected != found) {
                    return Err(Unusable::Altered { key, found, expected });
                }
                let arrived = Arrived { archive: &archive, name, key, stored: &bytes[..], found: None, tags };
                let checked = if stored.is_some() { Checked::Stored } else { Checked::Nothing };
                prove(arrived, &identities, checked)
            }),
            Err(error) if error.kind == StoreErrorKind::TooLarge => {
                let (stored, tags) = large::reader(store, &key).await.map_err(Unusable::Store)?;
                tokio::task::spawn_blocking(move || {
                    let arrived = Arrived { archive: &archive, name, key, stored, found: None, tags };
                    prove(arrived, &identities, Checked::Nothing)
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

/// The plain bytes, where they can be had; otherwise what was `checked` before.
fn prove<R: Read + Send>(
    mut arrived: Arrived<'_, R>,
    identities: &Identities,
    checked: Checked,
) -> Result<Checked, Unusable> {
    let is_sealed = arrived.key.ends_with(".age");
    if is_sealed && identities.is_empty() {
        let key = arrived.key;
        return match io::copy(&mut arrived.stored, &mut io::sink()) {
            Ok(_) => Ok(checked),
            Err(source) => Err(Unusable::Read { key, source }),
        };
    }
    match arrived.prove(identities, &mut io::sink(), Path::new("")) {
        Ok(_) => Ok(Checked::Plain),
        Err(Unusable::Open { source: OpenError::NoIdentity | OpenError::WrongIdentity, .. }) => Ok(checked),
        Err(error) => Err(error),
    }
}

fn unwritten(source: io::Error) -> Unusable {
    Unusable::Write { path: "a worker's thread".into(), source }
}
