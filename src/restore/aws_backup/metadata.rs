//! Derives the metadata of a restore from what AWS reported for a recovery point.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Serialize;
use thiserror::Error;

use super::kind::{LATEST, ResourceKind, TIME, find};
use crate::model::ResourceProfile;

/// The maximum number of items that AWS takes in a list.
const MOST_ITEMS: usize = 5;

/// A recorded key that is not passed to the restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OmittedSetting {
    pub key: String,
    pub value: String,
    pub reason: &'static str,
}

/// Why a key is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidMetadata {
    #[error("a restore of {kind} takes no `{key}`; it takes {}", .known.join(", "))]
    UnknownKey { kind: &'static str, key: String, known: &'static [&'static str] },
    #[error("`{0}` is given twice")]
    Twice(&'static str),
    #[error("`{key}` is `true` or `false`, and not `{value}`")]
    NotASwitch { key: &'static str, value: String },
    #[error("`{key}` is a list (`a,b` or `[\"a\",\"b\"]`), and `{value}` is none")]
    NotAList { key: &'static str, value: String },
    #[error("`ItemsToRestore` has {0} items, and AWS Backup takes {MOST_ITEMS} at most")]
    TooMany(usize),
    #[error("nothing says what is made: give {}", .0.iter().map(|key| format!("`{key}=…`")).collect::<Vec<_>>().join(" or "))]
    NoTarget(&'static [&'static str]),
    #[error(
        "it is a recovery point of one moment, and `{0}` is for continuous ones: leave it out, or name a continuous one with `--backup`"
    )]
    OneMoment(&'static str),
    #[error(
        "it is a continuous recovery point, and nothing says which of its moments comes back: give `--point-in-time TIME`, or `--to-resource UseLatestRestorableTime=true`"
    )]
    NoMoment,
    #[error("both `RestoreTime` and `UseLatestRestorableTime` are given, and only one moment comes back")]
    TwoMoments,
    #[error("`RestoreTime` is a time like `2026-11-20T14:05:00Z`, and not `{0}`")]
    NotATime(String),
    #[error("a file system with a key is encrypted, and `Encrypted=false` is given")]
    KeyAndNotEncrypted,
}

/// The metadata of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) left_out: Vec<OmittedSetting>,
}

/// Applies the changes of the request to the recorded metadata, or returns everything that is wrong at once.
/// `region`: where it is restored.
pub(super) fn edit(
    kind: &'static ResourceKind,
    profile: &ResourceProfile,
    is_continuous: bool,
    region: &str,
    changes: &[(String, String)],
) -> Result<Edited, Vec<InvalidMetadata>> {
    let mut refused = Vec::new();
    let changes = read(kind, changes, &mut refused);
    if !kind.target.iter().any(|target| changes.get(target).is_some_and(|value| !value.is_empty())) {
        refused.push(InvalidMetadata::NoTarget(kind.target));
    }
    let mut edited = Edited::default();
    for (word, value) in &profile.metadata {
        let reason = match kind.key(word) {
            _ if kind.only_informs(word) => Some("AWS only informs of it"),
            None => Some("drctl does not know it"),
            Some(key) if changes.contains_key(key) => continue,
            Some(key) => why_not(kind, key, value, region != profile.region),
        };
        match reason {
            Some(reason) => {
                edited.left_out.push(OmittedSetting { key: word.clone(), value: value.clone(), reason });
            }
            None => drop(edited.metadata.insert(word.clone(), value.clone())),
        }
    }
    let given = changes.iter().filter(|(_, value)| !value.is_empty());
    edited.metadata.extend(given.map(|(key, value)| ((*key).to_owned(), value.clone())));
    of_file_system(kind, &changes, &mut edited, &mut refused);
    refused.extend(moment(kind, is_continuous, &edited.metadata));
    if refused.is_empty() { Ok(edited) } else { Err(refused) }
}

/// Returns why a recorded value is not passed on.
fn why_not(
    kind: &'static ResourceKind,
    key: &'static str,
    value: &str,
    is_elsewhere: bool,
) -> Option<&'static str> {
    match key {
        // It was of the original resource, and the request names the new one.
        key if kind.target.contains(&key) => Some("it names what was backed up"),
        // A zone without capacity would fail the restore; AWS chooses one.
        "AvailabilityZone" => Some("AWS chooses a zone"),
        "Port" if value == "0" => Some("it is no port"),
        TIME | LATEST => Some("the request says which point in time"),
        key if is_elsewhere && find(kind.regional, key).is_some() => Some("it means nothing in this region"),
        _ => None,
    }
}

/// Reads the changes, with AWS's spelling of the keys.
fn read(
    kind: &'static ResourceKind,
    changes: &[(String, String)],
    refused: &mut Vec<InvalidMetadata>,
) -> BTreeMap<&'static str, String> {
    let mut read = BTreeMap::new();
    for (word, value) in changes {
        let Some(key) = kind.key(word) else {
            refused.push(InvalidMetadata::UnknownKey {
                kind: kind.name,
                key: word.clone(),
                known: kind.keys,
            });
            continue;
        };
        let value = match value_of(kind, key, value) {
            Ok(value) => value,
            Err(reason) => {
                refused.push(reason);
                continue;
            }
        };
        if read.insert(key, value).is_some() {
            refused.push(InvalidMetadata::Twice(key));
        }
    }
    read
}

fn value_of(kind: &'static ResourceKind, key: &'static str, value: &str) -> Result<String, InvalidMetadata> {
    if value.is_empty() {
        return Ok(String::new());
    }
    if find(kind.switches, key).is_some() {
        let word = value.to_ascii_lowercase();
        let is_switch = word == "true" || word == "false";
        return if is_switch {
            Ok(word)
        } else {
            Err(InvalidMetadata::NotASwitch { key, value: value.to_owned() })
        };
    }
    if find(kind.lists, key).is_none() {
        return Ok(value.to_owned());
    }
    let items: Vec<serde_json::Value> = match value.starts_with(['[', '{']) {
        true => serde_json::from_str(value)
            .map_err(|_| InvalidMetadata::NotAList { key, value: value.to_owned() })?,
        false => value.split(',').map(|item| item.trim().into()).collect(),
    };
    match items.len() {
        many if key == "ItemsToRestore" && many > MOST_ITEMS => Err(InvalidMetadata::TooMany(many)),
        _ => Ok(serde_json::Value::from(items).to_string()),
    }
}

/// Returns what is wrong with the point in time.
fn moment(
    kind: &ResourceKind,
    is_continuous: bool,
    metadata: &BTreeMap<String, String>,
) -> Option<InvalidMetadata> {
    let time = metadata.get(TIME);
    let latest = metadata.get(LATEST).is_some_and(|value| value == "true");
    match (time, latest) {
        (Some(_), _) if !is_continuous => Some(InvalidMetadata::OneMoment(TIME)),
        (_, true) if !is_continuous => Some(InvalidMetadata::OneMoment(LATEST)),
        (Some(_), true) => Some(InvalidMetadata::TwoMoments),
        (Some(time), _) if DateTime::parse_from_rfc3339(time).is_err() => {
            Some(InvalidMetadata::NotATime(time.clone()))
        }
        (None, false) if is_continuous && kind.needs_moment() => Some(InvalidMetadata::NoMoment),
        _ => None,
    }
}

/// A new file system must not name an existing one, and one with a KMS key is encrypted.
fn of_file_system(
    kind: &ResourceKind,
    changes: &BTreeMap<&'static str, String>,
    edited: &mut Edited,
    refused: &mut Vec<InvalidMetadata>,
) {
    if kind.name != "EFS" {
        return;
    }
    let is_new = edited.metadata.get("newFileSystem").is_some_and(|value| value == "true");
    if !is_new {
        edited.metadata.insert("newFileSystem".to_owned(), "false".to_owned());
    }
    if edited.metadata.contains_key("KmsKeyId") {
        if changes.get("Encrypted").is_some_and(|value| value == "false") {
            refused.push(InvalidMetadata::KeyAndNotEncrypted);
        }
        edited.metadata.insert("Encrypted".to_owned(), "true".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(resource_type: &str, pairs: &[(&str, &str)]) -> ResourceProfile {
        ResourceProfile {
            resource_type: resource_type.to_owned(),
            region: "us-east-1".to_owned(),
            metadata: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn edited(
        profile: &ResourceProfile,
        region: &str,
        changes: &[(&str, &str)],
    ) -> Result<BTreeMap<String, String>, Vec<InvalidMetadata>> {
        let kind = ResourceKind::find(&profile.resource_type).unwrap();
        let changes: Vec<_> =
            changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        edit(kind, profile, false, region, &changes).map(|edited| edited.metadata)
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn database() -> ResourceProfile {
        profile(
            "RDS",
            &[
                ("DBInstanceIdentifier", "shop"),
                ("DBSnapshotIdentifier", "awsbackup:job-0"),
                ("AvailabilityZone", "us-east-1a"),
                ("Port", "0"),
                ("DBInstanceClass", "db.t4g.medium"),
                ("DBSubnetGroupName", "private"),
                ("VpcSecurityGroupIds", "[\"sg-1\"]"),
                ("MultiAZ", "false"),
                ("InformationalOnly:EngineVersion", "17.6"),
                ("aws:backup:request-id", "9f1c"),
            ],
        )
    }

    #[test]
    fn a_database_keeps_its_settings_and_loses_what_aws_only_informs_of() {
        let at_home = edited(&database(), "us-east-1", &[("dbinstanceidentifier", "shop-2")]).unwrap();
        let expected = pairs(&[
            ("DBInstanceIdentifier", "shop-2"),
            ("DBInstanceClass", "db.t4g.medium"),
            ("DBSubnetGroupName", "private"),
            ("VpcSecurityGroupIds", "[\"sg-1\"]"),
            ("MultiAZ", "false"),
        ]);
        assert_eq!(at_home, expected);
    }

    #[test]
    fn names_of_one_region_are_not_said_in_another() {
        let changes =
            [("DBInstanceIdentifier", "shop"), ("VpcSecurityGroupIds", "sg-2, sg-3"), ("MultiAZ", "TRUE")];
        let elsewhere = edited(&database(), "us-west-2", &changes).unwrap();
        let expected = pairs(&[
            ("DBInstanceIdentifier", "shop"),
            ("DBInstanceClass", "db.t4g.medium"),
            ("VpcSecurityGroupIds", "[\"sg-2\",\"sg-3\"]"),
            ("MultiAZ", "true"),
        ]);
        assert_eq!(elsewhere, expected);
    }

    #[test]
    fn everything_that_is_wrong_is_refused_at_once() {
        let changes = [("Bucket", "x"), ("MultiAZ", "yes"), ("Port", "5432"), ("port", "5433")];
        let refused = edited(&database(), "us-east-1", &changes).unwrap_err();
        assert!(matches!(refused[0], InvalidMetadata::UnknownKey { .. }), "{refused:?}");
        assert!(matches!(refused[1], InvalidMetadata::NotASwitch { .. }), "{refused:?}");
        assert_eq!(refused[2], InvalidMetadata::Twice("Port"));
        assert_eq!(refused[3], InvalidMetadata::NoTarget(&["DBInstanceIdentifier"]));
    }

    #[test]
    fn a_file_system_is_a_new_one_or_a_named_one_and_encrypted_with_its_key() {
        let known = [("file-system-id", "fs-1"), ("Encrypted", "false"), ("newFileSystem", "false")];
        let known = profile("EFS", &known);
        assert!(edited(&known, "us-east-1", &[]).is_err());
        let new = edited(&known, "us-east-1", &[("newFileSystem", "true"), ("KmsKeyId", "key")]).unwrap();
        let expected = pairs(&[("newFileSystem", "true"), ("Encrypted", "true"), ("KmsKeyId", "key")]);
        assert_eq!(new, expected);
        let named = edited(&known, "us-east-1", &[("file-system-id", "fs-2")]).unwrap();
        let expected =
            pairs(&[("file-system-id", "fs-2"), ("Encrypted", "false"), ("newFileSystem", "false")]);
        assert_eq!(named, expected);
        let both = [("newFileSystem", "true"), ("KmsKeyId", "key"), ("Encrypted", "false")];
        assert_eq!(edited(&known, "us-east-1", &both).unwrap_err(), [InvalidMetadata::KeyAndNotEncrypted]);
    }

    #[test]
    fn a_continuous_one_is_told_its_moment_and_another_is_not() {
        let cluster = profile("Aurora", &[("Engine", "aurora-postgresql")]);
        for (known, name) in [(database(), "DBInstanceIdentifier"), (cluster, "DBClusterIdentifier")] {
            let told = |is_continuous: bool, more: &[(&str, &str)]| {
                let kind = ResourceKind::find(&known.resource_type).unwrap();
                let changes = [&[(name, "shop-2")], more].concat().into_iter();
                let changes: Vec<_> =
                    changes.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                edit(kind, &known, is_continuous, "us-east-1", &changes).map(|edited| edited.metadata)
            };
            let time = ("RestoreTime", "2026-11-20T14:05:00Z");
            let latest = ("UseLatestRestorableTime", "true");
            assert_eq!(told(true, &[time]).unwrap()["RestoreTime"], "2026-11-20T14:05:00Z");
            assert_eq!(told(true, &[latest]).unwrap()["UseLatestRestorableTime"], "true");
            assert_eq!(told(true, &[]).unwrap_err(), [InvalidMetadata::NoMoment]);
            assert_eq!(told(true, &[time, latest]).unwrap_err(), [InvalidMetadata::TwoMoments]);
            let noon = ("RestoreTime", "noon");
            assert_eq!(told(true, &[noon]).unwrap_err(), [InvalidMetadata::NotATime("noon".to_owned())]);
            assert_eq!(told(false, &[time]).unwrap_err(), [InvalidMetadata::OneMoment(TIME)]);
            assert_eq!(told(false, &[latest]).unwrap_err(), [InvalidMetadata::OneMoment(LATEST)]);
            assert!(told(false, &[]).is_ok());
        }
    }

    #[test]
    fn a_bucket_takes_five_items_at_most_and_a_value_that_is_empty_leaves_its_key_out() {
        let known = profile("S3", &[("DestinationBucketName", "shop"), ("EncryptionType", "original")]);
        let to = ("DestinationBucketName", "shop-2");
        let some = edited(&known, "us-east-1", &[to, ("ItemsToRestore", "a,b"), ("EncryptionType", "")]);
        let expected = pairs(&[to, ("ItemsToRestore", "[\"a\",\"b\"]")]);
        assert_eq!(some.unwrap(), expected);
        let many = edited(&known, "us-east-1", &[to, ("ItemsToRestore", "1,2,3,4,5,6")]);
        assert_eq!(many.unwrap_err(), [InvalidMetadata::TooMany(6)]);
    }
}
