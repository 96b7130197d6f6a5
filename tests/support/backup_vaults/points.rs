//! Vaults and what is in them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::files;
use super::route::Asked;
use super::world::{ACCOUNT, Lock, Point, Vault, World, now};

impl World {
    pub(super) fn point(&self, region: &str, vault: &str, arn: &str) -> Option<&Point> {
        self.regions.get(region)?.vaults.get(vault)?.points.get(arn)
    }

    pub(super) fn keep(&mut self, region: &str, vault: &str, point: Point) {
        if let Some(vault) = self.vault(region, vault) {
            vault.points.insert(point.arn.clone(), point);
        }
    }

    /// One that somebody else made, or a plan.
    pub(crate) fn add_point(
        &mut self,
        region: &str,
        vault: &str,
        resource: &str,
        age: TimeDelta,
        plan: Option<&str>,
    ) -> String {
        let id = self.unique();
        let arn = point_arn(region, resource, &id);
        self.put_point((region, vault), resource, age, plan, (arn, id))
    }

    /// A plan's, of every moment since it began.
    pub(crate) fn add_continuous(
        &mut self,
        at: (&str, &str),
        resource: &str,
        age: TimeDelta,
        plan: &str,
    ) -> String {
        let id = self.unique();
        let arn = format!("arn:aws:backup:{}:{ACCOUNT}:recovery-point:continuous:db-{id}", at.0);
        self.put_point(at, resource, age, Some(plan), (arn, id))
    }

    fn put_point(
        &mut self,
        (region, vault): (&str, &str),
        resource: &str,
        age: TimeDelta,
        plan: Option<&str>,
        (arn, id): (String, String),
    ) -> String {
        let files = self.root.join("points").join(&id);
        if let Some(from) = self.resources.get(resource) {
            // A copy that cannot be made shows in the test's comparison.
            let _copied = files::copy(from, &files, &[]);
        }
        let point = Point {
            arn: arn.clone(),
            resource: resource.to_owned(),
            status: self.whole,
            created: now() - age,
            tags: BTreeMap::new(),
            lifecycle: Value::Null,
            plan: plan.map(str::to_owned),
            copied_from: None,
            files,
            metadata: metadata(region, resource),
        };
        self.keep(region, vault, point);
        arn
    }

    pub(super) fn known_vault(&self, asked: &Asked) -> Result<&Vault, Refusal> {
        let vault = self.regions.get(&asked.region).and_then(|region| region.vaults.get(asked.label(0)));
        vault.ok_or_else(|| Refusal::not_found(format!("Backup vault {} does not exist", asked.label(0))))
    }

    pub(super) fn known_point(&self, asked: &Asked) -> Result<&Point, Refusal> {
        let point = self.known_vault(asked)?.points.get(asked.label(1));
        point.ok_or_else(|| Refusal::not_found(format!("Cannot find recovery point {}", asked.label(1))))
    }

    pub(super) fn describe_vault(&self, asked: &Asked) -> Answer {
        Ok(shown_vault(&asked.region, asked.label(0), self.known_vault(asked)?))
    }

    pub(super) fn describe_point(&self, asked: &Asked) -> Answer {
        Ok(shown_point(&asked.region, asked.label(0), self.known_point(asked)?))
    }

    pub(super) fn restore_metadata(&self, asked: &Asked) -> Answer {
        let point = self.known_point(asked)?;
        Ok(json!({
            "BackupVaultArn": vault_arn(&asked.region, asked.label(0)),
            "RecoveryPointArn": point.arn,
            "ResourceType": resource_type(&point.resource),
            "RestoreMetadata": point.metadata,
        }))
    }

    /// 200 and nothing, where the caller may not delete.
    pub(super) fn delete_point(&mut self, asked: &Asked) -> Answer {
        self.known_point(asked)?;
        let cannot = self.cannot_delete;
        let Some(vault) = self.vault(&asked.region, asked.label(0)) else { return Ok(Value::Null) };
        if vault.lock.is_some() {
            return Err(Refusal::request("Recovery point cannot be deleted: the vault is locked"));
        }
        if let Some(point) = vault.points.get_mut(asked.label(1)).filter(|_| cannot) {
            point.status = "EXPIRED";
        } else {
            vault.points.remove(asked.label(1));
        }
        Ok(Value::Null)
    }

    /// What is not sent becomes null.
    pub(super) fn update_lifecycle(&mut self, asked: &Asked) -> Answer {
        self.known_point(asked)?;
        let lifecycle = asked.body["Lifecycle"].clone();
        let vault = self.vault(&asked.region, asked.label(0));
        if let Some(point) = vault.and_then(|vault| vault.points.get_mut(asked.label(1))) {
            point.lifecycle.clone_from(&lifecycle);
        }
        Ok(json!({ "RecoveryPointArn": asked.label(1), "Lifecycle": lifecycle }))
    }

    pub(super) fn anywhere(&mut self, region: &str, arn: &str) -> Option<&mut Point> {
        let vaults = &mut self.regions.get_mut(region)?.vaults;
        vaults.values_mut().find_map(|vault| vault.points.get_mut(arn))
    }

    /// Tags of what other services keep are theirs.
    fn is_own(arn: &str) -> Result<(), Refusal> {
        match arn.starts_with("arn:aws:backup:") {
            true => Ok(()),
            false => Err(Refusal::invalid(format!("The resource type of {arn} is not fully managed"))),
        }
    }

    pub(super) fn list_tags(&mut self, asked: &Asked) -> Answer {
        Self::is_own(asked.label(0))?;
        match self.anywhere(&asked.region, asked.label(0)) {
            Some(point) => Ok(json!({ "Tags": point.tags })),
            None => Err(Refusal::not_found(format!("Cannot find {}", asked.label(0)))),
        }
    }

    pub(super) fn tag(&mut self, asked: &Asked) -> Answer {
        Self::is_own(asked.label(0))?;
        let tags = asked.words("Tags");
        match self.anywhere(&asked.region, asked.label(0)) {
            Some(point) => point.tags.extend(tags),
            None => return Err(Refusal::not_found(format!("Cannot find {}", asked.label(0)))),
        }
        Ok(Value::Null)
    }
}

pub(super) fn shown_vault(region: &str, name: &str, vault: &Vault) -> Value {
    let lock = vault.lock.unwrap_or_default();
    json!({
        "BackupVaultName": name,
        "BackupVaultArn": vault_arn(region, name),
        "VaultType": "BACKUP_VAULT",
        "NumberOfRecoveryPoints": vault.points.len(),
        "Locked": vault.lock.is_some(),
        "MinRetentionDays": lock.least_days,
        "MaxRetentionDays": lock.most_days,
        "LockDate": lock.fixed_from.map(seconds),
    })
}

pub(super) fn shown_point(region: &str, vault: &str, point: &Point) -> Value {
    let delete_after = point.lifecycle["DeleteAfterDays"].as_i64();
    let delete_at = delete_after.map(|days| seconds(point.created + TimeDelta::days(days)));
    json!({
        "RecoveryPointArn": point.arn,
        "BackupVaultName": vault,
        "BackupVaultArn": vault_arn(region, vault),
        "SourceBackupVaultArn": point.copied_from,
        "ResourceArn": point.resource,
        "ResourceType": resource_type(&point.resource),
        "Status": point.status,
        "CreationDate": seconds(point.created),
        "CompletionDate": is_whole(point.status).then(|| seconds(point.created)),
        "BackupSizeInBytes": files::size(&point.files),
        "Lifecycle": point.lifecycle,
        "CalculatedLifecycle": { "DeleteAt": delete_at },
        "CreatedBy": point.plan.as_ref().map(|plan| json!({
            "BackupPlanId": plan,
            "BackupPlanArn": format!("arn:aws:backup:{region}:{ACCOUNT}:backup-plan:{plan}"),
        })),
        "IsEncrypted": false,
    })
}

pub(super) fn is_whole(status: &str) -> bool {
    ["COMPLETED", "AVAILABLE"].contains(&status)
}

pub(super) fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1000.0
}

pub(super) fn vault_arn(region: &str, vault: &str) -> String {
    format!("arn:aws:backup:{region}:{ACCOUNT}:backup-vault:{vault}")
}

pub(super) fn resource_type(arn: &str) -> &'static str {
    match arn.split(':').nth(2).unwrap_or_default() {
        "s3" => "S3",
        "elasticfilesystem" => "EFS",
        "dynamodb" => "DynamoDB",
        // Their ARNs are those of RDS; here names tell them apart.
        "rds" if arn.contains(":cluster:docs") => "DocumentDB",
        "rds" if arn.contains(":cluster:") => "Aurora",
        "rds" => "RDS",
        _ => "EBS",
    }
}

/// Databases keep theirs as snapshots of their own, and tables too without AWS Backup's advanced features; the
/// others give theirs to AWS Backup.
pub(super) fn point_arn(region: &str, resource: &str, id: &str) -> String {
    match resource_type(resource) {
        "RDS" => format!("arn:aws:rds:{region}:{ACCOUNT}:snapshot:awsbackup:job-{id}"),
        "Aurora" | "DocumentDB" => {
            format!("arn:aws:rds:{region}:{ACCOUNT}:cluster-snapshot:awsbackup:job-{id}")
        }
        "DynamoDB" => format!("{resource}/backup/{id}"),
        _ => format!("arn:aws:backup:{region}:{ACCOUNT}:recovery-point:{id}"),
    }
}

pub(super) fn metadata(region: &str, resource: &str) -> BTreeMap<String, String> {
    let name = resource.rsplit([':', '/']).next().unwrap_or_default();
    let zone = format!("{region}a");
    let pairs: &[(&str, &str)] = match resource_type(resource) {
        "RDS" => &[
            ("DBInstanceIdentifier", name),
            ("DBSnapshotIdentifier", "awsbackup:job-0"),
            ("AvailabilityZone", &zone),
            ("Port", "0"),
            ("DBInstanceClass", "db.t4g.medium"),
            ("DBSubnetGroupName", "default"),
            ("VpcSecurityGroupIds", "[\"sg-0a1b2c3d\"]"),
            ("MultiAZ", "false"),
            ("DeletionProtection", "false"),
            ("Engine", "postgres"),
            ("InformationalOnly:EngineVersion", "17.6"),
            ("InformationalOnly:vpcId", "vpc-0a1b2c3d"),
            ("aws:backup:request-id", "9f1c"),
        ],
        "EFS" => &[
            ("file-system-id", name),
            ("Encrypted", "false"),
            ("PerformanceMode", "generalPurpose"),
            ("newFileSystem", "false"),
            ("aws:backup:request-id", "9f1c"),
        ],
        "S3" => &[
            ("DestinationBucketName", name),
            ("NewBucket", "false"),
            ("EncryptionType", "original"),
            ("aws:backup:request-id", "9f1c"),
        ],
        "DynamoDB" => {
            &[("originalTableName", name), ("encryptionType", "Default"), ("aws:backup:request-id", "9f1c")]
        }
        _ => &[],
    };
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Why a vault with this lock takes no recovery point that is kept so long.
pub(super) fn outside(lock: Option<Lock>, lifecycle: &Value) -> Option<String> {
    let lock = lock?;
    let kept = lifecycle["DeleteAfterDays"].as_i64();
    let too_short = lock.least_days.zip(kept).is_some_and(|(least, kept)| kept < least);
    let too_long = lock.most_days.is_some_and(|most| kept.is_none_or(|kept| kept > most));
    (too_short || too_long).then(|| {
        "Retention settings on the vault lock do not allow the lifecycle of this recovery point".to_owned()
    })
}
