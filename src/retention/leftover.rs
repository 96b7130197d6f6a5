//! Objects of no backup: what an interrupted run left, a removal that was stopped, or an upload that never ended. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::model::{BackupId, RepositoryName};
use crate::repository::journal::JournalRecord;

/// How old the newest object of a backup without a manifest must be before it is removed: a run that was interrupted is
/// resumed until then.
pub(super) const GRACE: TimeDelta = TimeDelta::days(7);

/// What is known of a backup whose manifest is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    None,
    /// It was a backup once, whatever became of its manifest: its objects go with a tombstone only.
    Committed,
    /// It is on hold: its objects stay.
    Held,
}

/// Objects of one backup that has no manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leftover {
    pub repository: RepositoryName,
    pub backup: BackupId,
    /// Names of objects that drctl wrote.
    pub objects: Vec<String>,
    pub bytes: u64,
    pub newest: DateTime<Utc>,
    /// Its tombstone was written: it was removed, and something stopped that.
    pub has_tombstone: bool,
    /// It goes now.
    pub is_due: bool,
}

/// Returns what of no backup there is. `objects`: of backups without a manifest, each: name, size, and when it was
/// written.
pub(super) fn leftovers(
    repository: &RepositoryName,
    objects: BTreeMap<BackupId, Vec<(String, u64, DateTime<Utc>)>>,
    runs: &[JournalRecord],
    claim: impl Fn(&BackupId) -> Claim,
    now: DateTime<Utc>,
) -> Vec<Leftover> {
    let mut tombstones: BTreeMap<&BackupId, &[String]> = BTreeMap::new();
    for removal in runs.iter().flat_map(|run| &run.detail.removals) {
        if removal.repository == *repository {
            tombstones.insert(&removal.backup, &removal.objects);
        }
    }
    let mut found = Vec::new();
    for (backup, objects) in objects {
        let tombstone = tombstones.get(&backup);
        let is_ours = |name: &str| match tombstone {
            Some(named) => named.iter().any(|known| known == name),
            None => is_artifact(name),
        };
        let ours: Vec<_> = objects.into_iter().filter(|(name, ..)| is_ours(name)).collect();
        let Some(newest) = ours.iter().map(|(.., at)| *at).max() else { continue };
        let is_due = match claim(&backup) {
            Claim::Held => false,
            Claim::Committed => tombstone.is_some(),
            Claim::None => tombstone.is_some() || newest < now - GRACE,
        };
        found.push(Leftover {
            repository: repository.clone(),
            backup,
            bytes: ours.iter().map(|(_, size, _)| size).sum(),
            objects: ours.into_iter().map(|(name, ..)| name).collect(),
            newest,
            has_tombstone: tombstone.is_some(),
            is_due,
        });
    }
    found
}

/// Whether drctl gives objects such names: one of its encodings at the end, and a number where it was split.
fn is_artifact(name: &str) -> bool {
    let is_number = |text: &str| text.len() >= 3 && text.bytes().all(|b| b.is_ascii_digit());
    let whole = match name.rsplit_once('.') {
        Some((whole, number)) if is_number(number) => whole,
        _ => name,
    };
    whole.ends_with(".zst") || whole.ends_with(".zst.age")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Outcome, RunId};
    use crate::repository::journal::{Detail, Removal};

    #[test]
    fn only_what_drctl_writes_is_left_over_and_only_after_a_while() {
        let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
        let repository: RepositoryName = "primary".parse().unwrap();
        let id =
            |day: u32| -> BackupId { format!("202611{day:02}T030000Z-db-logical-2222").parse().unwrap() };
        let object = |name: &str, days: i64| (name.to_owned(), 10, now - TimeDelta::days(days));
        let objects = BTreeMap::from([
            (id(1), vec![object("database.dump.zst.age", 19), object("database.dump.zst.age.001", 19)]),
            (id(2), vec![object("notes.txt", 18), object("database.dump.zst.age.bak", 18)]),
            (id(18), vec![object("base.tar.zst.age", 2)]),
            (id(19), vec![object("base.tar.zst.age", 1), object("other.tar.zst.age", 1)]),
            // Its manifest was lost.
            (id(3), vec![object("base.tar.zst.age", 17)]),
        ]);
        let removal = Removal {
            backup: id(19),
            repository: repository.clone(),
            objects: vec!["base.tar.zst.age".to_owned()],
            reason: "older than every rule".to_owned(),
        };
        let detail = Detail { removals: vec![removal], ..Detail::default() };
        let record = JournalRecord::new(
            &RunId::new(now, 1),
            "tombstones",
            (now, now),
            "a",
            Outcome::Succeeded,
            detail,
        );
        let lost = |backup: &BackupId| if *backup == id(3) { Claim::Committed } else { Claim::None };
        let found = leftovers(&repository, objects.clone(), std::slice::from_ref(&record), lost, now);
        let told: Vec<_> = found.iter().map(|left| (&left.backup, left.objects.len(), left.is_due)).collect();
        assert_eq!(told, [(&id(1), 2, true), (&id(3), 1, false), (&id(18), 1, false), (&id(19), 1, true)]);
        // On hold, it stays also where it was to go.
        let found = leftovers(&repository, objects, &[record], |_| Claim::Held, now);
        assert!(found.iter().all(|left| !left.is_due), "{found:?}");
    }
}
