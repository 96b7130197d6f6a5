//! The records of drills in the repositories: one object each, its digest beside it, and who has seen it. None is
//! ever changed.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::{Acknowledgement, DrillRecord, PreviousDrill};
use crate::model::{RunId, Sha256Hex, SystemName};
use crate::repository::{Repositories, Unavailable, layout};
use crate::store::{PutOptions, Store, StoreError, StoreErrorKind, list_all};
use crate::text::{error_chain, visible};

const RECORD_LIMIT: u64 = 16 << 20;

#[derive(Debug, Error)]
pub enum EvidenceError {
    #[error("failed to read the records of drills")]
    Store(#[source] StoreError),
    #[error("failed to understand `{key}` in {location}")]
    Json { key: String, location: String, source: serde_json::Error },
    #[error("failed to accept `{key}` in {location}: it is of drill `{drill}`")]
    OtherDrill { key: String, location: String, drill: RunId },
    #[error("failed to encode the record of the drill")]
    Encode(#[source] serde_json::Error),
    #[error("failed to complete the records of drills")]
    Complete(#[source] StoreError),
    #[error("no repository took the record of the drill{}", Unavailable::reasons(.0))]
    NotTaken(Vec<Unavailable>),
    #[error("drill `{drill}` was acknowledged by {by} already")]
    Acknowledged { drill: RunId, by: String },
}

/// A record, with the digest of its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDrill {
    pub record: DrillRecord,
    /// As they are stored: a newer version may have written more than this one knows.
    pub bytes: Bytes,
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

/// What one repository has of the drills of a system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredDrills {
    pub history: DrillHistory,
    pub unreadable: Vec<UnreadableObject>,
}

/// An object among the records of drills that cannot be read, or is not what its key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableObject {
    /// The drill of its key.
    pub drill: Option<RunId>,
    pub reason: String,
}

impl UnreadableObject {
    fn new(system: &SystemName, key: &str, error: &EvidenceError) -> Self {
        let name = key.strip_prefix(&layout::drills(system)).unwrap_or(key);
        let suffixes = [layout::DRILL_DIGEST, layout::DRILL_ACKNOWLEDGED, ".json"];
        let drill = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)?.parse().ok());
        Self { drill, reason: error_chain(error) }
    }
}

impl DrillHistory {
    /// Adds what another repository has. Of records that differ, one that matches its digest is taken.
    pub fn merge(&mut self, other: Self) {
        for drill in other.drills {
            let id = &drill.record.identity.drill;
            let Some(known) = self.drills.iter_mut().find(|known| known.record.identity.drill == *id) else {
                self.drills.push(drill);
                continue;
            };
            let acknowledgement = known.acknowledgement.take().or_else(|| drill.acknowledgement.clone());
            if !known.matches_digest && drill.matches_digest {
                *known = drill;
            }
            known.acknowledgement = acknowledgement;
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.drills.sort_by(|a, b| a.record.identity.drill.cmp(&b.record.identity.drill));
    }

    pub fn find(&self, drill: &RunId) -> Option<&StoredDrill> {
        self.drills.iter().find(|known| known.record.identity.drill == *drill)
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
            self.find(&previous.drill).is_none_or(|known| known.sha256 != previous.sha256)
        };
        self.drills.iter().filter(is_broken).map(|drill| &drill.record.identity.drill).collect()
    }
}

/// An object under the prefix of the drills.
enum DrillObject {
    Record(Box<DrillRecord>),
    /// Of the record with this stem.
    Digest(String, Sha256Hex),
    Seen(Acknowledgement),
}

fn parse(
    system: &SystemName,
    key: &str,
    bytes: &[u8],
    location: String,
) -> Result<DrillObject, EvidenceError> {
    let (object, drill, expected) = if let Some(stem) = key.strip_suffix(layout::DRILL_DIGEST) {
        let digest: DetachedDigest = from_json(key, bytes, &location)?;
        return Ok(DrillObject::Digest(stem.to_owned(), digest.sha256));
    } else if key.ends_with(layout::DRILL_ACKNOWLEDGED) {
        let seen: Acknowledgement = from_json(key, bytes, &location)?;
        let (drill, expected) = (seen.drill.clone(), layout::drill_acknowledgement(system, &seen.drill));
        (DrillObject::Seen(seen), drill, expected)
    } else {
        let record: Box<DrillRecord> = from_json(key, bytes, &location)?;
        let drill = record.identity.drill.clone();
        let expected = layout::drill_record(system, &drill);
        (DrillObject::Record(record), drill, expected)
    };
    match key == expected {
        true => Ok(object),
        false => Err(EvidenceError::OtherDrill { key: key.to_owned(), location, drill }),
    }
}

fn from_json<T: DeserializeOwned>(key: &str, bytes: &[u8], location: &str) -> Result<T, EvidenceError> {
    serde_json::from_slice(bytes).map_err(|source| EvidenceError::Json {
        key: key.to_owned(),
        location: location.to_owned(),
        source,
    })
}

/// Reads every record that one repository has. An object that is unreadable costs its contents only.
pub async fn read(store: &dyn Store, system: &SystemName) -> Result<StoredDrills, EvidenceError> {
    let StoredDrills { mut history, mut unreadable } = StoredDrills::default();
    let (mut digests, mut seen) = (Vec::new(), Vec::new());
    let (mut is_any_read, mut refused) = (false, None);
    for object in list_all(store, &layout::drills(system)).await.map_err(EvidenceError::Store)? {
        let key = object.key;
        let bytes = match store.get(&key, RECORD_LIMIT).await {
            Ok((bytes, _)) => bytes,
            // It was deleted meanwhile.
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            Err(error) if is_of_the_object(error.kind) => {
                let error = EvidenceError::Store(error);
                unreadable.push(UnreadableObject::new(system, &key, &error));
                refused = Some(error);
                continue;
            }
            Err(error) => return Err(EvidenceError::Store(error)),
        };
        is_any_read = true;
        match parse(system, &key, &bytes, store.location()) {
            Ok(DrillObject::Digest(stem, sha256)) => digests.push((stem, sha256)),
            Ok(DrillObject::Seen(acknowledgement)) => seen.push(acknowledgement),
            Ok(DrillObject::Record(record)) => {
                let (record, sha256) = (*record, Sha256Hex::digest(&bytes));
                let (matches_digest, acknowledgement) = (false, None);
                history.drills.push(StoredDrill { record, bytes, sha256, matches_digest, acknowledgement });
            }
            Err(error) => unreadable.push(UnreadableObject::new(system, &key, &error)),
        }
    }
    // Who may read nothing knows nothing of a single object.
    if let Some(error) = refused.filter(|_| !is_any_read) {
        return Err(error);
    }
    for drill in &mut history.drills {
        let id = &drill.record.identity.drill;
        let stem = layout::drill_stem(system, id);
        drill.matches_digest = digests.contains(&(stem, drill.sha256));
        drill.acknowledgement = seen.iter().find(|seen| seen.drill == *id).cloned();
    }
    history.sort();
    Ok(StoredDrills { history, unreadable })
}

/// Returns whether a failure to read one object says nothing about the others.
fn is_of_the_object(kind: StoreErrorKind) -> bool {
    use StoreErrorKind::{Corrupt, Forbidden, Other, TooLarge, Unsupported};
    matches!(kind, Corrupt | Forbidden | Other | TooLarge | Unsupported)
}

/// Reads the records of every repository; second, those that could not be read.
pub async fn read_all(repositories: &Repositories, system: &SystemName) -> (DrillHistory, Vec<Unavailable>) {
    let mut history = DrillHistory::default();
    let mut lost = repositories.lost().to_vec();
    for repository in repositories.iter() {
        match read(&*repository.store, system).await {
            Ok(read) => {
                for object in &read.unreadable {
                    tracing::warn!("a record in `{}`: {}", repository.name, object.reason);
                }
                history.merge(read.history);
            }
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
    let objects = objects(system, drill, bytes, sha256)?;
    let (mut lost, mut taken) = (repositories.lost().to_vec(), 0);
    for repository in repositories.writable() {
        match put(&*repository.store, &objects).await {
            Ok(()) => taken += 1,
            Err(error) => lost.push(Unavailable::new(repository, error)),
        }
    }
    if taken == 0 { Err(EvidenceError::NotTaken(lost)) } else { Ok((sha256, lost)) }
}

/// Returns a record and its digest by their keys, in the order in which they are written.
fn objects(
    system: &SystemName,
    drill: &RunId,
    bytes: Bytes,
    sha256: Sha256Hex,
) -> Result<[(String, Bytes); 2], EvidenceError> {
    let digest = serde_json::to_vec(&DetachedDigest { sha256 }).map_err(EvidenceError::Encode)?;
    Ok([(layout::drill_record(system, drill), bytes), (layout::drill_digest(system, drill), digest.into())])
}

/// Writes objects unchanged; equal existing ones are a success.
async fn put(store: &dyn Store, objects: &[(String, Bytes)]) -> Result<(), StoreError> {
    for (key, bytes) in objects {
        match store.put(key, bytes.clone(), &PutOptions::absent()).await {
            Ok(_) => {}
            Err(error) if error.kind == StoreErrorKind::Exists => {
                if store.get(key, RECORD_LIMIT).await?.0 != *bytes {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes the records and the digests that one repository has and another lacks, byte for byte, as far as that
/// takes them: the next drill tries again. What is there already stays.
pub async fn complete(repositories: &Repositories, system: &SystemName, history: &DrillHistory) {
    for repository in repositories.writable() {
        let Ok(own) = read(&*repository.store, system).await else { continue };
        let is_incomplete = |drill: &&StoredDrill| {
            let id = &drill.record.identity.drill;
            let is_unreadable = own.unreadable.iter().any(|object| object.drill.as_ref() == Some(id));
            let lacks_part = |known: &StoredDrill| !known.matches_digest && known.sha256 == drill.sha256;
            !is_unreadable && own.history.find(id).is_none_or(lacks_part)
        };
        for drill in history.drills.iter().filter(|drill| drill.matches_digest).filter(is_incomplete) {
            let id = &drill.record.identity.drill;
            let completed = match objects(system, id, drill.bytes.clone(), drill.sha256) {
                Ok(objects) => put(&*repository.store, &objects).await.map_err(EvidenceError::Complete),
                Err(error) => Err(error),
            };
            if let Err(error) = completed {
                tracing::info!("{}", error_chain(&error));
            }
        }
    }
}

/// Records that a person has seen a drill, once. The same again completes what a repository missed.
///
/// # Errors
/// [`EvidenceError::Acknowledged`] where any repository has another acknowledgement.
pub async fn acknowledge(
    repositories: &Repositories,
    system: &SystemName,
    seen: &Acknowledgement,
) -> Result<Vec<Unavailable>, EvidenceError> {
    let key = layout::drill_acknowledgement(system, &seen.drill);
    let bytes: Bytes = serde_json::to_vec_pretty(seen).map_err(EvidenceError::Encode)?.into();
    // None is written where one stands elsewhere: two would contradict each other for ever.
    for repository in repositories.iter() {
        if let Ok((standing, _)) = repository.store.get(&key, RECORD_LIMIT).await {
            refuse_other(seen, &standing)?;
        }
    }
    let (mut lost, mut taken) = (repositories.lost().to_vec(), 0);
    for repository in repositories.writable() {
        let written = match repository.store.put(&key, bytes.clone(), &PutOptions::absent()).await {
            Err(error) if error.kind == StoreErrorKind::Exists => {
                match repository.store.get(&key, RECORD_LIMIT).await {
                    Ok((standing, _)) => match refuse_other(seen, &standing)? {
                        true => Ok(()),
                        false => Err(error),
                    },
                    Err(unread) => Err(unread),
                }
            }
            written => written.map(drop),
        };
        match written {
            Ok(()) => taken += 1,
            Err(error) => lost.push(Unavailable::new(repository, error)),
        }
    }
    if taken == 0 { Err(EvidenceError::NotTaken(lost)) } else { Ok(lost) }
}

/// Refuses to follow an acknowledgement by someone else; returns whether the one that stands can be read.
fn refuse_other(seen: &Acknowledgement, standing: &[u8]) -> Result<bool, EvidenceError> {
    let Ok(standing) = serde_json::from_slice::<Acknowledgement>(standing) else { return Ok(false) };
    if standing == *seen {
        return Ok(true);
    }
    let by = visible(&standing.by).to_string();
    Err(EvidenceError::Acknowledged { drill: seen.drill.clone(), by })
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
        let history = read(store, &system).await.unwrap().history;
        assert!(!history.drills[0].matches_digest && history.drills[1].matches_digest);
        assert_eq!(history.broken_links(), [&second.identity.drill]);
    }

    /// Two repositories, the first of which has the record of a drill that another version wrote.
    struct Two {
        root: tempfile::TempDir,
        set: Repositories,
        system: SystemName,
        drill: RunId,
        bytes: Vec<u8>,
    }

    impl Two {
        async fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let set = repositories(root.path(), &["primary", "copy"]).await;
            let record = passed();
            let (system, drill) = (record.identity.system.clone(), record.identity.drill.clone());
            // A newer field, and a number in another notation.
            let text = serde_json::to_string(&record).unwrap();
            let text = text.replacen('{', "{\"newer\":{\"x\":0.30000000000000004e1},", 1);
            let two = Self { root, set, system, drill, bytes: text.into_bytes() };
            let objects =
                objects(&two.system, &two.drill, two.bytes.clone().into(), Sha256Hex::digest(&two.bytes));
            put(&*two.set.iter().next().unwrap().store, &objects.unwrap()).await.unwrap();
            two
        }

        fn path(&self, repository: &str, key: &str) -> std::path::PathBuf {
            self.root.path().join(repository).join(key)
        }

        fn record(&self, repository: &str) -> std::path::PathBuf {
            self.path(repository, &layout::drill_record(&self.system, &self.drill))
        }

        fn digest(&self, repository: &str) -> std::path::PathBuf {
            self.path(repository, &layout::drill_digest(&self.system, &self.drill))
        }

        async fn read(&self, n: usize) -> StoredDrills {
            read(&*self.set.iter().nth(n).unwrap().store, &self.system).await.unwrap()
        }

        async fn complete(&self) -> DrillHistory {
            let (history, lost) = read_all(&self.set, &self.system).await;
            assert!(lost.is_empty(), "{lost:?}");
            complete(&self.set, &self.system, &history).await;
            history
        }
    }

    #[tokio::test]
    async fn a_record_is_completed_byte_for_byte() {
        let two = Two::new().await;
        two.complete().await;
        assert_eq!(std::fs::read(two.record("copy")).unwrap(), two.bytes);
        let copy = two.read(1).await;
        assert_eq!(copy, two.read(0).await);
        assert!(copy.history.drills[0].matches_digest);
    }

    #[tokio::test]
    async fn a_digest_that_was_not_written_is_completed_and_what_was_changed_stays() {
        let two = Two::new().await;
        two.complete().await;
        for repository in ["primary", "copy"] {
            std::fs::remove_file(two.digest(repository)).unwrap();
            two.complete().await;
            for n in [0, 1] {
                assert!(two.read(n).await.history.drills[0].matches_digest, "{repository}");
            }
        }
        let changed = String::from_utf8(two.bytes.clone()).unwrap().replace("1204", "1205");
        std::fs::write(two.record("primary"), &changed).unwrap();
        std::fs::remove_file(two.digest("primary")).unwrap();
        let history = two.complete().await;
        assert_eq!(std::fs::read_to_string(two.record("primary")).unwrap(), changed);
        assert!(!two.digest("primary").exists());
        // The intact copy is the one that the next record names.
        assert_eq!(history.newest().map(|newest| newest.sha256), Some(Sha256Hex::digest(&two.bytes)));
        assert!(history.drills[0].matches_digest);
    }

    #[tokio::test]
    async fn an_object_that_is_unreadable_costs_its_contents_only() {
        let two = Two::new().await;
        let other = RunId::new(passed().begun + chrono::TimeDelta::days(30), 8);
        let path = |key: String| two.path("primary", &key);
        std::fs::write(path(layout::drill_record(&two.system, &other)), "{").unwrap();
        std::fs::write(path(layout::drill_acknowledgement(&two.system, &two.drill)), "[]").unwrap();
        std::fs::write(path(format!("{}note.txt", layout::drills(&two.system))), "x").unwrap();
        // Another drill's record under this one's key.
        let third = RunId::new(passed().begun + chrono::TimeDelta::days(60), 9);
        std::fs::write(path(layout::drill_record(&two.system, &third)), &two.bytes).unwrap();
        let read = two.read(0).await;
        assert_eq!(read.history.drills.len(), 1);
        let mut drills: Vec<_> = read.unreadable.iter().map(|object| object.drill.clone()).collect();
        drills.sort();
        assert_eq!(drills, [None, Some(two.drill.clone()), Some(other), Some(third)]);
        let mut reasons = read.unreadable.iter().map(|object| &object.reason);
        assert!(
            reasons.any(|reason| reason.ends_with(&format!("it is of drill `{}`", two.drill))),
            "{read:?}"
        );
        // The next drill finds the one before it, and the copy is completed.
        assert!(two.complete().await.newest().is_some());
        assert_eq!(std::fs::read(two.record("copy")).unwrap(), two.bytes);
        // The other object in that repository is not replaced.
        std::fs::write(two.record("copy"), "{").unwrap();
        two.complete().await;
        assert_eq!(std::fs::read(two.record("copy")).unwrap(), b"{");
    }

    #[tokio::test]
    async fn a_record_that_differs_from_what_is_there_is_not_taken() {
        let two = Two::new().await;
        let (_, lost) = write(&two.set, &passed()).await.unwrap();
        assert_eq!(lost.iter().map(|lost| lost.name.as_str()).collect::<Vec<_>>(), ["primary"]);
        assert_eq!(std::fs::read(two.record("primary")).unwrap(), two.bytes);
        // The same once more is a success.
        let alone = Repositories::new(two.set.iter().skip(1).cloned().collect());
        assert!(write(&alone, &passed()).await.unwrap().1.is_empty());
    }

    #[tokio::test]
    async fn who_acknowledged_a_drill_first_is_named() {
        let two = Two::new().await;
        let seen = |by: &str| Acknowledgement {
            drill: two.drill.clone(),
            sha256: Sha256Hex::digest(&two.bytes),
            by: by.to_owned(),
            note: "seen".to_owned(),
            at: passed().begun,
        };
        let copy = Repositories::new(two.set.iter().skip(1).cloned().collect());
        acknowledge(&copy, &two.system, &seen("Ann")).await.unwrap();
        let refused = acknowledge(&two.set, &two.system, &seen("Bob")).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("drill `{}` was acknowledged by Ann already", two.drill));
        assert_eq!(two.read(0).await.history.drills[0].acknowledgement, None);
        // The same reaches the repository that missed it.
        acknowledge(&two.set, &two.system, &seen("Ann")).await.unwrap();
        assert_eq!(two.read(0).await.history.drills[0].acknowledgement, Some(seen("Ann")));
    }
}
