use crate::aws::rds::Snapshot;
use crate::model::{BackupId, Managed, SourceName, SystemName};

/// What RDS calls a backup's snapshot, in every region: letters, digits and single hyphens, in small letters,
/// as RDS stores it.
pub fn identifier(system: &SystemName, backup: &BackupId) -> String {
    let words = format!("drctl-{system}-{backup}").to_ascii_lowercase();
    words.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// The backup that a snapshot is, in whichever region, if it is one of this source's. Its tags alone say nothing:
/// RDS gives those of a snapshot to what is restored from it, and from there to every snapshot of that.
pub fn backup_of(snapshot: &Snapshot, system: &SystemName, source: &SourceName) -> Option<BackupId> {
    let backup = snapshot.tags.backup(system, source)?;
    (snapshot.id.as_str() == identifier(system, &backup)).then_some(backup)
}

/// Whether it is what a manifest says was kept: of that database, or a copy of what was kept of it.
pub fn is_recorded(snapshot: &Snapshot, managed: &Managed) -> bool {
    match (&snapshot.copied_from, &snapshot.resource_id, &managed.resource_id) {
        (Some(from), _, _) => managed.held.iter().any(|copy| copy.arn == *from),
        (None, Some(id), Some(recorded)) => id == recorded,
        (None, _, _) => true,
    }
}

/// What the identifiers of all of a system's snapshots begin with.
pub fn identifier_prefix(system: &SystemName) -> String {
    let words = format!("drctl-{system}");
    let words: Vec<_> = words.split('-').filter(|word| !word.is_empty()).collect();
    format!("{}-", words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::Tags;
    use crate::aws::rds::SnapshotId;
    use crate::model::{BackupKind, ManagedCopy, RunId};

    #[test]
    fn tags_that_were_inherited_make_no_backup() {
        let (system, source): (SystemName, SourceName) = ("shop".parse().unwrap(), "db".parse().unwrap());
        let begun: chrono::DateTime<chrono::Utc> = "2026-11-20T22:02:51Z".parse().unwrap();
        let backup = BackupId::new(begun, &source, BackupKind::Snapshot, 5);
        let run = RunId::new(begun, 1);
        let arn = |region: &str| format!("arn:aws:rds:{region}:123456789012:snapshot:s");
        let named = |name: &str| Snapshot {
            id: SnapshotId::Instance(name.to_owned()),
            arn: arn("us-east-1"),
            of: "shop".to_owned(),
            resource_id: Some("db-1".to_owned()),
            status: "available".to_owned(),
            percent: None,
            database_time: None,
            created: None,
            engine: None,
            engine_version: None,
            encrypted: true,
            kms_key: None,
            allocated_gib: None,
            copied_from: None,
            tags: Tags::of_backup(&system, &source, &backup, &run),
        };
        let own = named(&identifier(&system, &backup));
        assert_eq!(backup_of(&own, &system, &source), Some(backup.clone()));
        assert_eq!(backup_of(&named("before-the-experiment"), &system, &source), None);

        let held =
            ManagedCopy { region: "us-east-1".to_owned(), arn: arn("us-east-1"), vault: None, kms_key: None };
        let managed = |id: Option<&str>| Managed {
            resource: "arn".to_owned(),
            resource_id: id.map(str::to_owned),
            encrypted: true,
            plan: None,
            allocated_gib: None,
            held: vec![held.clone()],
        };
        assert!(is_recorded(&own, &managed(Some("db-1"))) && is_recorded(&own, &managed(None)));
        assert!(!is_recorded(&own, &managed(Some("db-2"))), "of another database");
        let copy = |from: &str| Snapshot { copied_from: Some(arn(from)), ..own.clone() };
        assert!(is_recorded(&copy("us-east-1"), &managed(Some("db-2"))), "RDS may call the copy's otherwise");
        assert!(!is_recorded(&copy("eu-west-1"), &managed(Some("db-1"))));
    }

    #[test]
    fn it_is_what_rds_takes() {
        let system = "class--board".parse().unwrap();
        let begun = "2026-11-20T22:02:51Z".parse().unwrap();
        let backup = BackupId::new(begun, &"in--stance".parse().unwrap(), BackupKind::Snapshot, 5);
        let name = identifier(&system, &backup);
        assert!(name.starts_with("drctl-class-board-20261120t220251z-in-stance-snapshot-"), "{name}");
        assert!(name.len() < 255 && !name.contains("--"), "{name}");
        assert!(name.starts_with(&identifier_prefix(&system)), "{name}");
    }
}
