//! Where a system stands: what each repository could give back right now, and how old it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::catalog::BackupEntry;
use crate::model::{BackupId, RepositoryName, SourceName, State};

/// A repository of the policy, and whether it could be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub name: RepositoryName,
    /// False where what is known of it may be old.
    pub reached: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceStanding {
    pub source: SourceName,
    pub verdict: Verdict,
    pub places: Vec<PlaceStanding>,
}

/// One source in one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceStanding {
    pub repository: RepositoryName,
    pub verdict: Verdict,
    /// The newest that can be restored from there.
    pub newest: Option<Newest>,
    /// A newer one is elsewhere.
    pub behind: bool,
    /// Newer ones there that cannot be restored: the last check found them bad.
    pub bad: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Newest {
    pub backup: BackupId,
    pub recovery_point: DateTime<Utc>,
    /// How much would be lost if it were restored now.
    pub age_seconds: u64,
    pub state: State,
}

impl Newest {
    pub fn age(&self) -> Duration {
        Duration::from_secs(self.age_seconds)
    }
}

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Ok,
    /// Inside the objective, but a newer backup is elsewhere.
    Behind,
    /// It could not be reached, so nothing is promised.
    NotReached,
    /// Restoring it now would lose more than the objective allows.
    ObjectiveMissed,
    /// There is nothing to restore.
    Nothing,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Behind => "behind",
            Self::NotReached => "not reached",
            Self::ObjectiveMissed => "objective missed",
            Self::Nothing => "nothing to restore",
        }
    }
}

/// Judges each source in each repository. A source is as good as its worst place, since any of the others may
/// be the one that is lost; but it has nothing to restore only where every place that was reached has nothing.
pub fn assess(
    sources: &[SourceName],
    places: &[Place],
    entries: &[BackupEntry],
    rpo: Duration,
    now: DateTime<Utc>,
) -> Vec<SourceStanding> {
    sources.iter().map(|source| assess_source(source, places, entries, rpo, now)).collect()
}

fn assess_source(
    source: &SourceName,
    places: &[Place],
    entries: &[BackupEntry],
    rpo: Duration,
    now: DateTime<Utc>,
) -> SourceStanding {
    let mut own: Vec<_> = entries.iter().filter(|entry| entry.manifest.source == *source).collect();
    own.sort_by_key(|entry| std::cmp::Reverse((entry.manifest.recovery_point, entry.id().clone())));
    let mut standings: Vec<_> = places.iter().map(|place| assess_place(place, &own, rpo, now)).collect();
    let best = standings.iter().filter_map(|place| Some(place.newest.as_ref()?.recovery_point)).max();
    for place in &mut standings {
        let own = place.newest.as_ref().map(|newest| newest.recovery_point);
        place.behind = own < best;
        if place.behind && place.verdict == Verdict::Ok {
            place.verdict = Verdict::Behind;
        }
    }
    let has_any = standings.iter().any(|place| place.newest.is_some());
    let worst = standings.iter().map(|place| match place.verdict {
        // A place that has nothing misses the objective; the source has something elsewhere.
        Verdict::Nothing if has_any => Verdict::ObjectiveMissed,
        verdict => verdict,
    });
    let verdict = if !has_any && standings.iter().any(|place| place.verdict == Verdict::NotReached) {
        Verdict::NotReached
    } else {
        worst.max().unwrap_or(Verdict::Nothing)
    };
    SourceStanding { source: source.clone(), verdict, places: standings }
}

fn assess_place(place: &Place, own: &[&BackupEntry], rpo: Duration, now: DateTime<Utc>) -> PlaceStanding {
    let held: Vec<_> = own
        .iter()
        .filter_map(|entry| Some((entry, entry.copy(&place.name).filter(|copy| copy.is_held())?)))
        .collect();
    let bad = held.iter().take_while(|(_, copy)| !copy.is_good()).count();
    let newest = held.get(bad).map(|(entry, copy)| {
        let recovery_point = entry.manifest.recovery_point;
        let age = (now - recovery_point).num_seconds();
        let age_seconds = u64::try_from(age).unwrap_or(0);
        Newest { backup: entry.id().clone(), recovery_point, age_seconds, state: copy.state }
    });
    let verdict = match &newest {
        _ if !place.reached => Verdict::NotReached,
        None => Verdict::Nothing,
        Some(newest) if newest.age() > rpo => Verdict::ObjectiveMissed,
        Some(_) => Verdict::Ok,
    };
    PlaceStanding { repository: place.name.clone(), verdict, newest, behind: false, bad }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CopyEntry;
    use crate::model::{CheckDepth, CopyCheck, Fault, ObjectFault};
    use crate::repository::sample::{backup, noon};
    use chrono::TimeDelta;

    const RPO: Duration = Duration::from_secs(3600);

    fn entry(minutes: i64, copies: &[(&str, bool)]) -> BackupEntry {
        let manifest = backup(minutes).0;
        let copies = copies.iter().map(|(name, good)| {
            let fault = ObjectFault { object: "x".into(), fault: Fault::Short, detail: String::new() };
            let repository: RepositoryName = name.parse().unwrap();
            let check = CopyCheck {
                backup: manifest.id.clone(),
                repository: repository.clone(),
                at: noon(),
                depth: CheckDepth::Stored,
                faults: vec![fault],
            };
            let last_check = (!good).then_some(check);
            CopyEntry { repository, state: State::Stored, vanished: None, last_check }
        });
        BackupEntry { copies: copies.collect(), manifest }
    }

    fn verdicts(entries: &[BackupEntry], reached: [bool; 2], minutes: i64) -> (Verdict, Verdict, Verdict) {
        let place = |name: &str, reached| Place { name: name.parse().unwrap(), reached };
        let places = [place("primary", reached[0]), place("copy", reached[1])];
        let source = "database".parse().unwrap();
        let now = noon() + TimeDelta::minutes(minutes);
        let standing = assess(&[source], &places, entries, RPO, now).remove(0);
        (standing.verdict, standing.places[0].verdict, standing.places[1].verdict)
    }

    #[test]
    fn each_place_is_judged_by_the_newest_it_could_give_back() {
        use Verdict::{Behind, NotReached, Nothing, ObjectiveMissed, Ok};
        let both = [("primary", true), ("copy", true)];
        let all = [true, true];
        assert_eq!(verdicts(&[entry(0, &both)], all, 60), (Ok, Ok, Ok));
        assert_eq!(
            verdicts(&[entry(0, &both)], all, 61),
            (ObjectiveMissed, ObjectiveMissed, ObjectiveMissed)
        );
        // A copy that lags is behind, then too old; one that has nothing misses the objective.
        let lagging = [entry(0, &both), entry(30, &both[..1])];
        assert_eq!(verdicts(&lagging, all, 50), (Behind, Ok, Behind));
        assert_eq!(verdicts(&lagging, all, 70), (ObjectiveMissed, Ok, ObjectiveMissed));
        assert_eq!(verdicts(&[entry(0, &both[..1])], all, 5), (ObjectiveMissed, Ok, Nothing));
        assert_eq!(verdicts(&[], all, 5), (Nothing, Nothing, Nothing));
        // What could not be reached is not promised, and not condemned.
        assert_eq!(verdicts(&[entry(0, &both)], [true, false], 5), (NotReached, Ok, NotReached));
        assert_eq!(verdicts(&[], [true, false], 5), (NotReached, Nothing, NotReached));
        // A backup known to be bad does not count.
        let bad = [entry(0, &both), entry(30, &[("primary", true), ("copy", false)])];
        assert_eq!(verdicts(&bad, all, 50), (Behind, Ok, Behind));
        // A clock that was set back does not make it older.
        assert_eq!(verdicts(&[entry(30, &both)], all, 0), (Ok, Ok, Ok));
    }
}
