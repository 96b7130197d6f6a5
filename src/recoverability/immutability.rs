//! Which repositories count as immutable: those whose lock was tried and held. Pure.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::RepositoryName;
use crate::policy::RepositoryConfig;
use crate::repository::journal::{JournalRecord, LockProof};

/// What is known of the lock of one repository of which the policy asks for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Immutability {
    pub repository: RepositoryName,
    #[serde(flatten)]
    pub state: ImmutabilityState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "lock")]
pub enum ImmutabilityState {
    /// The store refused to delete what was locked when it was tried last.
    Proven { at: DateTime<Utc> },
    /// It did not.
    Refuted { at: DateTime<Utc>, reason: String },
    /// It was never tried.
    Untried,
}

/// Returns what the journal says of each repository that is to lock its objects.
pub fn immutability(repositories: &[RepositoryConfig], runs: &[JournalRecord]) -> Vec<Immutability> {
    let locked = repositories.iter().filter(|config| config.place.object_lock().is_some());
    let known = |config: &RepositoryConfig| Immutability {
        repository: config.name.clone(),
        state: latest(&config.name, runs),
    };
    locked.map(known).collect()
}

fn latest(name: &RepositoryName, runs: &[JournalRecord]) -> ImmutabilityState {
    let proofs = runs.iter().flat_map(|run| run.detail.locks.iter().map(move |proof| (run.ended, proof)));
    let of_it = proofs.filter(|(_, proof)| proof.repository == *name);
    match of_it.max_by_key(|(at, _)| *at) {
        None => ImmutabilityState::Untried,
        Some((at, LockProof { refuted: None, .. })) => ImmutabilityState::Proven { at },
        Some((at, LockProof { refuted: Some(reason), .. })) => {
            ImmutabilityState::Refuted { at, reason: reason.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Outcome, RunId};
    use crate::repository::journal::Detail;

    #[test]
    fn the_last_attempt_counts() {
        let name: RepositoryName = "primary".parse().unwrap();
        let at = |hour: u32| -> DateTime<Utc> { format!("2026-11-20T{hour:02}:00:00Z").parse().unwrap() };
        let record = |hour: u32, refuted: Option<&str>| {
            let proof = LockProof { repository: name.clone(), refuted: refuted.map(str::to_owned) };
            let detail = Detail { locks: vec![proof], ..Detail::default() };
            let times = (at(hour), at(hour));
            JournalRecord::new(&RunId::new(at(hour), 1), "doctor", times, "a", Outcome::Succeeded, detail)
        };
        assert_eq!(latest(&name, &[]), ImmutabilityState::Untried);
        let mut runs = vec![record(2, Some("it deleted it")), record(1, None)];
        let refuted = ImmutabilityState::Refuted { at: at(2), reason: "it deleted it".to_owned() };
        assert_eq!(latest(&name, &runs), refuted);
        runs.push(record(3, None));
        assert_eq!(latest(&name, &runs), ImmutabilityState::Proven { at: at(3) });
        assert_eq!(latest(&"west".parse().unwrap(), &runs), ImmutabilityState::Untried);
    }
}
