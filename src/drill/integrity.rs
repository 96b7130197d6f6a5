//! What the repositories have of the records of drills, put together, and where they do not hold. Pure.

use std::fmt::{self, Display};

use serde::Serialize;

use super::evidence::{DrillHistory, StoredDrill, UnreadableObject};
use super::scenario::Scenario;
use crate::model::{RepositoryName, RunId, Sha256Hex};
use crate::repository::journal::{DRILL, JournalRecord};

/// What one repository has.
#[derive(Clone, Debug)]
pub struct RepositoryDrills {
    pub repository: RepositoryName,
    pub history: DrillHistory,
    pub unreadable: Vec<UnreadableObject>,
}

/// The record of a drill that a run of the journal names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournaledDrill {
    pub drill: RunId,
    pub sha256: Sha256Hex,
}

impl JournaledDrill {
    /// Returns `None` where the run is no drill, or no repository took its record.
    pub fn of(run: &JournalRecord) -> Option<Self> {
        let sha256 = run.detail.evidence.filter(|_| run.verb == DRILL)?;
        Some(Self { drill: run.run.clone(), sha256 })
    }
}

/// Evidence that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "damage", rename_all = "kebab-case")]
pub enum Damage {
    /// A record is not what its digest says.
    Changed { drill: RunId, repository: RepositoryName },
    /// Two repositories have different records, each with a digest that fits.
    Differs { drill: RunId, repositories: [RepositoryName; 2] },
    /// A record names the digest of the one before, and that one has another. Null: the journal names it.
    BrokenLink { drill: RunId, named_by: Option<RunId> },
    /// A record names one before it, which no repository has. Null: the journal names it.
    Removed { drill: RunId, named_by: Option<RunId> },
    /// A record names none before it, although there was one when its drill began.
    Unchained { drill: RunId },
    /// Someone acknowledged a record with another digest.
    AcknowledgedOther { drill: RunId, by: String },
    /// An object is no record of a drill, or cannot be read.
    Unreadable { drill: Option<RunId>, repository: RepositoryName, reason: String },
}

impl Damage {
    /// Returns the drill whose record does not hold.
    pub fn drill(&self) -> Option<&RunId> {
        match self {
            Self::Changed { drill, .. }
            | Self::Differs { drill, .. }
            | Self::BrokenLink { drill, .. }
            | Self::AcknowledgedOther { drill, .. }
            | Self::Removed { drill, .. }
            | Self::Unchained { drill } => Some(drill),
            Self::Unreadable { drill, .. } => drill.as_ref(),
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
                let names = witness(named_by.as_ref());
                write!(f, "the record of drill {drill} is not the one that {names} names")
            }
            Self::Removed { drill, named_by } => {
                let names = witness(named_by.as_ref());
                write!(f, "there is no record of drill {drill}, which {names} names")
            }
            Self::Unchained { drill } => {
                write!(f, "the record of drill {drill} names none before it, and there are older ones")
            }
            Self::AcknowledgedOther { drill, by } => {
                write!(f, "the record of drill {drill} is not the one that {by} has acknowledged")
            }
            Self::Unreadable { repository, reason, .. } => write!(f, "a record in `{repository}`: {reason}"),
        }
    }
}

fn witness(named_by: Option<&RunId>) -> String {
    named_by.map_or("the journal".to_owned(), |named_by| format!("the record of drill {named_by}"))
}

/// The records of a system, and what is wrong with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    pub history: DrillHistory,
    pub damage: Vec<Damage>,
}

/// Puts together what repositories have. Of records that differ, one that matches its digest is taken. `journal`:
/// what the journal names. `is_whole`: every repository was read, so that a record that none of them has was removed.
pub fn combine(read: &[RepositoryDrills], journal: &[JournaledDrill], is_whole: bool) -> Evidence {
    let mut history = DrillHistory::default();
    read.iter().for_each(|one| history.merge(one.history.clone()));
    let mut damage = damaged_copies(read);
    for drill in &history.drills {
        let seen = drill.acknowledgement.as_ref().filter(|seen| seen.sha256 != drill.sha256);
        damage.extend(
            seen.map(|seen| Damage::AcknowledgedOther { drill: id(drill).clone(), by: seen.by.clone() }),
        );
    }
    for RepositoryDrills { repository, unreadable, .. } in read {
        damage.extend(unreadable.iter().map(|object| Damage::Unreadable {
            drill: object.drill.clone(),
            repository: repository.clone(),
            reason: object.reason.clone(),
        }));
    }
    damage.extend(broken_links(&history, read, is_whole));
    damage.extend(unchained(&history));
    let missed = broken_in_journal(&history, read, journal, is_whole);
    // Said once.
    let is_news = |found: &Damage| damage.iter().all(|known| known.drill() != found.drill());
    let missed: Vec<Damage> = missed.into_iter().filter(is_news).collect();
    damage.extend(missed);
    Evidence { history, damage }
}

fn id(drill: &StoredDrill) -> &RunId {
    &drill.record.identity.drill
}

/// Returns the copies that do not hold. One whose digest was not written holds where another repository has both.
fn damaged_copies(read: &[RepositoryDrills]) -> Vec<Damage> {
    let mut damage = Vec::new();
    let copies: Vec<(&RepositoryName, &StoredDrill)> =
        read.iter().flat_map(|one| one.history.drills.iter().map(|drill| (&one.repository, drill))).collect();
    for (repository, drill) in &copies {
        let mut intact = copies.iter().filter(|(_, other)| other.matches_digest && id(other) == id(drill));
        let (drill_id, repository) = (id(drill).clone(), (*repository).clone());
        if !drill.matches_digest {
            if !intact.any(|(_, other)| other.sha256 == drill.sha256) {
                damage.push(Damage::Changed { drill: drill_id, repository });
            }
        } else if let Some((first, _)) = intact.next().filter(|(_, first)| first.sha256 != drill.sha256) {
            damage.push(Damage::Differs { drill: drill_id, repositories: [(*first).clone(), repository] });
        }
    }
    damage
}

/// Returns the damage where a record is not the one that `named_by` names.
fn missed(
    drill: RunId,
    named_by: Option<RunId>,
    history: &DrillHistory,
    read: &[RepositoryDrills],
    is_whole: bool,
) -> Option<Damage> {
    let mut unreadable = read.iter().flat_map(|one| &one.unreadable);
    match history.find(&drill) {
        Some(_) => Some(Damage::BrokenLink { drill, named_by }),
        // It is reported already.
        None if unreadable.any(|object| object.drill.as_ref() == Some(&drill)) => None,
        None if is_whole => Some(Damage::Removed { drill, named_by }),
        // It may be where nothing could be read.
        None => None,
    }
}

fn broken_links(history: &DrillHistory, read: &[RepositoryDrills], is_whole: bool) -> Vec<Damage> {
    let damage = history.broken_links().into_iter().filter_map(|named_by| {
        let previous = history.find(named_by)?.record.identity.previous.as_ref()?;
        missed(previous.drill.clone(), Some(named_by.clone()), history, read, is_whole)
    });
    damage.collect()
}

/// Returns the records that the journal names and no repository has: the newest, and those of a fork, are named by no
/// later record.
fn broken_in_journal(
    history: &DrillHistory,
    read: &[RepositoryDrills],
    journal: &[JournaledDrill],
    is_whole: bool,
) -> Vec<Damage> {
    let has = |named: &&JournaledDrill| {
        let mut copies = read.iter().filter_map(|one| one.history.find(&named.drill));
        copies.any(|copy| copy.sha256 == named.sha256)
    };
    let missing = journal.iter().filter(|named| !has(named));
    missing.filter_map(|named| missed(named.drill.clone(), None, history, read, is_whole)).collect()
}

/// Returns the records that name none before them, although one had been written when they began. Two hosts that run
/// the first drill at once make a fork.
fn unchained(history: &DrillHistory) -> Vec<Damage> {
    let earliest = history.drills.iter().map(|drill| drill.record.ended).min();
    let is_unchained = |drill: &&StoredDrill| {
        // What was lost for these is not read.
        drill.record.identity.previous.is_none()
            && !matches!(drill.record.identity.scenario, Scenario::RegionLoss | Scenario::Ransomware)
            && earliest.is_some_and(|earliest| earliest < drill.record.begun)
    };
    let found = history.drills.iter().filter(is_unchained);
    found.map(|drill| Damage::Unchained { drill: id(drill).clone() }).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::TimeDelta;

    use super::super::record::tests::passed;
    use super::super::record::{Acknowledgement, DrillRecord, PreviousDrill};
    use super::*;
    use crate::model::Outcome;
    use crate::repository::journal::Detail;

    fn stored(record: DrillRecord) -> StoredDrill {
        let bytes = Bytes::from(serde_json::to_vec(&record).unwrap());
        let sha256 = Sha256Hex::digest(&bytes);
        StoredDrill { record, bytes, sha256, matches_digest: true, acknowledgement: None }
    }

    /// Drills of some days, chained.
    fn chain(days: &[i64]) -> Vec<StoredDrill> {
        let mut drills: Vec<StoredDrill> = Vec::new();
        for day in days {
            let mut record = passed();
            record.begun += TimeDelta::days(*day);
            record.ended += TimeDelta::days(*day);
            record.identity.drill = RunId::new(record.begun, 1);
            record.identity.previous = drills
                .last()
                .map(|last| PreviousDrill { drill: last.record.identity.drill.clone(), sha256: last.sha256 });
            drills.push(stored(record));
        }
        drills
    }

    fn read(name: &str, drills: &[StoredDrill]) -> RepositoryDrills {
        let history = DrillHistory { drills: drills.to_vec() };
        RepositoryDrills { repository: name.parse().unwrap(), history, unreadable: vec![] }
    }

    fn journaled(drill: &StoredDrill) -> JournaledDrill {
        JournaledDrill { drill: id(drill).clone(), sha256: drill.sha256 }
    }

    fn said(evidence: &Evidence) -> Vec<String> {
        evidence.damage.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_intact_is_put_together() {
        let drills = chain(&[0, 30, 60]);
        let evidence = combine(&[read("primary", &drills[..2]), read("west", &drills[1..])], &[], true);
        assert_eq!((evidence.history.drills.len(), said(&evidence)), (3, vec![]));
    }

    #[test]
    fn a_record_that_was_changed_is_named_and_an_intact_copy_is_taken() {
        let drills = chain(&[0, 30]);
        let mut changed = drills.clone();
        changed[0].record.results.rto_seconds = Some(1.0);
        changed[0].sha256 = Sha256Hex::digest(b"other");
        changed[0].matches_digest = false;
        let evidence = combine(&[read("primary", &changed), read("west", &drills)], &[], true);
        assert_eq!(evidence.history.drills, drills);
        let id = &drills[0].record.identity.drill;
        assert_eq!(
            said(&evidence),
            [format!("the record of drill {id} in `primary` does not match its digest")]
        );
        // Alone, its link tells too.
        assert_eq!(said(&combine(&[read("primary", &changed)], &[], true)).len(), 2);
    }

    #[test]
    fn a_record_that_was_changed_with_its_digest_differs_from_the_copy() {
        let drills = chain(&[0]);
        let mut changed = drills.clone();
        changed[0].sha256 = Sha256Hex::digest(b"other");
        let evidence = combine(&[read("primary", &drills), read("west", &changed)], &[], true);
        assert!(matches!(evidence.damage.as_slice(), [Damage::Differs { .. }]), "{evidence:?}");
    }

    #[test]
    fn a_record_is_the_one_that_was_acknowledged() {
        let mut drills = chain(&[0]);
        let drill = drills[0].record.identity.drill.clone();
        let (sha256, at) = (drills[0].sha256, drills[0].record.begun);
        let seen = Acknowledgement { drill, sha256, by: "Ann".to_owned(), note: "seen".to_owned(), at };
        drills[0].acknowledgement = Some(seen);
        assert_eq!(combine(&[read("primary", &drills)], &[], true).damage, []);
        // The record and its digest were replaced since.
        drills[0].sha256 = Sha256Hex::digest(b"other");
        let evidence = combine(&[read("primary", &drills)], &[], true);
        assert!(matches!(evidence.damage.as_slice(), [Damage::AcknowledgedOther { .. }]), "{evidence:?}");
    }

    #[test]
    fn a_record_that_was_removed_is_missed_by_the_next_one() {
        let drills = chain(&[0, 30, 60]);
        let without = [drills[0].clone(), drills[2].clone()];
        let evidence = combine(&[read("primary", &without)], &[], true);
        assert!(matches!(evidence.damage.as_slice(), [Damage::Removed { .. }]), "{evidence:?}");
        assert_eq!(combine(&[read("primary", &without)], &[], false).damage, []);
    }

    #[test]
    fn a_record_without_its_digest_holds_where_another_repository_has_both() {
        let drills = chain(&[0]);
        let mut bare = drills.clone();
        bare[0].matches_digest = false;
        for read in
            [[read("primary", &bare), read("west", &drills)], [read("west", &drills), read("primary", &bare)]]
        {
            let evidence = combine(&read, &[], true);
            assert_eq!((said(&evidence), &evidence.history.drills), (vec![], &drills));
        }
        let alone = combine(&[read("primary", &bare)], &[], true);
        assert!(matches!(alone.damage.as_slice(), [Damage::Changed { .. }]), "{alone:?}");
    }

    #[test]
    fn what_no_later_record_names_is_missed_by_the_journal() {
        let drills = chain(&[0, 30]);
        let journal: Vec<JournaledDrill> = drills.iter().map(journaled).collect();
        assert_eq!(combine(&[read("primary", &drills)], &journal, true).damage, []);
        let newest = id(&drills[1]).clone();
        let without = [read("primary", &drills[..1]), read("west", &[])];
        let evidence = combine(&without, &journal, true);
        assert_eq!(
            said(&evidence),
            [format!("there is no record of drill {newest}, which the journal names")]
        );
        assert_eq!(combine(&without, &journal, false).damage, []);
        // All of them: nothing is left that names another.
        assert_eq!(combine(&[read("primary", &[])], &journal, true).damage.len(), 2);
        // Replaced, with its digest.
        let mut other = drills.clone();
        other[1].sha256 = Sha256Hex::digest(b"other");
        let evidence = combine(&[read("primary", &other)], &journal, true);
        let words = format!("the record of drill {newest} is not the one that the journal names");
        assert_eq!(said(&evidence), [words]);
        // What a later record names is said once.
        let evidence = combine(&[read("primary", &drills[1..])], &journal, true);
        let named_by = Some(newest);
        assert_eq!(evidence.damage, [Damage::Removed { drill: id(&drills[0]).clone(), named_by }]);
    }

    #[test]
    fn only_the_run_of_a_drill_with_a_record_names_one() {
        let begun = passed().begun;
        let detail = Detail { evidence: Some(Sha256Hex::digest(b"x")), ..Detail::default() };
        let run = RunId::new(begun, 1);
        let mut record =
            JournalRecord::new(&run, DRILL, (begun, begun), "a", Outcome::Succeeded, detail.clone());
        assert_eq!(JournaledDrill::of(&record).unwrap().drill, run);
        record.verb = "restore".to_owned();
        assert_eq!(JournaledDrill::of(&record), None);
        (record.verb, record.detail.evidence) = (DRILL.to_owned(), None);
        assert_eq!(JournaledDrill::of(&record), None);
    }

    #[test]
    fn a_record_after_the_first_names_one_before_it() {
        let mut drills = chain(&[0, 30]);
        let mut record = drills[1].record.clone();
        record.identity.previous = None;
        // The repositories with the others were lost for it.
        drills[1] = stored(record.clone());
        assert_eq!(combine(&[read("primary", &drills)], &[], true).damage, []);
        record.identity.scenario = Scenario::Newest;
        drills[1] = stored(record);
        let evidence = combine(&[read("primary", &drills)], &[], true);
        assert_eq!(evidence.damage, [Damage::Unchained { drill: id(&drills[1]).clone() }]);
        // Two hosts began the first drill at once.
        let mut record = drills[0].record.clone();
        record.identity.drill = RunId::new(record.begun + TimeDelta::seconds(9), 2);
        record.begun += TimeDelta::seconds(9);
        let evidence = combine(&[read("primary", &[drills[0].clone(), stored(record)])], &[], true);
        assert_eq!(evidence.damage, []);
    }

    #[test]
    fn an_object_that_is_unreadable_is_damage_and_not_removed() {
        let drills = chain(&[0, 30]);
        let mut primary = read("primary", &drills[1..]);
        let drill = Some(id(&drills[0]).clone());
        primary.unreadable.push(UnreadableObject { drill: drill.clone(), reason: "junk".to_owned() });
        let journal: Vec<JournaledDrill> = drills.iter().map(journaled).collect();
        let evidence = combine(&[primary], &journal, true);
        assert_eq!(said(&evidence), ["a record in `primary`: junk"]);
        assert_eq!(evidence.damage[0].drill(), drill.as_ref());
    }
}
