//! Detects two names of one location: a link, a bind mount, an alias of a server.

use bytes::Bytes;

use super::{Repository, RepositoryMarker, layout};
use crate::model::RepositoryName;
use crate::store::{PutOptions, StoreError, delete_object};

/// How two stores with the same marker are distinguished from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocationProbe {
    /// By the write IDs of their markers.
    Look,
    /// By writing to one and reading from the other: a copied bucket has a copy of the marker, too.
    Write,
}

const LIMIT: u64 = 1 << 10;

/// Returns the store among `others` that is the same location as this one.
pub(crate) async fn twin(
    repository: &Repository,
    marker: &RepositoryMarker,
    others: &[(Repository, RepositoryMarker)],
    proof: LocationProbe,
) -> Option<RepositoryName> {
    for (other, _) in others.iter().filter(|(_, other)| other == marker) {
        // If the markers name the same store ID, that alone is suspicious.
        let looks_same = is_one_write(repository, other).await;
        let is_suspicious = looks_same || marker.store_id.is_some();
        let is_same = match proof {
            LocationProbe::Look => looks_same,
            LocationProbe::Write if !is_suspicious => false,
            LocationProbe::Write => appears_in(other, repository).await.unwrap_or(looks_same),
        };
        if is_same {
            return Some(other.name.clone());
        }
    }
    None
}

async fn is_one_write(one: &Repository, other: &Repository) -> bool {
    let (Some(one), Some(other)) = (one.store.admin(), other.store.admin()) else { return false };
    let (one, other) = tokio::join!(one.write_id(layout::MARKER), other.write_id(layout::MARKER));
    matches!((one, other), (Ok(Some(one)), Ok(Some(other))) if one == other)
}

async fn appears_in(one: &Repository, other: &Repository) -> Result<bool, StoreError> {
    let key = layout::same_place_probe();
    let word = format!("{:08x}{:08x}", crate::platform::seed(), crate::platform::seed());
    one.store.put(key, Bytes::from(word.clone()), &PutOptions::default()).await?;
    let found = other.store.get(key, LIMIT).await;
    // A role that may not delete leaves this one object and overwrites it next time.
    let _left = delete_object(&*one.store, key).await;
    Ok(found.is_ok_and(|(bytes, _)| bytes == word.as_bytes()))
}
