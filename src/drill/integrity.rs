//! What the repositories have of the records of drills, put together, and where they do not hold. Pure.

use std::fmt::{self, Display};

use serde::Serialize;

use super::evidence::{DrillHistory, StoredDrill};
use crate::model::{RepositoryName, RunId};

/// What one repository has.
#[derive(Clone, Debug)]
pub struct RepositoryDrills {
    pub repository: RepositoryName,
    pub history: DrillHistory,
}

/// Evidence that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "damage", rename_all = "kebab-case")]
pub enum Damage {
    /// A record is not what its digest says.
    Changed { drill: RunId, repository: RepositoryName },
    /// Two repositories have different records, each with a digest that fits.
    Differs { drill: RunId, repositories: [RepositoryName; 2] },
    /// A record names the digest of the one before, and that one has another.
    BrokenLink { drill: RunId, named_by: RunId },
    /// A record names one before it, which no repository has.
    Removed { drill: RunId, named_by: RunId },
    /// Someone acknowledged a record with another digest.
    AcknowledgedOther { drill: RunId, by: String },
    /// An object is no record of a drill.
    Unreadable { repository: RepositoryName, reason: String },
}

impl Damage {
    /// Returns the drill whose record does not hold.
    pub fn drill(&self) -> Option<&RunId> {
        match self {
            Self::Changed { drill, .. }
            | Self::Differs { drill, .. }
            | Self::BrokenLink { drill, .. }
            | Self::AcknowledgedOther { drill, .. }
            | Self::Removed { drill, .. } => Some(drill),
            Self::Unreadable { .. } => None,
        }
    }
}

impl Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { drill, repository } => {
                write!(f, "the record of drill {drill} in `{repository}` does not match its digest")
            }
            Self::Differs { drill, repositories: [one, other] } => {
                write!(f, "the records of drill {drill} in `{one}` and in `{other}` differ")
            }
            Self::BrokenLink { drill, named_by } => {
                write!(
                    f,
                    "the record of drill {drill} is not the one that the record of drill {named_by} names"
                )
            }
            Self::Removed { drill, named_by } => {
                write!(f, "there is no record of drill {drill}, which the record of drill {named_by} names")
            }
            Self::AcknowledgedOther { drill, by } => {
                write!(f, "the record of drill {drill} is not the one that {by} has acknowledged")
            }
            Self::Unreadable { repository, reason } => write!(f, "a record in `{repository}`: {reason}"),
        }
    }
}

/// The records of a system, and what is wrong with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    pub history: DrillHistory,
    pub damage: Vec<Damage>,
}

/// Puts together what repositories have. Of records that differ, one that matches its digest is taken. `is_whole`:
/// every repository was read, so that a record that none of them has was removed.
pub fn combine(read: &[RepositoryDrills], is_whole: bool) -> Evidence {
    let mut damage = Vec::new();
    let mut chosen: Vec<(&RepositoryName, StoredDrill)> = Vec::new();
    for RepositoryDrills { repository, history } in read {
        for drill in &history.drills {
            let id = &drill.record.identity.drill;
            if !drill.matches_digest {
                damage.push(Damage::Changed { drill: id.clone(), repository: repository.clone() });
            }
            let known = chosen.iter_mut().find(|(_, known)| known.record.identity.drill == *id);
            let Some((from, known)) = known else {
                chosen.push((repository, drill.clone()));
                continue;
            };
            if known.sha256 != drill.sha256 && known.matches_digest && drill.matches_digest {
                let repositories = [(*from).clone(), repository.clone()];
                damage.push(Damage::Differs { drill: id.clone(), repositories });
            }
            let acknowledgement = known.acknowledgement.clone().or_else(|| drill.acknowledgement.clone());
            if !known.matches_digest && drill.matches_digest {
                (*from, *known) = (repository, drill.clone());
            }
            known.acknowledgement = acknowledgement;
        }
    }
    let mut drills: Vec<StoredDrill> = chosen.into_iter().map(|(_, drill)| drill).collect();
    drills.sort_by(|a, b| a.record.identity.drill.cmp(&b.record.identity.drill));
    for drill in &drills {
        let seen = drill.acknowledgement.as_ref().filter(|seen| seen.sha256 != drill.sha256);
        damage.extend(seen.map(|seen| Damage::AcknowledgedOther {
            drill: drill.record.identity.drill.clone(),
            by: seen.by.clone(),
        }));
    }
    let history = DrillHistory { drills };
    for named_by in history.broken_links() {
        let of_link = history.drills.iter().find(|drill| drill.record.identity.drill == *named_by);
        let Some(previous) = of_link.and_then(|drill| drill.record.identity.previous.as_ref()) else {
            continue;
        };
        let (drill, named_by) = (previous.drill.clone(), named_by.clone());
        let is_known = history.drills.iter().any(|known| known.record.identity.drill == drill);
        match (is_known, is_whole) {
            (true, _) => damage.push(Damage::BrokenLink { drill, named_by }),
            (false, true) => damage.push(Damage::Removed { drill, named_by }),
            // It may be where nothing could be read.
            (false, false) => {}
        }
    }
    Evidence { history, damage }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::record::tests::passed;
    use super::super::record::{Acknowledgement, PreviousDrill};
    use super::*;
    use crate::model::Sha256Hex;

    /// Drills of some days, chained.
    fn chain(days: &[i64]) -> Vec<StoredDrill> {
        let mut drills: Vec<StoredDrill> = Vec::new();
        for day in days {
            let mut record = passed();
            record.begun += TimeDelta::days(*day);
            record.identity.drill = RunId::new(record.begun, 1);
            record.identity.previous = drills
                .last()
                .map(|last| PreviousDrill { drill: last.record.identity.drill.clone(), sha256: last.sha256 });
            let sha256 = Sha256Hex::digest(&serde_json::to_vec(&record).unwrap());
            drills.push(StoredDrill { record, sha256, matches_digest: true, acknowledgement: None });
        }
        drills
    }

    fn read(name: &str, drills: &[StoredDrill]) -> RepositoryDrills {
        let history = DrillHistory { drills: drills.to_vec() };
        RepositoryDrills { repository: name.parse().unwrap(), history }
    }

    fn said(evidence: &Evidence) -> Vec<String> {
        evidence.damage.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_intact_is_put_together() {
        let drills = chain(&[0, 30, 60]);
        let evidence = combine(&[read("primary", &drills[..2]), read("west", &drills[1..])], true);
        assert_eq!((evidence.history.drills.len(), said(&evidence)), (3, vec![]));
    }

    #[test]
    fn a_record_that_was_changed_is_named_and_an_intact_copy_is_taken() {
        let drills = chain(&[0, 30]);
        let mut changed = drills.clone();
        changed[0].record.results.rto_seconds = Some(1.0);
        changed[0].sha256 = Sha256Hex::digest(b"other");
        changed[0].matches_digest = false;
        let evidence = combine(&[read("primary", &changed), read("west", &drills)], true);
        assert_eq!(evidence.history.drills, drills);
        let id = &drills[0].record.identity.drill;
        assert_eq!(
            said(&evidence),
            [format!("the record of drill {id} in `primary` does not match its digest")]
        );
        // Alone, its link tells too.
        assert_eq!(said(&combine(&[read("primary", &changed)], true)).len(), 2);
    }

    #[test]
    fn a_record_that_was_changed_with_its_digest_differs_from_the_copy() {
        let drills = chain(&[0]);
        let mut changed = drills.clone();
        changed[0].sha256 = Sha256Hex::digest(b"other");
        let evidence = combine(&[read("primary", &drills), read("west", &changed)], true);
        assert!(matches!(evidence.damage.as_slice(), [Damage::Differs { .. }]), "{evidence:?}");
    }

    #[test]
    fn a_record_is_the_one_that_was_acknowledged() {
        let mut drills = chain(&[0]);
        let drill = drills[0].record.identity.drill.clone();
        let (sha256, at) = (drills[0].sha256, drills[0].record.begun);
        let seen = Acknowledgement { drill, sha256, by: "Ann".to_owned(), note: "seen".to_owned(), at };
        drills[0].acknowledgement = Some(seen);
        assert_eq!(combine(&[read("primary", &drills)], true).damage, []);
        // The record and its digest were replaced since.
        drills[0].sha256 = Sha256Hex::digest(b"other");
        let evidence = combine(&[read("primary", &drills)], true);
        assert!(matches!(evidence.damage.as_slice(), [Damage::AcknowledgedOther { .. }]), "{evidence:?}");
    }

    #[test]
    fn a_record_that_was_removed_is_missed_by_the_next_one() {
        let drills = chain(&[0, 30, 60]);
        let without = [drills[0].clone(), drills[2].clone()];
        let evidence = combine(&[read("primary", &without)], true);
        assert!(matches!(evidence.damage.as_slice(), [Damage::Removed { .. }]), "{evidence:?}");
        assert_eq!(combine(&[read("primary", &without)], false).damage, []);
    }
}
