use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::hidden::{
    ComparedVersions, HiddenHow, HiddenPart, KeyVersions, Undeletion, committed, hidden_items, is_suspect,
};
use super::undelete::plan_undelete;
use crate::model::{BackupId, Outcome, RepositoryName, RunId, SystemName};
use crate::repository::journal::{Detail, JournalRecord, Removal, Tombstones};
use crate::repository::layout;
use crate::store::ObjectVersion;

fn at(hour: i64) -> DateTime<Utc> {
    "2026-11-20T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hour)
}

fn system() -> SystemName {
    "shop".parse().unwrap()
}

fn primary() -> RepositoryName {
    "primary".parse().unwrap()
}

fn id(day: u32) -> BackupId {
    format!("202611{day:02}T030000Z-db-logical-2222").parse().unwrap()
}

fn data(name: &str, hour: i64, etag: &str) -> ObjectVersion {
    let id = Some(name.to_owned());
    ObjectVersion { id, modified: at(hour), size: Some(10), is_latest: false, etag: etag.to_owned() }
}

fn marker(name: &str, hour: i64) -> ObjectVersion {
    ObjectVersion { size: None, etag: String::new(), ..data(name, hour, "") }
}

fn key(key: String, versions: &[ObjectVersion]) -> KeyVersions {
    KeyVersions { key, versions: versions.to_vec(), compared: None }
}

fn dump(backup: &BackupId) -> String {
    layout::object(&system(), backup, "database.dump.zst.age")
}

fn manifest(backup: &BackupId) -> String {
    layout::manifest(&system(), backup)
}

fn found(keys: &[KeyVersions], tombstones: &Tombstones) -> Vec<super::HiddenItem> {
    let committed = keys.iter().filter_map(committed).collect();
    hidden_items(&primary(), &system(), keys, &committed, tombstones)
}

#[test]
fn delete_markers_are_removed_and_the_oldest_says_since_when() {
    let backup = id(1);
    let keys = [
        key(dump(&backup), &[marker("m2", 9), marker("m1", 8), data("v", 1, "a")]),
        key(manifest(&backup), &[marker("m3", 7), data("w", 2, "b")]),
    ];
    let items = found(&keys, &Tombstones::default());
    let [item] = &items[..] else { panic!("{items:?}") };
    assert_eq!((&item.part, item.since), (&HiddenPart::Backup(backup), at(7)));
    assert_eq!(item.count(HiddenHow::Hidden), 2);
    assert_eq!(item.objects[0].since, at(8));
    let markers = Undeletion::RemoveMarkers(vec!["m2".to_owned(), "m1".to_owned()]);
    assert!(item.objects.iter().any(|object| object.undeletion == markers), "{item:?}");
}

#[test]
fn a_backup_whose_data_alone_is_hidden_is_no_leftover() {
    let backup = id(1);
    let hidden = [key(dump(&backup), &[marker("m", 8), data("v", 1, "a")])];
    let found = |committed: &[BackupId]| {
        let committed: BTreeSet<BackupId> = committed.iter().cloned().collect();
        hidden_items(&primary(), &system(), &hidden, &committed, &Tombstones::default())
    };
    assert_eq!(found(&[]), [], "an interrupted run took it back");
    let items = found(std::slice::from_ref(&backup));
    assert_eq!(items[0].part, HiddenPart::Backup(backup));
    assert_eq!(items[0].objects[0].undeletion, Undeletion::RemoveMarkers(vec!["m".to_owned()]));
}

#[test]
fn the_marker_and_the_record_of_the_cluster_are_written_once() {
    let cluster = layout::wal_cluster(&system(), &"db".parse().unwrap());
    for written_once in [layout::MARKER.to_owned(), layout::BY_HAND.to_owned(), cluster] {
        for on_top in [None, Some(marker("m", 6))] {
            let mut versions: Vec<ObjectVersion> = on_top.into_iter().collect();
            versions.extend([data("garbage", 5, "x"), data("first", 1, "a")]);
            let items = found(&[key(written_once.clone(), &versions)], &Tombstones::default());
            let first = Undeletion::CopyVersion { version: "first".to_owned(), size: 10 };
            assert_eq!(items[0].objects[0].undeletion, first, "{written_once}");
        }
    }
}

#[test]
fn of_what_is_written_once_the_first_version_comes_back_also_from_under_a_marker() {
    let backup = id(1);
    let first = Undeletion::CopyVersion { version: "first".to_owned(), size: 10 };
    for versions in [
        vec![data("other", 5, "x"), data("first", 1, "a")],
        vec![marker("m", 6), data("other", 5, "x"), data("first", 1, "a")],
        // Deleted, written again, as a repository with a marker takes it.
        vec![data("other", 5, "x"), marker("m", 4), data("first", 1, "a")],
    ] {
        let items = found(&[key(manifest(&backup), &versions)], &Tombstones::default());
        assert_eq!(items[0].objects[0].undeletion, first, "{versions:?}");
    }
    // The same bytes, copied back by `copies sync`, are as good.
    let again = [data("again", 5, "a"), marker("m", 4), data("first", 1, "a")];
    assert!(!is_suspect(&again));
    assert_eq!(found(&[key(manifest(&backup), &again)], &Tombstones::default()), []);
}

#[test]
fn of_an_object_the_version_whose_bytes_are_right_comes_back_and_a_repair_stays() {
    let backup = id(1);
    let judged = |versions: &[ObjectVersion], intact: Option<&str>| {
        let compared = ComparedVersions { intact: intact.map(str::to_owned) };
        let object = KeyVersions { compared: Some(compared), ..key(dump(&backup), versions) };
        let items = found(&[object, key(manifest(&backup), &[data("w", 2, "b")])], &Tombstones::default());
        items.first().map(|item| item.objects[0].undeletion.clone())
    };
    let versions = [data("new", 5, "x"), data("old", 1, "a")];
    assert_eq!(
        judged(&versions, Some("old")),
        Some(Undeletion::CopyVersion { version: "old".to_owned(), size: 10 })
    );
    assert_eq!(judged(&versions, Some("new")), None, "it was repaired");
    assert_eq!(judged(&versions, None), Some(Undeletion::Impossible));
}

#[test]
fn what_retention_removed_comes_back_by_its_id_alone_and_what_was_no_backup_never() {
    let hidden = |backup: &BackupId| {
        [
            key(dump(backup), &[marker("m", 8), data("v", 1, "a")]),
            key(manifest(backup), &[marker("n", 7), data("w", 2, "b")]),
        ]
    };
    let mut keys = [hidden(&id(1)), hidden(&id(2))].concat();
    // An interrupted run took back what it had written; a lease was released; a file is someone else's.
    keys.push(key(dump(&id(3)), &[marker("m", 8), data("v", 1, "a")]));
    keys.push(key("shop/leases/db.json".to_owned(), &[marker("m", 8), data("v", 1, "a")]));
    keys.push(key("shop/notes.txt".to_owned(), &[marker("m", 8), data("v", 1, "a")]));
    keys.push(key(layout::MARKER.to_owned(), &[marker("m", 8), data("v", 1, "a")]));
    let removal =
        Removal { backup: id(2), repository: primary(), objects: vec![], reason: "older".to_owned() };
    let detail = Detail { removals: vec![removal], ..Detail::default() };
    let times = (at(6), at(6));
    let record =
        JournalRecord::new(&RunId::new(at(6), 1), "tombstones", times, "a", Outcome::Succeeded, detail);
    let tombstones = Tombstones::new([&record]);
    let parts = |items: &[super::HiddenItem]| items.iter().map(|item| item.part.clone()).collect::<Vec<_>>();
    let backup = |day| HiddenPart::Backup(id(day));

    let plan = plan_undelete(found(&keys, &tombstones), &[]);
    assert_eq!(parts(&plan.items), [HiddenPart::Records, backup(1)], "the records come first");
    assert_eq!(parts(&plan.removed), [backup(2)]);
    let plan = plan_undelete(found(&keys, &tombstones), &[id(2)]);
    assert_eq!(parts(&plan.items), [HiddenPart::Records, backup(2)]);
    assert_eq!(plan.removed, []);
}
