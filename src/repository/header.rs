use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::layout;
use super::manifest::{FormatError, FormatVersion, ManifestError};
use super::opened::{Repository, Unavailable};
use crate::model::{RepositoryName, SystemName};
use crate::store::{PutOptions, Store, StoreError, StoreErrorKind};
use crate::text::format_time;

const MARKER_LIMIT: u64 = 64 * 1024;

/// `drctl-repository.json`: the owner of the repository in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryMarker {
    pub format: String,
    /// 32 hexadecimal digits, shared by the primary and its copies.
    pub repository_id: String,
    pub system: SystemName,
    pub created: DateTime<Utc>,
    /// 32 hexadecimal digits of this store alone. A store with another's is the same location, or a copy of
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
}

#[derive(Debug, Error)]
pub enum MarkerError {
    #[error("failed to read the repository's marker")]
    Read(#[source] StoreError),
    #[error("failed to write the repository's marker")]
    Write(#[source] StoreError),
    #[error("failed to write the instructions for a manual restore")]
    ByHand(#[source] StoreError),
    #[error("`{}` in {location} is no marker of a repository", layout::MARKER)]
    Json { location: String, source: serde_json::Error },
    #[error("failed to accept the repository in {location}")]
    Format { location: String, source: FormatError },
    #[error(
        "failed to accept the repository in {location}: it belongs to system `{found}`, not `{expected}`"
    )]
    OtherSystem { location: String, found: SystemName, expected: SystemName },
    #[error("failed to accept the repository in {location}: its id is `{found}`, not `{expected}`")]
    OtherRepository { location: String, found: String, expected: String },
    #[error(
        "{location} has no `{}`, and was repository `{name}` {}", layout::MARKER,
        match .seen { Some(seen) => format!("on {}", format_time(*seen)), None => "before".to_owned() }
    )]
    Emptied { location: String, name: RepositoryName, seen: Option<DateTime<Utc>> },
    #[error(
        "{location} has no `{}`, and holds objects of system `{system}`: its marker was removed",
        layout::MARKER
    )]
    MarkerRemoved { location: String, system: SystemName },
    #[error("the manifest of no backup in {location} can be read, so its repository id is unknown")]
    NoReadableBackup { location: String, source: ManifestError },
    #[error(
        "{location} is the same place as repository `{other}`: what is written to one appears in the other"
    )]
    SamePlace { location: String, other: RepositoryName },
    #[error(
        "failed to begin a repository: the primary must be reachable when its copies are used for the first \
         time{}",
        Unavailable::reasons(.0)
    )]
    PrimaryNeeded(Vec<Unavailable>),
    #[error("no repository can be used{}", Unavailable::reasons(.0))]
    NoneReachable(Vec<Unavailable>),
}

/// A repository and its marker, if it has one.
pub(super) type HeaderLookup = (Repository, Result<Option<RepositoryMarker>, MarkerError>);

impl MarkerError {
    /// Returns whether the store failed, or returned something that is not a marker at all (such as a proxy's
    /// error page), as opposed to a rejected marker.
    pub fn is_store_fault(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Write(_) | Self::ByHand(_) | Self::Json { .. })
    }
}

/// Returns a unique identifier.
fn unique() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

impl RepositoryMarker {
    pub fn new(system: &SystemName, created: DateTime<Utc>) -> Self {
        Self {
            format: FormatVersion::CURRENT.to_string(),
            repository_id: unique(),
            system: system.clone(),
            created,
            store_id: Some(unique()),
        }
    }

    /// Returns the marker of the same repository in another store.
    pub(super) fn in_another_store(&self) -> Self {
        Self { store_id: Some(unique()), ..self.clone() }
    }

    /// Reads the marker; `None` where the store has none: it was never used, or is not a repository.
    pub async fn read(store: &dyn Store) -> Result<Option<Self>, MarkerError> {
        #[derive(Deserialize)]
        struct Header {
            format: String,
        }
        let bytes = match store.get(layout::MARKER, MARKER_LIMIT).await {
            Ok((bytes, _)) => bytes,
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MarkerError::Read(error)),
        };
        let json = |source| MarkerError::Json { location: store.location(), source };
        let header: Header = serde_json::from_slice(&bytes).map_err(json)?;
        header
            .format
            .parse::<FormatVersion>()
            .and_then(FormatVersion::readable)
            .map_err(|source| MarkerError::Format { location: store.location(), source })?;
        serde_json::from_slice(&bytes).map(Some).map_err(json)
    }

    /// Writes it where there is none, and returns the existing one: another host may have been first.
    pub async fn write(&self, store: &dyn Store) -> Result<Self, MarkerError> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|source| MarkerError::Json { location: store.location(), source })?;
        bytes.push(b'\n');
        match store.put(layout::MARKER, Bytes::from(bytes), &PutOptions::absent()).await {
            // A store that ignores the condition has let two hosts write: the last write wins.
            Ok(_) => Ok(Self::read(store).await?.unwrap_or_else(|| self.clone())),
            Err(error) if error.kind == StoreErrorKind::Exists => {
                Self::read(store).await?.ok_or(MarkerError::Write(error))
            }
            Err(error) => Err(MarkerError::Write(error)),
        }
    }

    /// Rejects the repository of another system, or another one of this system.
    pub fn check(
        &self,
        store: &dyn Store,
        system: &SystemName,
        repository_id: Option<&str>,
    ) -> Result<(), MarkerError> {
        let location = || store.location();
        if self.system != *system {
            let (found, expected) = (self.system.clone(), system.clone());
            return Err(MarkerError::OtherSystem { location: location(), found, expected });
        }
        match repository_id.filter(|id| *id != self.repository_id) {
            None => Ok(()),
            Some(expected) => {
                let (found, expected) = (self.repository_id.clone(), expected.to_owned());
                Err(MarkerError::OtherRepository { location: location(), found, expected })
            }
        }
    }

    /// Rejects a repository of a newer minor version: it is read-only.
    pub fn check_writable(&self, store: &dyn Store) -> Result<(), MarkerError> {
        let version = self.format.parse::<FormatVersion>().and_then(FormatVersion::writable);
        version.map(|_| ()).map_err(|source| MarkerError::Format { location: store.location(), source })
    }
}

/// Returns the manual restore instructions of every repository.
fn by_hand_text(system: &SystemName) -> String {
    include_str!("restore-by-hand.txt").replace("{system}", system.as_str())
}

/// Writes the instructions where they are absent.
pub(super) async fn write_by_hand(store: &dyn Store, system: &SystemName) -> Result<(), MarkerError> {
    if store.head(layout::BY_HAND).await.map_err(MarkerError::ByHand)?.is_some() {
        return Ok(());
    }
    match store.put(layout::BY_HAND, Bytes::from(by_hand_text(system)), &PutOptions::absent()).await {
        Err(error) if error.kind != StoreErrorKind::Exists => Err(MarkerError::ByHand(error)),
        _ => Ok(()),
    }
}
