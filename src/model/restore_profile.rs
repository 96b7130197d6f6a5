use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The configuration of an RDS database at the time of the backup. A snapshot contains none of it: without it
/// a restore gets AWS's defaults, which no application can use.
///
/// `None` and empty lists are what AWS did not report, or does not have for that kind of database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreProfile {
    pub identifier: String,
    /// Set for a Multi-AZ or Aurora cluster.
    pub cluster: Option<ClusterProfile>,
    pub engine: String,
    pub engine_version: Option<String>,
    /// `db.m7g.large`
    pub class: Option<String>,
    pub master_username: Option<String>,
    /// Secrets Manager keeps and rotates the master password.
    pub password_is_managed: bool,
    /// The KMS key of that secret.
    pub secret_kms_key: Option<String>,
    pub database_name: Option<String>,
    pub port: Option<u16>,
    pub storage: StorageProfile,
    pub encrypted: bool,
    pub kms_key: Option<String>,
    pub multi_az: Option<bool>,
    pub publicly_accessible: Option<bool>,
    pub iam_authentication: Option<bool>,
    pub deletion_protection: Option<bool>,
    pub minor_upgrades: Option<bool>,
    pub copy_tags_to_snapshot: Option<bool>,
    pub subnet_group: Option<String>,
    pub security_groups: Vec<String>,
    pub parameter_group: Option<ParameterGroup>,
    pub option_group: Option<String>,
    pub log_exports: Vec<String>,
    /// Enhanced Monitoring: interval in seconds, and the role that writes the metrics.
    pub monitoring: Option<Monitoring>,
    pub performance_insights: Option<PerformanceInsights>,
    /// Database Insights: `standard`, `advanced`.
    pub insights_mode: Option<String>,
    pub backup_retention_days: Option<u32>,
    pub backup_window: Option<String>,
    pub maintenance_window: Option<String>,
    pub ca_certificate: Option<String>,
    pub lifecycle_support: Option<String>,
    pub network_type: Option<String>,
    pub dedicated_log_volume: Option<bool>,
    /// Roles for features such as exports to S3.
    pub roles: Vec<FeatureRole>,
    /// Read replicas; a restore creates none.
    pub replicas: Vec<String>,
    pub tags: BTreeMap<String, String>,
    /// The policy's settings for other regions at the time of the backup.
    pub regions: BTreeMap<String, RegionNames>,
    /// Descriptions of what could not be recorded for lack of permission.
    pub not_recorded: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageProfile {
    /// `gp3`, `io2`, `aurora`, …
    pub kind: Option<String>,
    pub allocated_gib: Option<u64>,
    /// Set with storage autoscaling: the maximum.
    pub max_allocated_gib: Option<u64>,
    pub iops: Option<u32>,
    /// MiB per second.
    pub throughput: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterProfile {
    /// Aurora's API creates none of them in a restore.
    pub members: Vec<ClusterMember>,
    /// Parameter groups of its instances, except AWS's default groups.
    pub parameter_groups: Vec<ParameterGroup>,
    /// Aurora Serverless: minimum and maximum capacity units.
    pub capacity: Option<(f64, f64)>,
    /// If it may scale to zero: after this many idle seconds.
    pub auto_pause_seconds: Option<i32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterMember {
    pub identifier: String,
    pub class: Option<String>,
    pub is_writer: bool,
    pub promotion_tier: Option<i32>,
    pub publicly_accessible: Option<bool>,
    pub parameter_group: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParameterGroup {
    pub name: String,
    /// `postgres16`
    pub family: Option<String>,
    /// The modified parameters, in the order of their names.
    pub parameters: Vec<Parameter>,
}

impl ParameterGroup {
    /// Returns whether it is a default group of AWS, which cannot be changed or created. A region has it only
    /// once something used it.
    pub fn is_default(name: &str) -> bool {
        name.starts_with("default.")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    pub name: String,
    pub value: String,
    /// It takes effect only after a restart.
    pub needs_restart: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitoring {
    pub interval_seconds: u32,
    pub role: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerformanceInsights {
    pub kms_key: Option<String>,
    pub retention_days: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureRole {
    pub arn: String,
    pub feature: Option<String>,
}

/// Settings of a restore in a region; `None` is the setting of the database itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegionNames {
    pub kms_key: Option<String>,
    pub subnet_group: Option<String>,
    pub security_groups: Option<Vec<String>>,
    pub parameter_group: Option<String>,
    pub option_group: Option<String>,
}
