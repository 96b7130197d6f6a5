//! Remembers which locations were repositories, so that one that is empty now is not initialised again.
//!
//! An unmounted disk, another bucket and a prefix emptied by a lifecycle rule all look like a store that was
//! never used. The catalog of this host tells them apart; if it is lost, the journals of the other
//! repositories do.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::header::HeaderLookup;
use super::{MarkerError, Repository, journal};
use crate::model::{RepositoryName, SystemName};

/// What was known of a system's repositories before this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownLocations {
    /// The repository ID shared by the primary and its copies.
    pub id: Option<String>,
    /// The repositories whose marker was seen, and when.
    pub marked: BTreeMap<RepositoryName, DateTime<Utc>>,
    /// Locations of other repositories with the system's name.
    pub others: Vec<String>,
}

/// The stores that were repositories of the system, and when that was last seen.
#[derive(Debug, Default)]
pub(super) struct WasRepository(BTreeMap<RepositoryName, DateTime<Utc>>);

impl WasRepository {
    pub(super) fn is_known(&self, name: &RepositoryName) -> bool {
        self.0.contains_key(name)
    }

    /// Returns why a store without a marker is rejected; `None` if it may be new.
    pub(super) fn emptied(&self, repository: &Repository) -> Option<MarkerError> {
        let seen = self.0.get(&repository.name)?;
        let (location, name) = (repository.store.location(), repository.name.clone());
        Some(MarkerError::Emptied { location, name, seen: Some(*seen) })
    }
}

impl KnownLocations {
    /// Combines what is known of each store with the journals of the accepted ones, which are read only if
    /// needed.
    pub(super) async fn load(
        &self,
        found: &[HeaderLookup],
        system: &SystemName,
        id: Option<&str>,
    ) -> WasRepository {
        let mut was = self.marked.clone();
        let is_ours = |(repository, marker): &&HeaderLookup| match marker {
            Ok(Some(marker)) => marker.check(&*repository.store, system, id).is_ok(),
            _ => false,
        };
        let (ours, doubtful): (Vec<_>, Vec<_>) = found.iter().partition(is_ours);
        if doubtful.iter().all(|(repository, _)| was.contains_key(&repository.name)) {
            return WasRepository(was);
        }
        for (repository, _) in ours {
            match journal::repositories(&*repository.store, system).await {
                Ok(named) => {
                    for (name, at) in named {
                        let seen = was.entry(name).or_insert(at);
                        *seen = at.max(*seen);
                    }
                }
                Err(error) => tracing::info!("{}", crate::text::error_chain(&error)),
            }
        }
        WasRepository(was)
    }
}
