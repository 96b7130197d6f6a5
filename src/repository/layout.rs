//! The only code that builds keys. FORMAT.md says what stands under each.

use chrono::{DateTime, Datelike as _, Utc};

use crate::model::{BackupId, RunId, SourceName, SystemName};

pub const MARKER: &str = "drctl-repository.json";
pub const BY_HAND: &str = "RESTORE-BY-HAND.txt";
pub const MANIFEST: &str = "manifest.json";

/// Everything of one system.
pub fn system(system: &SystemName) -> String {
    format!("{system}/")
}

/// Every backup of one source.
pub fn backups(system: &SystemName, source: &SourceName) -> String {
    format!("{system}/{source}/backups/")
}

/// One backup's folder, with the `/` at its end.
pub fn backup(system: &SystemName, id: &BackupId) -> String {
    format!("{}{id}/", backups(system, id.source()))
}

pub fn manifest(system: &SystemName, id: &BackupId) -> String {
    format!("{}{MANIFEST}", backup(system, id))
}

/// An object of an artifact; `name` is [`crate::model::ObjectPart::name`].
pub fn object(system: &SystemName, id: &BackupId, name: &str) -> String {
    format!("{}{name}", backup(system, id))
}

/// The name of an artifact's `n`-th object, from 0.
pub fn object_name(artifact: &str, n: usize) -> String {
    if n == 0 { artifact.to_owned() } else { format!("{artifact}.{n:03}") }
}

pub fn lease(system: &SystemName, name: &str) -> String {
    format!("{system}/leases/{name}.json")
}

/// Every run's record.
pub fn journal(system: &SystemName) -> String {
    format!("{system}/journal/")
}

/// The records of runs that began in this month.
pub fn journal_month(system: &SystemName, month: DateTime<Utc>) -> String {
    format!("{system}/journal/{:04}/{:02}/", month.year(), month.month())
}

pub fn journal_record(system: &SystemName, run: &RunId) -> String {
    format!("{}{run}.json", journal_month(system, run.begun()))
}

/// The backup whose manifest stands under `key`, if it is one's.
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

/// The run whose record stands under `key`, if it is one's.
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
    fn a_records_key_leads_back_to_its_run() {
        let system_name: SystemName = "shop".parse().unwrap();
        let run = RunId::new("2026-11-20T22:02:51Z".parse().unwrap(), 7);
        let key = journal_record(&system_name, &run);
        assert_eq!(parse_journal_record(&key), Some(run));
        assert_eq!(parse_journal_record(&key.replace("/11/", "/12/")), None);
        assert_eq!(parse_journal_record("shop/leases/backup.json"), None);
    }
}
