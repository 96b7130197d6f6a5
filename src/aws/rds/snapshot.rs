use aws_sdk_rds::types::{DbClusterSnapshot, DbSnapshot};
use chrono::{DateTime, Utc};

use super::super::convert::{found, time};
use super::super::poll::{PollProgress, PolledState};
use super::super::{AwsFailure, FailureKind};
use super::Rds;
use super::convert::{gib, percent};
use crate::aws::tags::AwsTags;
use crate::policy::RdsDatabase;

/// A snapshot by its identifier, which one of an instance and one of a cluster may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotId {
    Instance(String),
    Cluster(String),
}

impl SnapshotId {
    /// Creates an ID for the kind of the database.
    pub fn like(database: &RdsDatabase, identifier: impl Into<String>) -> Self {
        match database {
            RdsDatabase::Instance(_) => Self::Instance(identifier.into()),
            RdsDatabase::Cluster(_) => Self::Cluster(identifier.into()),
        }
    }

    /// Returns the ID of the snapshot that an ARN names; `None` if it names something else.
    pub fn from_arn(arn: &str) -> Option<Self> {
        let mut parts = arn.splitn(7, ':').skip(2);
        let (service, kind, name) = (parts.next()?, parts.nth(2)?, parts.next()?);
        match (service, kind) {
            ("rds", "snapshot") => Some(Self::Instance(name.to_owned())),
            ("rds", "cluster-snapshot") => Some(Self::Cluster(name.to_owned())),
            _ => None,
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Instance(identifier) | Self::Cluster(identifier) => identifier,
        }
    }
}

/// A snapshot as RDS describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub id: SnapshotId,
    pub arn: String,
    /// The database's identifier.
    pub of: String,
    /// `DbiResourceId` or `DbClusterResourceId`.
    pub resource_id: Option<String>,
    pub status: String,
    pub percent: Option<u8>,
    /// The last transaction in it; older versions of RDS do not report it.
    pub database_time: Option<DateTime<Utc>>,
    /// When the snapshot was taken, not when it was copied.
    pub created: Option<DateTime<Utc>>,
    pub engine: Option<String>,
    pub engine_version: Option<String>,
    pub encrypted: bool,
    pub kms_key: Option<String>,
    pub allocated_gib: Option<u64>,
    /// Of a copy from another region: the ARN of the original.
    pub copied_from: Option<String>,
    pub tags: AwsTags,
}

impl Snapshot {
    /// Returns the time of its data, as precisely as RDS reports it.
    pub fn recovery_point(&self) -> Option<DateTime<Utc>> {
        self.database_time.or(self.created)
    }

    pub fn is_available(&self) -> bool {
        self.status == "available"
    }

    /// Returns whether its state is final. RDS adds states, and an unknown one counts as running.
    pub fn is_lost(&self) -> bool {
        matches!(self.status.as_str(), "failed" | "deleting" | "deleted")
            || self.status.starts_with("incompatible-")
    }

    /// Returns whether RDS is deleting it.
    pub fn is_going(&self) -> bool {
        matches!(self.status.as_str(), "deleting" | "deleted")
    }

    pub fn seen(self) -> PolledState<Self> {
        let progress = PollProgress { status: self.status.clone(), percent: self.percent, detail: None };
        match () {
            () if self.is_available() => PolledState::Done(self),
            () if self.is_lost() => PolledState::Failed(progress),
            () => PolledState::Working(progress),
        }
    }
}

/// A copy to the region of the request.
#[derive(Clone, Debug)]
pub struct SnapshotCopyRequest {
    /// ARN in the source region.
    pub from: String,
    pub to: SnapshotId,
    /// A key of the destination region; required if the snapshot is encrypted.
    pub kms_key: Option<String>,
    pub option_group: Option<String>,
    pub tags: AwsTags,
}

impl Rds {
    pub async fn snapshot(&self, id: &SnapshotId) -> Result<Option<Snapshot>, AwsFailure> {
        let mut known = match id {
            SnapshotId::Instance(identifier) => {
                let asked =
                    self.client.describe_db_snapshots().db_snapshot_identifier(identifier).send().await;
                let answer = found(asked.map_err(self.region.failed("DescribeDBSnapshots")))?;
                let list = answer.and_then(|answer| answer.db_snapshots).unwrap_or_default();
                list.into_iter().filter_map(of_instance).collect::<Vec<_>>()
            }
            SnapshotId::Cluster(identifier) => {
                let asked = self.client.describe_db_cluster_snapshots();
                let asked = asked.db_cluster_snapshot_identifier(identifier).send().await;
                let answer = found(asked.map_err(self.region.failed("DescribeDBClusterSnapshots")))?;
                let list = answer.and_then(|answer| answer.db_cluster_snapshots).unwrap_or_default();
                list.into_iter().filter_map(of_cluster).collect()
            }
        };
        known.retain(|snapshot| snapshot.id == *id);
        Ok(known.pop())
    }

    /// Lists the manual snapshots of that kind of database in this region, in no order. Their tags identify
    /// the source: the identifier in a snapshot is the name at that time, and a database can be renamed.
    pub async fn manual_snapshots(&self, like: &RdsDatabase) -> Result<Vec<Snapshot>, AwsFailure> {
        match like {
            RdsDatabase::Instance(_) => self.instance_snapshots().await,
            RdsDatabase::Cluster(_) => self.cluster_snapshots().await,
        }
    }

    async fn instance_snapshots(&self) -> Result<Vec<Snapshot>, AwsFailure> {
        let asked = self.client.describe_db_snapshots().snapshot_type("manual");
        let mut pages = asked.into_paginator().send();
        let mut known = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("DescribeDBSnapshots"))?;
            known.extend(page.db_snapshots.into_iter().flatten().filter_map(of_instance));
        }
        Ok(known)
    }

    async fn cluster_snapshots(&self) -> Result<Vec<Snapshot>, AwsFailure> {
        let asked = self.client.describe_db_cluster_snapshots().snapshot_type("manual");
        let mut pages = asked.into_paginator().send();
        let mut known = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("DescribeDBClusterSnapshots"))?;
            known.extend(page.db_cluster_snapshots.into_iter().flatten().filter_map(of_cluster));
        }
        Ok(known)
    }

    /// Starts to create a snapshot. It exists once its state says so.
    pub async fn create_snapshot(
        &self,
        of: &RdsDatabase,
        id: &SnapshotId,
        tags: &AwsTags,
    ) -> Result<(), AwsFailure> {
        let (identifier, tags) = (of.identifier(), Some(tags.into()));
        match id {
            SnapshotId::Instance(name) => {
                let call = self.client.create_db_snapshot().db_instance_identifier(identifier);
                let made = call.db_snapshot_identifier(name).set_tags(tags).send().await;
                made.map(drop).map_err(self.region.failed("CreateDBSnapshot"))
            }
            SnapshotId::Cluster(name) => {
                let call = self.client.create_db_cluster_snapshot().db_cluster_identifier(identifier);
                let made = call.db_cluster_snapshot_identifier(name).set_tags(tags).send().await;
                made.map(drop).map_err(self.region.failed("CreateDBClusterSnapshot"))
            }
        }
    }

    /// Starts a copy to this region.
    pub async fn copy_snapshot(&self, copy: &SnapshotCopyRequest) -> Result<(), AwsFailure> {
        // Explicit: RDS copies no tags by default.
        let tags = Some((&copy.tags).into());
        match &copy.to {
            SnapshotId::Instance(name) => {
                let call = self.client.copy_db_snapshot().source_db_snapshot_identifier(&copy.from);
                let call = call.target_db_snapshot_identifier(name).set_kms_key_id(copy.kms_key.clone());
                let call = call.set_option_group_name(copy.option_group.clone()).set_tags(tags);
                call.send().await.map(drop).map_err(self.region.failed("CopyDBSnapshot"))
            }
            SnapshotId::Cluster(name) => {
                let call = self.client.copy_db_cluster_snapshot();
                let call = call.source_db_cluster_snapshot_identifier(&copy.from);
                let call = call.target_db_cluster_snapshot_identifier(name).set_tags(tags);
                let call = call.set_kms_key_id(copy.kms_key.clone());
                call.send().await.map(drop).map_err(self.region.failed("CopyDBClusterSnapshot"))
            }
        }
    }

    /// Shares it with other accounts, which may restore it.
    pub async fn share_snapshot(&self, id: &SnapshotId, accounts: &[String]) -> Result<(), AwsFailure> {
        let accounts = Some(accounts.to_vec());
        match id {
            SnapshotId::Instance(name) => {
                let call = self.client.modify_db_snapshot_attribute().db_snapshot_identifier(name);
                let call = call.attribute_name("restore").set_values_to_add(accounts);
                call.send().await.map(drop).map_err(self.region.failed("ModifyDBSnapshotAttribute"))
            }
            SnapshotId::Cluster(name) => {
                let call = self.client.modify_db_cluster_snapshot_attribute();
                let call = call.db_cluster_snapshot_identifier(name).attribute_name("restore");
                let call = call.set_values_to_add(accounts);
                call.send().await.map(drop).map_err(self.region.failed("ModifyDBClusterSnapshotAttribute"))
            }
        }
    }

    /// Returns the accounts that may restore it.
    pub async fn shared_with(&self, id: &SnapshotId) -> Result<Vec<String>, AwsFailure> {
        let accounts = match id {
            SnapshotId::Instance(name) => {
                let call = self.client.describe_db_snapshot_attributes().db_snapshot_identifier(name);
                let answer = call.send().await.map_err(self.region.failed("DescribeDBSnapshotAttributes"))?;
                let result = answer.db_snapshot_attributes_result;
                let attributes = result.and_then(|result| result.db_snapshot_attributes).unwrap_or_default();
                let pairs = attributes.into_iter().map(|one| (one.attribute_name, one.attribute_values));
                pairs.collect::<Vec<_>>()
            }
            SnapshotId::Cluster(name) => {
                let call = self.client.describe_db_cluster_snapshot_attributes();
                let call = call.db_cluster_snapshot_identifier(name);
                let answer =
                    call.send().await.map_err(self.region.failed("DescribeDBClusterSnapshotAttributes"))?;
                let result = answer.db_cluster_snapshot_attributes_result;
                let attributes = result.and_then(|result| result.db_cluster_snapshot_attributes);
                let attributes = attributes.unwrap_or_default().into_iter();
                attributes.map(|one| (one.attribute_name, one.attribute_values)).collect()
            }
        };
        let restore = accounts.into_iter().find(|(name, _)| name.as_deref() == Some("restore"));
        Ok(restore.and_then(|(_, values)| values).unwrap_or_default())
    }

    /// Returns count and quota of manual snapshots in this region, over all databases of that kind; those of
    /// clusters count separately. `None` if RDS does not report it.
    pub async fn snapshot_quota(&self, like: &SnapshotId) -> Result<Option<(u64, u64)>, AwsFailure> {
        let answer = self.client.describe_account_attributes().send().await;
        let answer = match answer.map_err(self.region.failed("DescribeAccountAttributes")) {
            Ok(answer) => answer,
            // Only for a warning: the right is optional.
            Err(failure) if failure.kind == FailureKind::Forbidden => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let quotas = answer.account_quotas.unwrap_or_default();
        let name = match like {
            SnapshotId::Instance(_) => "ManualSnapshots",
            SnapshotId::Cluster(_) => "ManualClusterSnapshots",
        };
        let own = quotas.into_iter().find(|quota| quota.account_quota_name.as_deref() == Some(name));
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        Ok(own.and_then(|quota| Some((number(quota.used)?, number(quota.max)?))))
    }
}

fn of_instance(snapshot: DbSnapshot) -> Option<Snapshot> {
    Some(Snapshot {
        id: SnapshotId::Instance(snapshot.db_snapshot_identifier?),
        arn: snapshot.db_snapshot_arn?,
        of: snapshot.db_instance_identifier?,
        resource_id: snapshot.dbi_resource_id,
        status: snapshot.status.unwrap_or_default(),
        percent: percent(snapshot.percent_progress),
        database_time: time(snapshot.snapshot_database_time),
        created: time(snapshot.original_snapshot_create_time).or(time(snapshot.snapshot_create_time)),
        engine: snapshot.engine,
        engine_version: snapshot.engine_version,
        encrypted: snapshot.encrypted.unwrap_or(false),
        kms_key: snapshot.kms_key_id,
        allocated_gib: gib(snapshot.allocated_storage),
        copied_from: snapshot.source_db_snapshot_identifier,
        tags: snapshot.tag_list.into(),
    })
}

fn of_cluster(snapshot: DbClusterSnapshot) -> Option<Snapshot> {
    Some(Snapshot {
        id: SnapshotId::Cluster(snapshot.db_cluster_snapshot_identifier?),
        arn: snapshot.db_cluster_snapshot_arn?,
        of: snapshot.db_cluster_identifier?,
        resource_id: snapshot.db_cluster_resource_id,
        status: snapshot.status.unwrap_or_default(),
        percent: percent(snapshot.percent_progress),
        database_time: None,
        created: time(snapshot.snapshot_create_time),
        engine: snapshot.engine,
        engine_version: snapshot.engine_version,
        encrypted: snapshot.storage_encrypted.unwrap_or(false),
        kms_key: snapshot.kms_key_id,
        allocated_gib: gib(snapshot.allocated_storage),
        copied_from: snapshot.source_db_cluster_snapshot_arn,
        tags: snapshot.tag_list.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_a_snapshot_of_either_kind_or_none() {
        let arn = |rest: &str| SnapshotId::from_arn(&format!("arn:aws:{rest}"));
        let own = "drctl-shop-1".to_owned();
        let instance = "rds:us-east-1:123456789012:snapshot:drctl-shop-1";
        assert_eq!(arn(instance), Some(SnapshotId::Instance(own.clone())));
        let cluster = "rds:us-east-1:123456789012:cluster-snapshot:drctl-shop-1";
        assert_eq!(arn(cluster), Some(SnapshotId::Cluster(own)));
        let automated = "rds:us-east-1:123456789012:snapshot:rds:shop-2026";
        assert_eq!(arn(automated), Some(SnapshotId::Instance("rds:shop-2026".to_owned())));
        for other in
            ["rds:us-east-1:123456789012:db:shop", "backup:us-east-1:1:recovery-point:1", "s3:::shop"]
        {
            assert_eq!(arn(other), None, "{other}");
        }
    }
}
