//! The records of drills in the repositories: one object each, its digest beside it, and who has seen it. None is
//! ever changed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::{Acknowledgement, DrillRecord, PreviousDrill};
use crate::model::{RunId, Sha256Hex, SystemName};
use crate::repository::{Repositories, Unavailable, layout};
use crate::store::{PutOptions, Store, StoreError, StoreErrorKind, list_all};

const RECORD_LIMIT: u64 = 16 << 20;

#[derive(Debug, Error)]
pub enum EvidenceError {
    #[error("failed to read the records of drills")]
    Store(#[source] StoreError),
    #[error("failed to understand `{key}` in {location}")]
    Json { key: String, location: String, source: serde_json::Error },
    #[error("failed to encode the record of the drill")]
    Encode(#[source] serde_json::Error),
    #[error("no repository took the record of the drill{}", Unavailable::reasons(.0))]
    NotTaken(Vec<Unavailable>),
    #[error("drill `{drill}` was acknowledged by {by} already")]
    Acknowledged { drill: RunId, by: String },
}

/// A record, with the digest of its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDrill {
    pub record: DrillRecord,
    pub sha256: Sha256Hex,
    /// Whether the digest beside it is that of its bytes.
    pub matches_digest: bool,
    pub acknowledgement: Option<Acknowledgement>,
}

/// The detached digest.
#[derive(Debug, Serialize, Deserialize)]
struct DetachedDigest {
    sha256: Sha256Hex,
}

/// The drills of a system, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DrillHistory {
    pub drills: Vec<StoredDrill>,
}

impl DrillHistory {
    /// Adds what another repository has.
    pub fn merge(&mut self, other: Self) {
        for drill in other.drills {
            match self
                .drills
                .iter_mut()
                .find(|known| known.record.identity.drill == drill.record.identity.drill)
            {
                Some(known) if known.acknowledgement.is_none() => {
                    known.acknowledgement = drill.acknowledgement
                }
                Some(_) => {}
                None => self.drills.push(drill),
            }
        }
        self.drills.sort_by(|a, b| a.record.identity.drill.cmp(&b.record.identity.drill));
    }

    /// Returns the link to the newest, for the record that follows it.
    pub fn newest(&self) -> Option<PreviousDrill> {
        let newest = self.drills.last()?;
        Some(PreviousDrill { drill: newest.record.identity.drill.clone(), sha256: newest.sha256 })
    }

    /// Returns the records whose link to the one before does not hold: a record is missing or was changed.
    pub fn broken_links(&self) -> Vec<&RunId> {
        let is_broken = |drill: &&StoredDrill| {
            let Some(previous) = &drill.record.identity.previous else { return false };
            let known = self.drills.iter().find(|known| known.record.identity.drill == previous.drill);
            known.is_none_or(|known| known.sha256 != previous.sha256)
        };
        self.drills.iter().filter(is_broken).map(|drill| &drill.record.identity.drill).collect()
    }
}

/// Reads every record that one repository has.
pub async fn read(store: &dyn Store, system: &SystemName) -> Result<DrillHistory, EvidenceError> {
    let mut history = DrillHistory::default();
    let (mut digests, mut seen) = (Vec::new(), Vec::new());
    for object in list_all(store, &layout::drills(system)).await.map_err(EvidenceError::Store)? {
        let key = object.key;
        let (bytes, _) = store.get(&key, RECORD_LIMIT).await.map_err(EvidenceError::Store)?;
        let json = |source| EvidenceError::Json { key: key.clone(), location: store.location(), source };
        if let Some(record) = key.strip_suffix(layout::DRILL_DIGEST) {
            let digest: DetachedDigest = serde_json::from_slice(&bytes).map_err(json)?;
            digests.push((record.to_owned(), digest.sha256));
        } else if key.ends_with(layout::DRILL_ACKNOWLEDGED) {
            seen.push(serde_json::from_slice::<Acknowledgement>(&bytes).map_err(json)?);
        } else {
            let record: DrillRecord = serde_json::from_slice(&bytes).map_err(json)?;
            let sha256 = Sha256Hex::digest(&bytes);
            history.drills.push(StoredDrill { record, sha256, matches_digest: false, acknowledgement: None });
        }
    }
    for drill in &mut history.drills {
        let id = &drill.record.identity.drill;
        let stem = layout::drill_stem(system, id);
        drill.matches_digest = digests.contains(&(stem, drill.sha256));
        drill.acknowledgement = seen.iter().find(|seen| seen.drill == *id).cloned();
    }
    history.drills.sort_by(|a, b| a.record.identity.drill.cmp(&b.record.identity.drill));
    Ok(history)
}

/// Reads the records of every repository; second, those that could not be read.
pub async fn read_all(repositories: &Repositories, system: &SystemName) -> (DrillHistory, Vec<Unavailable>) {
    let mut history = DrillHistory::default();
    let mut lost = repositories.lost().to_vec();
    for repository in repositories.iter() {
        match read(&*repository.store, system).await {
            Ok(read) => history.merge(read),
            Err(error) => lost.push(Unavailable::new(repository, error)),
        }
    }
    (history, lost)
}

/// Writes a record and its digest into every repository that may be written to. Returns the digest, and the
/// repositories that did not take it.
pub async fn write(
    repositories: &Repositories,
    record: &DrillRecord,
) -> Result<(Sha256Hex, Vec<Unavailable>), EvidenceError> {
    let (system, drill) = (&record.identity.system, &record.identity.drill);
    let bytes: Bytes = serde_json::to_vec_pretty(record).map_err(EvidenceError::Encode)?.into();
    let sha256 = Sha256Hex::digest(&bytes);
    let digest = serde_json::to_vec(&DetachedDigest { sha256 }).map_err(EvidenceError::Encode)?;
    let objects =
        [(layout::drill_record(system, drill), bytes), (layout::drill_digest(system, drill), digest.into())];
    Ok((sha256, put(repositories, &objects).await?))
}

/// Writes what one repository has and another lacks, as far as that takes it: the next drill tries again.
pub async fn complete(repositories: &Repositories, system: &SystemName, history: &DrillHistory) {
    for repository in repositories.writable() {
        let Ok(own) = read(&*repository.store, system).await else { continue };
        let missing = history.drills.iter().filter(|drill| {
            drill.matches_digest && !own.drills.iter().any(|known| known.sha256 == drill.sha256)
        });
        for drill in missing {
            let alone = Repositories::new(vec![repository.clone()]);
            if let Err(error) = write(&alone, &drill.record).await {
                tracing::info!("{}", crate::text::error_chain(&error));
            }
        }
    }
}

/// Records that a person has seen a drill, once.
pub async fn acknowledge(
    repositories: &Repositories,
    system: &SystemName,
    seen: &Acknowledgement,
) -> Result<Vec<Unavailable>, EvidenceError> {
    let bytes: Bytes = serde_json::to_vec_pretty(seen).map_err(EvidenceError::Encode)?.into();
    put(repositories, &[(layout::drill_acknowledgement(system, &seen.drill), bytes)]).await
}

async fn put(
    repositories: &Repositories,
    objects: &[(String, Bytes)],
) -> Result<Vec<Unavailable>, EvidenceError> {
    let (mut lost, mut taken) = (repositories.lost().to_vec(), 0);
    for repository in repositories.writable() {
        let mut is_taken = true;
        for (key, bytes) in objects {
            match repository.store.put(key, bytes.clone(), &PutOptions::absent()).await {
                Ok(_) => {}
                Err(error) if error.kind == StoreErrorKind::Exists => {}
                Err(error) => {
                    lost.push(Unavailable::new(repository, error));
                    is_taken = false;
                    break;
                }
            }
        }
        taken += usize::from(is_taken);
    }
    if taken == 0 { Err(EvidenceError::NotTaken(lost)) } else { Ok(lost) }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::passed;
    use super::*;
    use crate::repository::fixtures::repositories;

    #[tokio::test]
    async fn records_are_chained_and_a_changed_one_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy"]).await;
        let first = passed();
        let system = first.identity.system.clone();
        let (sha256, lost) = write(&set, &first).await.unwrap();
        assert!(lost.is_empty(), "{lost:?}");
        let (history, _) = read_all(&set, &system).await;
        assert_eq!(history.newest().map(|newest| newest.sha256), Some(sha256));
        let mut second = passed();
        second.identity.drill = RunId::new(second.begun + chrono::TimeDelta::days(30), 8);
        second.identity.previous = history.newest();
        write(&set, &second).await.unwrap();
        let seen = Acknowledgement {
            drill: second.identity.drill.clone(),
            sha256,
            by: "bob".to_owned(),
            note: "seen".to_owned(),
            at: second.begun,
        };
        acknowledge(&set, &system, &seen).await.unwrap();
        let (history, _) = read_all(&set, &system).await;
        assert_eq!(history.drills.len(), 2);
        assert!(history.drills.iter().all(|drill| drill.matches_digest));
        assert_eq!(history.drills[1].acknowledgement, Some(seen));
        assert!(history.broken_links().is_empty());

        // Someone makes the first one better than it was.
        let store = &*set.iter().next().unwrap().store;
        let key = layout::drill_record(&system, &first.identity.drill);
        let path = root.path().join("primary").join(&key);
        assert!(store.head(&key).await.unwrap().is_some() && path.exists(), "{}", path.display());
        let text = std::fs::read_to_string(&path).unwrap().replace("1204", "1205");
        std::fs::write(&path, text).unwrap();
        let history = read(store, &system).await.unwrap();
        assert!(!history.drills[0].matches_digest && history.drills[1].matches_digest);
        assert_eq!(history.broken_links(), [&second.identity.drill]);
    }
}
