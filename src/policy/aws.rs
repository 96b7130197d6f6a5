//! Sources with AWS-managed backups: RDS, and whatever AWS Backup protects.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::aws_location::AwsLocation;
use super::postgres::PostgresSource;

/// An RDS instance or cluster.
#[derive(Clone, Debug)]
pub struct RdsSource {
    /// Region and access of the database.
    pub place: AwsLocation,
    pub database: RdsDatabase,
    /// Whether snapshots are taken.
    pub snapshots: bool,
    /// The login to the database and to what is restored from it; `logical` is set if dumps are taken.
    pub login: Option<Box<PostgresSource>>,
    /// Other regions, in the order of the file.
    pub regions: Vec<RdsRegion>,
    /// Accounts a snapshot is shared with, 12 digits each.
    pub share_with: Vec<String>,
    pub promote: PromoteHooks,
}

impl RdsSource {
    pub fn region(&self, name: &str) -> Option<&RdsRegion> {
        self.regions.iter().find(|region| region.name == name)
    }
}

/// Commands to run when a restored instance is promoted, each a program and its arguments; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromoteHooks {
    pub freeze: Vec<String>,
    pub redirect: Vec<String>,
    pub reopen: Vec<String>,
}

/// Its identifier, as RDS has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RdsDatabase {
    Instance(String),
    /// Multi-AZ or Aurora.
    Cluster(String),
}

impl RdsDatabase {
    pub fn identifier(&self) -> &str {
        match self {
            Self::Instance(identifier) | Self::Cluster(identifier) => identifier,
        }
    }

    /// Returns the same kind of database with another identifier.
    pub fn called(&self, identifier: impl Into<String>) -> Self {
        match self {
            Self::Instance(_) => Self::Instance(identifier.into()),
            Self::Cluster(_) => Self::Cluster(identifier.into()),
        }
    }

    /// Returns the noun, for messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Instance(_) => "instance",
            Self::Cluster(_) => "cluster",
        }
    }

    /// Returns the noun with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Instance(_) => "an instance",
            Self::Cluster(_) => "a cluster",
        }
    }
}

/// A region that snapshots are copied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdsRegion {
    pub name: String,
    /// KMS key of that region; required if the database is encrypted.
    pub kms_key: Option<String>,
    /// Whether RDS replicates automated backups to the region.
    pub automated_backups: bool,
    pub names: RdsNames,
}

/// Settings of a restore in a region; `None` is the setting of the database itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdsNames {
    pub subnet_group: Option<String>,
    pub security_groups: Option<Vec<String>>,
    pub parameter_group: Option<String>,
    pub option_group: Option<String>,
}

/// A resource that AWS Backup protects.
#[derive(Clone, Debug)]
pub struct AwsBackupSource {
    /// Region and access of the resource.
    pub place: AwsLocation,
    /// ARN of the resource.
    pub resource: String,
    pub vault: String,
    /// ARN of the role that AWS Backup assumes.
    pub role: String,
    /// In the order of the file.
    pub copies: Vec<VaultCopy>,
    /// A job that has not started after this time has failed.
    pub start_window: Duration,
    /// An AWS Backup plan whose recovery points count as this source's.
    pub plan: Option<String>,
    /// The policy declares that AWS's own tools restore it, since drctl does not.
    pub restored_by_aws: bool,
}

impl AwsBackupSource {
    /// Returns the kind of a resource that drctl cannot restore, unless the policy declares that AWS's own
    /// tools do.
    pub fn unrestorable(&self) -> Option<&str> {
        unrestorable(&self.resource).filter(|_| !self.restored_by_aws)
    }
}

/// Returns the kind of a resource that AWS Backup protects and drctl cannot restore, as far as the ARN shows
/// it: DocumentDB and Neptune clusters have ARNs of RDS.
fn unrestorable(resource: &str) -> Option<&str> {
    let mut parts = resource.splitn(6, ':').skip(2);
    let service = parts.next()?;
    let name = parts.nth(2).unwrap_or_default();
    match service {
        "rds" | "elasticfilesystem" | "s3" | "dynamodb" => None,
        "ec2" if name.starts_with("volume/") => Some("EBS"),
        "ec2" => Some("EC2"),
        "fsx" => Some("FSx"),
        "redshift" => Some("Redshift"),
        "redshift-serverless" => Some("Redshift Serverless"),
        "storagegateway" => Some("Storage Gateway"),
        "backup-gateway" => Some("VMware"),
        "ssm-sap" => Some("SAP HANA on EC2"),
        "timestream" => Some("Timestream"),
        "cloudformation" => Some("CloudFormation"),
        "eks" => Some("EKS"),
        other => Some(other),
    }
}

/// A vault in another region that recovery points are copied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultCopy {
    pub region: String,
    pub vault: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_says_what_is_restored_by_aws_alone() {
        for (resource, kind) in [
            ("arn:aws:rds:us-east-1:123456789012:db:shop", None),
            ("arn:aws:rds:us-east-1:123456789012:cluster:shop", None),
            ("arn:aws:s3:::shop-files", None),
            ("arn:aws-cn:dynamodb:cn-north-1:123456789012:table/orders", None),
            ("arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1", None),
            ("arn:aws:ec2:us-east-1:123456789012:volume/vol-1", Some("EBS")),
            ("arn:aws:ec2:us-east-1:123456789012:instance/i-1", Some("EC2")),
            ("arn:aws:fsx:us-east-1:123456789012:file-system/fs-1", Some("FSx")),
            ("arn:aws:redshift:us-east-1:123456789012:cluster:shop", Some("Redshift")),
            (
                "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-1/volume/vol-1",
                Some("Storage Gateway"),
            ),
            ("arn:aws:backup-gateway:us-east-1:123456789012:vm/vm-1", Some("VMware")),
            ("arn:aws:fish:us-east-1:123456789012:trout/1", Some("fish")),
        ] {
            assert_eq!(unrestorable(resource), kind, "{resource}");
        }
    }
}
