use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How an RDS database was set up when it was backed up. A snapshot holds none of it: a restore that says
/// nothing gets AWS's defaults, and an application cannot use those.
///
/// `None` and empty lists are what AWS did not say, or does not have for that kind of database.
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
    /// Secrets Manager keeps the master password, and changes it.
    pub password_is_managed: bool,
    /// The key that its secret is encrypted with.
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
    /// Enhanced Monitoring: seconds between two measurements, and the role that writes them.
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
    /// Roles for features, like exports to S3.
    pub roles: Vec<FeatureRole>,
    /// Read replicas; a restore makes none.
    pub replicas: Vec<String>,
    pub tags: BTreeMap<String, String>,
    /// What the policy says of other regions, when the backup was taken.
    pub regions: BTreeMap<String, RegionNames>,
    /// In words, what whoever took the backup was not allowed to ask.
    pub not_recorded: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageProfile {
    /// `gp3`, `io2`, `aurora`, …
    pub kind: Option<String>,
    pub allocated_gib: Option<u64>,
    /// Set where storage grows by itself: so far at most.
    pub max_allocated_gib: Option<u64>,
    pub iops: Option<u32>,
    /// MiB a second.
    pub throughput: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterProfile {
    /// Aurora's API makes none of them in a restore.
    pub members: Vec<ClusterMember>,
    /// What its instances have as parameter groups, but AWS's own.
    pub parameter_groups: Vec<ParameterGroup>,
    /// Aurora Serverless: the least and the most capacity units.
    pub capacity: Option<(f64, f64)>,
    /// Of one that may shrink to nothing: after so many seconds without anybody.
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
    /// Those that somebody set, in the order of their names.
    pub parameters: Vec<Parameter>,
}

impl ParameterGroup {
    /// One of AWS's own, which nobody can change or make. A region has it only once something used it.
    pub fn is_default(name: &str) -> bool {
        name.starts_with("default.")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    pub name: String,
    pub value: String,
    /// It takes effect only when the server starts.
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

/// What a restore uses in a region; `None` is what the database itself had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegionNames {
    pub kms_key: Option<String>,
    pub subnet_group: Option<String>,
    pub security_groups: Option<Vec<String>>,
    pub parameter_group: Option<String>,
    pub option_group: Option<String>,
}
