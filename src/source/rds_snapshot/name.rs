use crate::aws::rds::{Snapshot, SnapshotId};
use crate::model::{BackupId, CloudBackup, Digest, SourceName, SystemName};
use crate::policy::RdsDatabase;

/// RDS's maximum for a cluster's snapshot; for an instance's it is 255 characters, which is never exceeded.
const MOST: usize = 63;
/// The maximum length of the part that names the system, so that there is room for the time, the source and a
/// digest.
const MOST_OF_PREFIX: usize = 30;
/// Hexadecimal digits of a digest, which distinguishes shortened names.
const DIGEST: usize = 8;

/// Returns the identifier of a backup's snapshot, in every region: letters, digits and single hyphens, in
/// lower case, as RDS stores it. Where a cluster's would be too long, names are shortened, and a digest of
/// the full identifier is appended.
pub fn identifier(of: &RdsDatabase, system: &SystemName, backup: &BackupId) -> SnapshotId {
    let whole = whole(system, backup);
    match of {
        RdsDatabase::Cluster(_) if whole.len() > MOST => {
            SnapshotId::Cluster(shortened(system, backup, &whole))
        }
        _ => SnapshotId::like(of, whole),
    }
}

fn whole(system: &SystemName, backup: &BackupId) -> String {
    words(&format!("drctl-{system}-{backup}"))
}

/// Returns `drctl-shop-20261120t220251z-the-production-clust-1f4a09c2`
fn shortened(system: &SystemName, backup: &BackupId, whole: &str) -> String {
    let prefix = short_prefix(system);
    let begun = backup.begun().format("%Y%m%dt%H%M%Sz").to_string();
    let room = MOST.saturating_sub(prefix.len() + begun.len() + DIGEST + 2);
    let source = beginning(&words(backup.source().as_str()), room).to_owned();
    words(&format!("{prefix}{begun}-{source}-{}", digest(whole)))
}

fn words(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    text.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Returns at most so many characters of it, without a hyphen at the end.
fn beginning(text: &str, most: usize) -> &str {
    text.get(..most).unwrap_or(text).trim_end_matches('-')
}

fn digest(text: &str) -> String {
    Digest::compute(text.as_bytes()).sha256.to_string().chars().take(DIGEST).collect()
}

/// Returns the backup that a snapshot is, in any region, if it is one of this source's. Its tags alone are no
/// evidence: RDS passes those of a snapshot on to databases restored from it, and from there to all of their
/// snapshots.
///
/// Before drctl shortened them, RDS may have accepted an identifier longer than its documented limit.
pub fn backup_of(snapshot: &Snapshot, system: &SystemName, source: &SourceName) -> Option<BackupId> {
    let backup = snapshot.tags.backup(system, source)?;
    let of = match &snapshot.id {
        SnapshotId::Instance(_) => RdsDatabase::Instance(String::new()),
        SnapshotId::Cluster(_) => RdsDatabase::Cluster(String::new()),
    };
    let is_its =
        snapshot.id == identifier(&of, system, &backup) || snapshot.id.as_str() == whole(system, &backup);
    is_its.then_some(backup)
}

/// Returns whether it is the snapshot recorded in a manifest: of that database, or a copy of a recorded one.
pub fn is_recorded(snapshot: &Snapshot, managed: &CloudBackup) -> bool {
    match (&snapshot.copied_from, &snapshot.resource_id, &managed.resource_id) {
        (Some(from), _, _) => managed.held.iter().any(|copy| copy.arn == *from),
        (None, Some(id), Some(recorded)) => id == recorded,
        (None, _, _) => true,
    }
}

/// Returns the prefixes of the identifiers of all of a system's snapshots, for databases of that kind.
pub fn identifier_prefixes(of: &RdsDatabase, system: &SystemName) -> Vec<String> {
    let mut prefixes = vec![prefix(system)];
    if matches!(of, RdsDatabase::Cluster(_)) {
        prefixes.push(short_prefix(system));
        prefixes.dedup();
    }
    prefixes
}

fn prefix(system: &SystemName) -> String {
    format!("{}-", words(&format!("drctl-{system}")))
}

fn short_prefix(system: &SystemName) -> String {
    let whole = prefix(system);
    if whole.len() <= MOST_OF_PREFIX {
        return whole;
    }
    let room = MOST_OF_PREFIX - DIGEST - 2;
    format!("{}-{}-", beginning(&whole, room), digest(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::AwsTags;
    use crate::model::{BackupKind, CloudBackupCopy, RunId};

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
            tags: AwsTags::of_backup(&system, &source, &backup, &run),
        };
        let instance = RdsDatabase::Instance("shop".to_owned());
        let own = named(identifier(&instance, &system, &backup).as_str());
        assert_eq!(backup_of(&own, &system, &source), Some(backup.clone()));
        assert_eq!(backup_of(&named("before-the-experiment"), &system, &source), None);

        let held = CloudBackupCopy {
            region: "us-east-1".to_owned(),
            arn: arn("us-east-1"),
            vault: None,
            kms_key: None,
        };
        let managed = |id: Option<&str>| CloudBackup {
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
        let instance = RdsDatabase::Instance("shop".to_owned());
        let name = identifier(&instance, &system, &backup);
        let name = name.as_str();
        assert!(name.starts_with("drctl-class-board-20261120t220251z-in-stance-snapshot-"), "{name}");
        assert!(name.len() < 255 && !name.contains("--"), "{name}");
        assert!(identifier_prefixes(&instance, &system).iter().any(|prefix| name.starts_with(prefix)));
    }

    #[test]
    fn it_fits_whatever_the_names_are_and_keeps_apart_what_differs() {
        let (instance, cluster) =
            (RdsDatabase::Instance("shop".to_owned()), RdsDatabase::Cluster("shop".to_owned()));
        let begun: chrono::DateTime<chrono::Utc> = "2026-11-20T22:02:51Z".parse().unwrap();
        let name = |length: usize, last: char| {
            format!("{}{last}", &"the-production-database-of-the-shop-in-ea"[..length - 1])
        };
        let mut seen = std::collections::BTreeMap::new();
        for (of_system, of_source) in
            [(1, 1), (4, 8), (4, 21), (4, 22), (4, 40), (23, 1), (24, 2), (25, 1), (40, 40), (40, 1)]
        {
            for last in ['a', 'b'] {
                let system: SystemName = name(of_system, last).parse().unwrap();
                let source: SourceName = name(of_source, 'c').parse().unwrap();
                for (second, seed) in [(0, 1), (0, 2), (1, 1)] {
                    let begun = begun + chrono::TimeDelta::seconds(second);
                    let backup = BackupId::new(begun, &source, BackupKind::Snapshot, seed);
                    let own = identifier(&cluster, &system, &backup);
                    let text = own.as_str().to_owned();
                    assert!(text.len() <= MOST && !text.contains("--") && !text.ends_with('-'), "{text}");
                    assert!(text.contains("20261120t2202"), "{text} does not say when");
                    let prefixes = identifier_prefixes(&cluster, &system);
                    assert!(prefixes.iter().any(|prefix| text.starts_with(prefix.as_str())), "{text}");
                    assert_eq!(identifier(&cluster, &system, &backup), own, "it is the same each time");
                    let earlier = seen.insert(text.clone(), (system.clone(), backup.clone()));
                    assert_eq!(earlier, None, "{text}");
                    // What fits is as it ever was, and what does not is known under its old name, too.
                    let whole = whole(&system, &backup);
                    assert_eq!(whole == text, whole.len() <= MOST, "{text}");
                    assert_eq!(identifier(&instance, &system, &backup).as_str(), whole);
                    for id in [text, whole] {
                        let snapshot = Snapshot {
                            id: SnapshotId::Cluster(id),
                            arn: "arn".to_owned(),
                            of: "shop".to_owned(),
                            resource_id: None,
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
                            tags: AwsTags::of_backup(&system, &source, &backup, &RunId::new(begun, 1)),
                        };
                        assert_eq!(backup_of(&snapshot, &system, &source), Some(backup.clone()));
                    }
                }
            }
        }
    }
}
