//! The only code that builds keys. FORMAT.md defines the object under each.

use chrono::{DateTime, Datelike as _, Utc};

use crate::model::{BackupId, RunId, SourceName, SystemIdentifier, SystemName, Timeline, WalName};

pub use crate::store::MARKER;
pub const BY_HAND: &str = "RESTORE-BY-HAND.txt";
pub const MANIFEST: &str = "manifest.json";
const WAL_CLUSTER: &str = "cluster.json";

/// Returns the prefix of one system.
pub fn system(system: &SystemName) -> String {
    format!("{system}/")
}

/// Returns the prefix of every backup of one source.
pub fn backups(system: &SystemName, source: &SourceName) -> String {
    format!("{system}/{source}/backups/")
}

/// Returns the folder of one backup, with a trailing `/`.
pub fn backup(system: &SystemName, id: &BackupId) -> String {
    format!("{}{id}/", backups(system, id.source()))
}

pub fn manifest(system: &SystemName, id: &BackupId) -> String {
    format!("{}{MANIFEST}", backup(system, id))
}

/// Returns the key of an object of an artifact; `name` is [`crate::model::ObjectPart::name`].
pub fn object(system: &SystemName, id: &BackupId, name: &str) -> String {
    format!("{}{name}", backup(system, id))
}

/// Returns the name of an artifact's `n`-th object, from 0.
pub fn object_name(artifact: &str, n: usize) -> String {
    if n == 0 { artifact.to_owned() } else { format!("{artifact}.{n:03}") }
}

/// Returns the pattern for the keys of every backup of a system, with `*` for what varies, for grants of
/// rights by key.
pub fn every_backup(system: &SystemName) -> String {
    format!("{system}/*/backups/*")
}

pub fn every_manifest(system: &SystemName) -> String {
    format!("{}/{MANIFEST}", every_backup(system))
}

pub fn every_wal_object(system: &SystemName) -> String {
    format!("{system}/*/wal/*")
}

pub fn every_wal_cluster(system: &SystemName) -> String {
    format!("{}{WAL_CLUSTER}", every_wal_object(system))
}

pub fn every_probe() -> &'static str {
    ".drctl-probe/*"
}

/// Returns a folder for probing a store's capabilities; not part of any system.
pub fn probe(seed: u32) -> String {
    format!(".drctl-probe/{seed:08x}/")
}

/// Returns the probe folder of a role that may not delete: its leftovers are reused.
pub fn kept_probe() -> &'static str {
    ".drctl-probe/kept/"
}

/// Returns a folder for objects that are locked for some seconds.
pub fn lock_probe(seed: u32) -> String {
    format!(".drctl-probe/lock-{seed:08x}/")
}

/// Returns the prefix of all probes.
pub fn probes() -> &'static str {
    ".drctl-probe/"
}

/// Returns the key that is written to one store to see whether it appears in another.
pub fn same_place_probe() -> &'static str {
    ".drctl-probe/same-place"
}

pub fn lease(system: &SystemName, name: &str) -> String {
    format!("{system}/leases/{name}.json")
}

/// Returns the prefix of every run's record.
pub fn journal(system: &SystemName) -> String {
    format!("{system}/journal/")
}

/// Every hold, and every release of one.
pub fn holds(system: &SystemName) -> String {
    format!("{}holds/", journal(system))
}

pub fn hold(system: &SystemName, hold: &RunId) -> String {
    format!("{}{hold}.json", holds(system))
}

/// That a hold does not hold any more.
pub fn hold_release(system: &SystemName, hold: &RunId) -> String {
    format!("{}{hold}.released.json", holds(system))
}

/// The suffix of a drill's detached digest.
pub const DRILL_DIGEST: &str = ".sha256.json";
/// The suffix of the record that a person has seen a drill's.
pub const DRILL_ACKNOWLEDGED: &str = ".acknowledged.json";

/// Every record of a drill, their digests, and who has seen them.
pub fn drills(system: &SystemName) -> String {
    format!("{}drills/", journal(system))
}

/// Returns the key of a drill's record without its suffix.
pub fn drill_stem(system: &SystemName, drill: &RunId) -> String {
    format!("{}{drill}", drills(system))
}

pub fn drill_record(system: &SystemName, drill: &RunId) -> String {
    format!("{}.json", drill_stem(system, drill))
}

pub fn drill_digest(system: &SystemName, drill: &RunId) -> String {
    format!("{}{DRILL_DIGEST}", drill_stem(system, drill))
}

pub fn drill_acknowledgement(system: &SystemName, drill: &RunId) -> String {
    format!("{}{DRILL_ACKNOWLEDGED}", drill_stem(system, drill))
}

/// Every entry of every incident.
pub fn incidents(system: &SystemName) -> String {
    format!("{}incidents/", journal(system))
}

/// Every entry of an incident; `id` as it is written.
pub fn incident(system: &SystemName, id: &str) -> String {
    format!("{}{id}/", incidents(system))
}

/// Returns the key of the `seq`-th entry, from 1.
pub fn incident_entry(system: &SystemName, id: &str, seq: u32) -> String {
    format!("{}{seq:06}.json", incident(system, id))
}

/// Returns the id of the incident, and the number of its entry, that a key is of.
pub fn parse_incident_entry<'k>(system: &SystemName, key: &'k str) -> Option<(&'k str, u32)> {
    let (id, name) = key.strip_prefix(&incidents(system))?.split_once('/')?;
    let seq: u32 = name.strip_suffix(".json")?.parse().ok()?;
    (incident_entry(system, id, seq) == key).then_some((id, seq))
}

/// Every lease.
pub fn leases(system: &SystemName) -> String {
    format!("{system}/leases/")
}

/// The name of the lease that stands under `key`, if it is one's.
pub fn parse_lease<'k>(system: &SystemName, key: &'k str) -> Option<&'k str> {
    key.strip_prefix(&leases(system))?.strip_suffix(".json").filter(|name| !name.contains('/'))
}

/// The name of the `n`-th lease of runs that restore backups of a source: several may at once.
pub fn restore_lease(source: &SourceName, n: usize) -> String {
    format!("restore.{n}.{source}")
}

/// Every such lease, with `*` for what differs.
pub fn every_restore_lease(system: &SystemName) -> String {
    lease(system, "restore.*")
}

/// The source that a lease is about.
pub fn parse_lease_source(name: &str) -> Option<SourceName> {
    let of_restore = name.strip_prefix("restore.").and_then(|rest| rest.split_once('.'));
    of_restore.map_or(name, |(_, source)| source).parse().ok()
}

/// History files of every timeline.
pub fn every_wal_history(system: &SystemName) -> String {
    format!("{}.history.zst*", every_wal_object(system))
}

/// The records of runs that began in this month.
pub fn journal_month(system: &SystemName, month: DateTime<Utc>) -> String {
    format!("{system}/journal/{:04}/{:02}/", month.year(), month.month())
}

pub fn journal_record(system: &SystemName, run: &RunId) -> String {
    format!("{}{run}.json", journal_month(system, run.begun()))
}

/// Returns the prefix of all WAL of one source.
pub fn wal(system: &SystemName, source: &SourceName) -> String {
    format!("{system}/{source}/wal/")
}

/// Returns the prefix of all WAL of one cluster.
pub fn wal_system(system: &SystemName, source: &SourceName, cluster: SystemIdentifier) -> String {
    format!("{}{cluster}/", wal(system, source))
}

/// Returns the key of the record of the source's cluster.
pub fn wal_cluster(system: &SystemName, source: &SourceName) -> String {
    format!("{}{WAL_CLUSTER}", wal(system, source))
}

/// Returns the key of the record that the source includes the WAL of this later cluster.
pub fn wal_later_cluster(system: &SystemName, source: &SourceName, cluster: SystemIdentifier) -> String {
    format!("{}{WAL_CLUSTER}", wal_system(system, source, cluster))
}

/// Returns the prefix of one timeline's files, with a trailing `/`.
pub fn wal_timeline(
    system: &SystemName,
    source: &SourceName,
    cluster: SystemIdentifier,
    timeline: Timeline,
) -> String {
    format!("{}{}/", wal_system(system, source, cluster), timeline.in_names())
}

/// Returns the key of a WAL file; `suffix` is that of the recipe: [`crate::pipeline::Recipe::suffix`].
pub fn wal_file(
    system: &SystemName,
    source: &SourceName,
    cluster: SystemIdentifier,
    name: WalName,
    suffix: &str,
) -> String {
    format!("{}{name}{suffix}", wal_timeline(system, source, cluster, name.timeline()))
}

/// Parses the key of a WAL file into its cluster and name; `None` for other keys.
pub fn parse_wal_file(key: &str) -> Option<(SystemIdentifier, WalName)> {
    let (folder, file) = key.rsplit_once('/')?;
    let (folder, timeline) = folder.rsplit_once('/')?;
    let (_source, cluster) = folder.rsplit_once("/wal/")?;
    let file = file.strip_suffix(".age").unwrap_or(file).strip_suffix(".zst")?;
    let name: WalName = file.parse().ok()?;
    (name.timeline().in_names() == timeline).then_some((cluster.parse().ok()?, name))
}

/// A file of WAL, by the parts of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalKey<'k> {
    pub source: SourceName,
    pub cluster: SystemIdentifier,
    pub name: WalName,
    /// `.zst.age` or `.zst`.
    pub suffix: &'k str,
}

/// The file of a system's WAL that stands under `key`, if the key is just what drctl writes it under.
pub fn parse_wal_key<'k>(system: &SystemName, key: &'k str) -> Option<WalKey<'k>> {
    let (cluster, name) = parse_wal_file(key)?;
    let rest = key.strip_prefix(&self::system(system))?;
    let (source, _) = rest.split_once('/')?;
    let source: SourceName = source.parse().ok()?;
    let suffix = [".zst.age", ".zst"].into_iter().find(|suffix| key.ends_with(suffix))?;
    let suffix = key.get(key.len() - suffix.len()..)?;
    (wal_file(system, &source, cluster, name, suffix) == key).then_some(WalKey {
        source,
        cluster,
        name,
        suffix,
    })
}

/// The backup and the name of an object of it that stands under `key`, if it may be one's.
pub fn parse_object<'k>(system: &SystemName, key: &'k str) -> Option<(BackupId, &'k str)> {
    let (folder, name) = key.rsplit_once('/')?;
    let (_, id) = folder.rsplit_once('/')?;
    let id: BackupId = id.parse().ok()?;
    (object(system, &id, name) == key).then_some((id, name))
}

/// Whether `key` is that of a record of whose write-ahead log it is.
pub fn is_wal_cluster(key: &str) -> bool {
    let folder = key.strip_suffix(WAL_CLUSTER).and_then(|folder| folder.strip_suffix('/'));
    folder.is_some_and(|folder| match folder.rsplit_once("/wal/") {
        Some((_, cluster)) => cluster.parse::<SystemIdentifier>().is_ok(),
        None => folder.ends_with("/wal"),
    })
}

/// Parses the key of a manifest into its backup; `None` for other keys.
pub fn parse_manifest(key: &str) -> Option<BackupId> {
    let (folder, name) = key.rsplit_once('/')?;
    if name != MANIFEST {
        return None;
    }
    let (source_folder, id) = folder.rsplit_once("/backups/")?;
    let (_system, source) = source_folder.rsplit_once('/')?;
    let id: BackupId = id.parse().ok()?;
    (id.source().as_str() == source).then_some(id)
}

/// Parses the key of a journal record into its run; `None` for other keys.
pub fn parse_journal_record(key: &str) -> Option<RunId> {
    let (folder, name) = key.rsplit_once('/')?;
    let run: RunId = name.strip_suffix(".json")?.parse().ok()?;
    let (system, _) = folder.split_once("/journal/")?;
    (journal_record(&system.parse().ok()?, &run) == key).then_some(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BackupKind;

    #[test]
    fn a_manifests_key_leads_back_to_its_backup() {
        let system_name: SystemName = "shop".parse().unwrap();
        let begun = "2026-11-20T22:02:51Z".parse().unwrap();
        let id = BackupId::new(begun, &"app-db".parse().unwrap(), BackupKind::Logical, 7);
        let key = manifest(&system_name, &id);
        assert_eq!(parse_manifest(&key), Some(id.clone()));
        assert_eq!(parse_manifest(&object(&system_name, &id, "database.dump.zst.age")), None);
        assert_eq!(parse_manifest(&key.replace("/app-db/", "/other/")), None);
    }

    #[test]
    fn a_files_key_leads_back_to_it_and_keys_sort_as_log_does() {
        let (system, source) = ("shop".parse().unwrap(), "db".parse().unwrap());
        let cluster = SystemIdentifier(7_300_000_000_000_000_001);
        // A timeline's history sorts first, then each segment after its partial one.
        let mut keys = Vec::new();
        for name in [
            "00000001.history",
            "000000010000000000000001.00000000-00002000.partial",
            "000000010000000000000001.00000028.backup",
            "000000010000000000000001.00002000-00004000.partial",
            "000000010000000000000001.partial",
            "000000010000000000000001",
            "000000010000000000000002",
            "000000020000000000000002",
        ] {
            let name: WalName = name.parse().unwrap();
            for suffix in [".zst", ".zst.age"] {
                let key = wal_file(&system, &source, cluster, name, suffix);
                assert_eq!(parse_wal_file(&key), Some((cluster, name)), "{key}");
                keys.push(key);
            }
        }
        assert!(keys.is_sorted(), "{keys:?}");
        for key in ["000000010000000000000001", "cluster.json", "000000020000000000000001.zst"] {
            assert_eq!(parse_wal_file(&format!("shop/db/wal/7300000000000000001/00000001/{key}")), None);
        }
        for key in [wal_cluster(&system, &source), wal_later_cluster(&system, &source, cluster)] {
            assert!(parse_wal_file(&key).is_none() && is_wal_cluster(&key), "{key}");
        }
        assert!(!keys.iter().any(|key| is_wal_cluster(key)));
        assert_eq!(parse_wal_file("shop/db/wal/07/00000001/000000010000000000000001.zst"), None);
    }

    #[test]
    fn a_key_that_only_looks_like_one_is_none() {
        let name: SystemName = "shop".parse().unwrap();
        let key = "shop/db/wal/7/00000001/000000010000000000000001.zst.age";
        let parsed = parse_wal_key(&name, key).unwrap();
        assert_eq!((parsed.source.as_str(), parsed.suffix), ("db", ".zst.age"));
        for wrong in [
            "shop2/db/wal/7/00000001/000000010000000000000001.zst.age",
            "shop/db/copy/wal/7/00000001/000000010000000000000001.zst.age",
            "shop/db/wal/7/00000002/000000010000000000000001.zst.age",
            "shop/db/wal/07/00000001/000000010000000000000001.zst.age",
            "shop/db/wal/7/00000001/000000010000000000000001.age",
            "shop/db/wal/7/00000001/000000010000000000000001.zst.age.bak",
            "x/shop/db/wal/7/00000001/000000010000000000000001.zst.age",
        ] {
            assert_eq!(parse_wal_key(&name, wrong), None, "{wrong}");
        }
        let key = "shop/db/backups/20261120T220251Z-db-logical-7f3k/database.dump.zst.age";
        assert_eq!(parse_object(&name, key).unwrap().1, "database.dump.zst.age");
        for wrong in [
            "shop/other/backups/20261120T220251Z-db-logical-7f3k/database.dump.zst.age",
            "shop/db/backups/20261120T220251Z-db-logical-7f3k/x/database.dump.zst.age",
            "shop/db/backups/2026-db-logical/database.dump.zst.age",
            "other/db/backups/20261120T220251Z-db-logical-7f3k/database.dump.zst.age",
        ] {
            assert_eq!(parse_object(&name, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_lease_says_which_source_it_is_about() {
        let name: SystemName = "shop".parse().unwrap();
        let source: SourceName = "my-db-2".parse().unwrap();
        for lease_name in ["my-db-2".to_owned(), restore_lease(&source, 3)] {
            let key = lease(&name, &lease_name);
            let parsed = parse_lease(&name, &key).unwrap();
            assert_eq!(parse_lease_source(parsed).as_ref(), Some(&source));
        }
        assert_eq!(parse_lease_source("restore-me").unwrap().as_str(), "restore-me");
        assert_eq!(parse_lease(&name, "shop/leases/a/b.json"), None);
    }

    #[test]
    fn a_records_key_leads_back_to_its_run() {
        let system_name: SystemName = "shop".parse().unwrap();
        let run = RunId::new("2026-11-20T22:02:51Z".parse().unwrap(), 7);
        let key = journal_record(&system_name, &run);
        assert_eq!(parse_journal_record(&key), Some(run));
        assert_eq!(parse_journal_record(&key.replace("/11/", "/12/")), None);
        assert_eq!(parse_journal_record("shop/leases/backup.json"), None);
    }
}
