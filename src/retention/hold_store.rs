//! Holds, as they are in the repositories: a record for each, and a record of its release. Neither is ever changed.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::holding::{HeldScope, Hold};
use crate::model::{RunId, SystemName};
use crate::repository::{FormatError, FormatVersion, Repositories, Unavailable, layout};
use crate::store::{PutOptions, Store, StoreError, StoreErrorKind, list_all};

const RECORD_LIMIT: u64 = 64 << 10;

#[derive(Debug, Error)]
pub enum HoldError {
    #[error("failed to read the holds")]
    Store(#[source] StoreError),
    #[error("failed to understand the hold `{key}` in {location}")]
    Json { key: String, location: String, source: serde_json::Error },
    #[error("failed to accept the hold `{key}` in {location}")]
    Format { key: String, location: String, source: FormatError },
    #[error("failed to write down the hold")]
    Write(#[source] serde_json::Error),
    #[error("there is no hold `{0}`")]
    Unknown(String),
    #[error("`{0}` is not the id of a hold")]
    NoId(String),
    #[error("no repository took the record{}", Unavailable::reasons(.0))]
    NotTaken(Vec<Unavailable>),
}

#[derive(Debug, Serialize, Deserialize)]
struct HoldRecord {
    format: String,
    #[serde(flatten)]
    hold: Hold,
}

/// Read first: what else a record says depends on its version.
#[derive(Deserialize)]
struct Header {
    format: String,
}

/// Who released a hold, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub hold: String,
    pub by: String,
    pub reason: String,
    pub released: DateTime<Utc>,
}

/// The holds of a system, and those that were released.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// The oldest first, released ones too.
    pub all: Vec<Hold>,
    pub released: Vec<Release>,
}

impl Holds {
    /// Returns those that were not released.
    pub fn in_force(&self) -> impl Iterator<Item = &Hold> {
        self.all.iter().filter(|hold| !self.released.iter().any(|release| release.hold == hold.id))
    }

    /// Returns the hold that this person has on the same already, as of `now`.
    pub fn standing(&self, on: &HeldScope, by: &str, now: DateTime<Utc>) -> Option<&Hold> {
        self.in_force().find(|hold| hold.on == *on && hold.by == by && !hold.is_over(now))
    }

    pub fn merge(&mut self, other: Self) {
        for hold in other.all {
            if !self.all.iter().any(|known| known.id == hold.id) {
                self.all.push(hold);
            }
        }
        self.all.sort_by(|a, b| a.id.cmp(&b.id));
        for release in other.released {
            if !self.released.iter().any(|known| known.hold == release.hold) {
                self.released.push(release);
            }
        }
    }
}

/// Reads the holds that one repository has.
pub async fn read(store: &dyn Store, system: &SystemName) -> Result<Holds, HoldError> {
    let mut holds = Holds::default();
    for object in list_all(store, &layout::holds(system)).await.map_err(HoldError::Store)? {
        let key = object.key;
        let (bytes, _) = store.get(&key, RECORD_LIMIT).await.map_err(HoldError::Store)?;
        let json = |source| HoldError::Json { key: key.clone(), location: store.location(), source };
        if key.ends_with(".released.json") {
            holds.released.push(serde_json::from_slice(&bytes).map_err(json)?);
        } else {
            let header: Header = serde_json::from_slice(&bytes).map_err(json)?;
            let version = header.format.parse::<FormatVersion>().and_then(FormatVersion::readable);
            version.map_err(|source| HoldError::Format {
                key: key.clone(),
                location: store.location(),
                source,
            })?;
            holds.all.push(serde_json::from_slice::<HoldRecord>(&bytes).map_err(json)?.hold);
        }
    }
    Ok(holds)
}

/// Writes a hold into every repository that may be written to. Returns those that did not take it: retention of such a
/// repository alone would not know of it.
pub async fn add(
    repositories: &Repositories,
    system: &SystemName,
    hold: &Hold,
) -> Result<Vec<Unavailable>, HoldError> {
    let id = run_id(&hold.id)?;
    let record = HoldRecord { format: FormatVersion::CURRENT.to_string(), hold: hold.clone() };
    let bytes = serde_json::to_vec_pretty(&record).map_err(HoldError::Write)?;
    put(repositories, &layout::hold(system, &id), bytes.into()).await
}

/// Writes everywhere that a hold was released. Returns the repositories that did not take it: where one of them alone
/// can be read, the hold counts still.
pub async fn release(
    repositories: &Repositories,
    system: &SystemName,
    release: &Release,
) -> Result<Vec<Unavailable>, HoldError> {
    let id = run_id(&release.hold)?;
    let bytes = serde_json::to_vec_pretty(release).map_err(HoldError::Write)?;
    put(repositories, &layout::hold_release(system, &id), bytes.into()).await
}

/// Writes holds and releases into every repository that lacks them, as far as it takes them: the next run tries again.
pub(super) async fn complete(repositories: &Repositories, system: &SystemName, holds: &Holds) {
    for hold in &holds.all {
        if let Err(error) = add(repositories, system, hold).await {
            tracing::info!("{}", crate::text::error_chain(&error));
        }
    }
    for released in &holds.released {
        if let Err(error) = release(repositories, system, released).await {
            tracing::info!("{}", crate::text::error_chain(&error));
        }
    }
}

/// Returns the repositories that did not take the record.
async fn put(repositories: &Repositories, key: &str, bytes: Bytes) -> Result<Vec<Unavailable>, HoldError> {
    let (mut lost, mut taken) = (repositories.lost().to_vec(), 0);
    for repository in repositories.iter() {
        if !repositories.writable().any(|writable| writable.name == repository.name) {
            let misplaced =
                repositories.misplaced().iter().find(|misplaced| misplaced.name == repository.name);
            let reason = "it has no marker, or is of a newer version of drctl";
            lost.push(misplaced.cloned().unwrap_or_else(|| Unavailable::new(repository, reason)));
            continue;
        }
        match repository.store.put(key, bytes.clone(), &PutOptions::absent()).await {
            Ok(_) => taken += 1,
            Err(error) if error.kind == StoreErrorKind::Exists => taken += 1,
            Err(error) => lost.push(Unavailable::new(repository, error)),
        }
    }
    if taken == 0 { Err(HoldError::NotTaken(lost)) } else { Ok(lost) }
}

fn run_id(text: &str) -> Result<RunId, HoldError> {
    text.parse().map_err(|_| HoldError::NoId(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::fixtures::{noon, repositories, system};

    fn hold(seed: u32) -> Hold {
        Hold {
            id: RunId::new(noon(), seed).to_string(),
            on: HeldScope::Source("database".parse().unwrap()),
            reason: "audit".to_owned(),
            by: "ann".to_owned(),
            placed: noon(),
            until: None,
        }
    }

    #[tokio::test]
    async fn a_hold_of_an_unknown_format_is_not_read_as_if_it_were_known() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary"]).await;
        add(&set, &system(), &hold(1)).await.unwrap();
        let store = std::sync::Arc::clone(&set.iter().next().unwrap().store);
        let key = layout::hold(&system(), &RunId::new(noon(), 2));
        let record = HoldRecord { format: "2.0".to_owned(), hold: hold(2) };
        let bytes = serde_json::to_vec(&record).unwrap();
        store.put(&key, bytes.into(), &PutOptions::absent()).await.unwrap();
        let error = read(&*store, &system()).await.unwrap_err();
        assert!(matches!(&error, HoldError::Format { key: found, .. } if *found == key), "{error}");
    }

    #[test]
    fn the_same_hold_of_the_same_person_stands_until_it_is_released_or_over() {
        let until = noon() + chrono::TimeDelta::days(1);
        let limited = Hold { until: Some(until), by: "bob".to_owned(), ..hold(2) };
        let mut holds = Holds { all: vec![hold(1), limited], released: vec![] };
        let on = hold(1).on;
        let other = HeldScope::Source("files".parse().unwrap());
        let found = |holds: &Holds, on: &HeldScope, by: &str, at| {
            holds.standing(on, by, at).map(|hold| hold.id.clone())
        };
        assert_eq!(found(&holds, &on, "ann", noon()), Some(hold(1).id));
        assert_eq!(found(&holds, &on, "bob", noon()), Some(hold(2).id));
        assert_eq!(found(&holds, &on, "bob", until + chrono::TimeDelta::seconds(1)), None);
        assert_eq!((found(&holds, &on, "eve", noon()), found(&holds, &other, "ann", noon())), (None, None));
        let release =
            Release { hold: hold(1).id, by: "ann".to_owned(), reason: String::new(), released: noon() };
        holds.released.push(release);
        assert_eq!(found(&holds, &on, "ann", noon()), None);
    }

    #[tokio::test]
    async fn a_hold_holds_until_it_is_released_and_a_repository_that_missed_it_is_named() {
        let root = tempfile::tempdir().unwrap();
        let set = repositories(root.path(), &["primary", "copy", "missing"]).await;
        let lost = add(&set, &system(), &hold(1)).await.unwrap();
        assert_eq!(lost.iter().map(|lost| lost.name.as_str()).collect::<Vec<_>>(), ["missing"]);
        add(&set, &system(), &hold(2)).await.unwrap();
        let store = |n: usize| std::sync::Arc::clone(&set.iter().nth(n).unwrap().store);
        let found = read(&*store(1), &system()).await.unwrap();
        assert_eq!(found.in_force().collect::<Vec<_>>(), [&hold(1), &hold(2)]);
        let gone =
            Release { hold: hold(1).id, by: "bob".to_owned(), reason: "done".to_owned(), released: noon() };
        release(&set, &system(), &gone).await.unwrap();
        let mut found = read(&*store(0), &system()).await.unwrap();
        assert_eq!(found.in_force().collect::<Vec<_>>(), [&hold(2)]);
        found.merge(read(&*store(1), &system()).await.unwrap());
        assert_eq!((found.all.len(), found.released.len()), (2, 1));
        // Records of the journal are listed without them.
        let runs = crate::repository::journal::runs(&*store(0), &system()).await.unwrap();
        assert_eq!(runs, []);
        assert!(add(&set, &system(), &Hold { id: "x".to_owned(), ..hold(3) }).await.is_err());
        // What no repository took was not placed: those without a marker take nothing.
        let empty = repositories(root.path(), &["fourth", "fifth"]).await.for_reading(&system(), None).await;
        let error = add(&empty, &system(), &hold(4)).await.unwrap_err();
        assert!(matches!(&error, HoldError::NotTaken(lost) if lost.len() == 2), "{error}");
    }
}
