//! Sources whose backups AWS keeps: RDS, and whatever AWS Backup protects.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::settings::{Credentials, PostgresSource};

/// A region of AWS, or of something that speaks like it, and who asks.
#[derive(Clone, Debug)]
pub struct AwsLocation {
    pub region: String,
    /// Set for anything that is not AWS. It stands for every region: requests say which they mean.
    pub endpoint: Option<Url>,
    pub credentials: Credentials,
    /// How often it is asked how far it is with what it does.
    pub poll: Duration,
    /// How long anything it does may take.
    pub deadline: Duration,
    /// How long an answer is waited for where it is only looked at: of a region that is gone none comes.
    pub patience: Duration,
}

impl AwsLocation {
    /// Another region, asked by the same.
    pub fn in_region(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }
}

/// An RDS instance or cluster.
#[derive(Clone, Debug)]
pub struct RdsSource {
    /// Where the database runs.
    pub place: AwsLocation,
    pub database: RdsDatabase,
    /// Whether snapshots are taken of it.
    pub snapshots: bool,
    /// How to log in to it, and to what is restored from it; `logical` is set when dumps are taken.
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

/// What is run when a restored instance takes its place, each a program and its arguments; empty is nothing.
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

    /// Another of the same kind.
    pub fn called(&self, identifier: impl Into<String>) -> Self {
        match self {
            Self::Instance(_) => Self::Instance(identifier.into()),
            Self::Cluster(_) => Self::Cluster(identifier.into()),
        }
    }

    /// For a person.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Instance(_) => "instance",
            Self::Cluster(_) => "cluster",
        }
    }

    /// With its article, for a person.
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
    /// Key of that region; needed where the database is encrypted.
    pub kms_key: Option<String>,
    /// Whether RDS replicates its automated backups there.
    pub automated_backups: bool,
    pub names: RdsNames,
}

/// What a restore uses in a region; `None` is what the database itself has.
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
    /// Where the resource is.
    pub place: AwsLocation,
    /// ARN of the resource.
    pub resource: String,
    pub vault: String,
    /// ARN of the role AWS Backup acts as.
    pub role: String,
    /// In the order of the file.
    pub copies: Vec<VaultCopy>,
    /// A job that has not begun after this long has failed.
    pub start_window: Duration,
    /// A plan of AWS Backup whose recovery points count as this source's.
    pub plan: Option<String>,
    /// Somebody says that AWS's own tools are to restore it where drctl does not.
    pub restored_by_aws: bool,
}

impl AwsBackupSource {
    /// What it is, where drctl restores nothing of the kind, and nobody says that AWS's own tools are to.
    pub fn unrestorable(&self) -> Option<&str> {
        unrestorable(&self.resource).filter(|_| !self.restored_by_aws)
    }
}

/// What AWS Backup protects and drctl does not restore, as far as an ARN says it: clusters of DocumentDB and Neptune
/// have those of RDS.
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

/// A vault of another region that recovery points are copied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultCopy {
    pub region: String,
    pub vault: String,
}
