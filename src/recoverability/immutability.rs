//! Which repositories count as immutable: those whose lock was tried and held. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::model::RepositoryName;
use crate::policy::RepositoryConfig;
use crate::repository::journal::{JournalRecord, LockProof};

/// A bucket may have been made anew, or its lock turned off, since a proof that is older.
const HOLDS_FOR: TimeDelta = TimeDelta::days(90);

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
    /// It refused, too long ago to say anything of now.
    Outdated { at: DateTime<Utc> },
    /// It was never tried where the repository is now, in the mode that the policy asks for.
    Untried,
}

/// Returns what the journal says of each repository that is to lock its objects, as of `now`.
pub fn immutability(
    repositories: &[RepositoryConfig],
    runs: &[JournalRecord],
    now: DateTime<Utc>,
) -> Vec<Immutability> {
    let known = |config: &RepositoryConfig| {
        let mode = config.place.object_lock()?.mode.as_str();
        let state = latest(&config.name, (&config.place.location(), mode), runs, now);
        Some(Immutability { repository: config.name.clone(), state })
    };
    repositories.iter().filter_map(known).collect()
}

/// What was tried elsewhere, or in another mode, says nothing.
fn latest(
    name: &RepositoryName,
    (location, mode): (&str, &str),
    runs: &[JournalRecord],
    now: DateTime<Utc>,
) -> ImmutabilityState {
    let proofs = runs.iter().flat_map(|run| run.detail.locks.iter().map(move |proof| (run.ended, proof)));
    let of_it = proofs.filter(|(_, proof)| {
        proof.repository == *name && proof.location == location && proof.mode.as_deref() == Some(mode)
    });
    match of_it.max_by_key(|(at, _)| *at) {
        None => ImmutabilityState::Untried,
        Some((at, LockProof { refuted: Some(reason), .. })) => {
            ImmutabilityState::Refuted { at, reason: reason.clone() }
        }
        Some((at, _)) if now - at > HOLDS_FOR => ImmutabilityState::Outdated { at },
        Some((at, _)) => ImmutabilityState::Proven { at },
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
        let place = "s3://backups/shop (eu-central-1)";
        let record = |hour: u32, refuted: Option<&str>| {
            let proof = LockProof {
                repository: name.clone(),
                location: place.to_owned(),
                mode: Some("compliance".to_owned()),
                refuted: refuted.map(str::to_owned),
            };
            let detail = Detail { locks: vec![proof], ..Detail::default() };
            let times = (at(hour), at(hour));
            JournalRecord::new(&RunId::new(at(hour), 1), "doctor", times, "a", Outcome::Succeeded, detail)
        };
        let found = |runs: &[JournalRecord]| latest(&name, (place, "compliance"), runs, at(9));
        assert_eq!(found(&[]), ImmutabilityState::Untried);
        let mut runs = vec![record(2, Some("it deleted it")), record(1, None)];
        let refuted = ImmutabilityState::Refuted { at: at(2), reason: "it deleted it".to_owned() };
        assert_eq!(found(&runs), refuted);
        runs.push(record(3, None));
        assert_eq!(found(&runs), ImmutabilityState::Proven { at: at(3) });
        assert_eq!(
            latest(&"west".parse().unwrap(), (place, "compliance"), &runs, at(9)),
            ImmutabilityState::Untried
        );
        // Elsewhere, in another mode, and a quarter later.
        let moved = latest(&name, ("s3://other/shop (eu-central-1)", "compliance"), &runs, at(9));
        assert_eq!(moved, ImmutabilityState::Untried);
        assert_eq!(latest(&name, (place, "governance"), &runs, at(9)), ImmutabilityState::Untried);
        let later = latest(&name, (place, "compliance"), &runs, at(9) + TimeDelta::days(90));
        assert_eq!(later, ImmutabilityState::Outdated { at: at(3) });
    }
}
