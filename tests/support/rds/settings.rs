//! How an instance is set up: what a client has to put back when it restores one.

use std::collections::BTreeMap;

use super::state::Tags;

/// The only security group an instance gets when nobody names one. It lets nobody in.
pub(crate) const DEFAULT_SECURITY_GROUP: &str = "sg-default";

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) engine: String,
    pub(crate) engine_version: String,
    pub(crate) class: String,
    pub(crate) database: Option<String>,
    pub(crate) master_user: String,
    pub(crate) master_password: String,
    /// RDS keeps the master password in Secrets Manager.
    pub(crate) manages_password: bool,
    /// The key of its secret.
    pub(crate) secret_key: Option<String>,
    pub(crate) storage_type: String,
    pub(crate) allocated_storage: u32,
    pub(crate) max_allocated_storage: Option<u32>,
    pub(crate) iops: Option<u32>,
    pub(crate) storage_throughput: Option<u32>,
    /// Encrypted with it.
    pub(crate) kms_key: Option<String>,
    pub(crate) multi_az: bool,
    pub(crate) availability_zone: Option<String>,
    pub(crate) publicly_accessible: bool,
    pub(crate) subnet_group: String,
    pub(crate) security_groups: Vec<String>,
    pub(crate) parameter_group: String,
    /// What the parameter group sets, where [`super::RdsServer::instance`] makes it.
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) option_group: String,
    pub(crate) ca_certificate: String,
    pub(crate) iam_authentication: bool,
    pub(crate) log_exports: Vec<String>,
    pub(crate) monitoring_interval: u32,
    pub(crate) monitoring_role: Option<String>,
    pub(crate) performance_insights: bool,
    pub(crate) performance_insights_key: Option<String>,
    pub(crate) performance_insights_days: Option<u32>,
    /// Of Database Insights.
    pub(crate) insights_mode: String,
    pub(crate) deletion_protection: bool,
    pub(crate) copy_tags_to_snapshot: bool,
    pub(crate) auto_minor_upgrade: bool,
    /// In days; 0 is off.
    pub(crate) backup_retention: u32,
    pub(crate) backup_window: String,
    pub(crate) maintenance_window: String,
    pub(crate) lifecycle_support: String,
    pub(crate) tags: Tags,
}

impl Default for Settings {
    /// What AWS gives to those who say nothing.
    fn default() -> Self {
        Self {
            engine: "postgres".to_owned(),
            engine_version: "15.18".to_owned(),
            class: "db.t4g.medium".to_owned(),
            database: Some("app".to_owned()),
            master_user: "master".to_owned(),
            master_password: "master-password".to_owned(),
            manages_password: false,
            secret_key: None,
            storage_type: "gp3".to_owned(),
            allocated_storage: 100,
            max_allocated_storage: None,
            iops: None,
            storage_throughput: None,
            kms_key: None,
            multi_az: false,
            availability_zone: None,
            publicly_accessible: false,
            subnet_group: "default".to_owned(),
            security_groups: vec![DEFAULT_SECURITY_GROUP.to_owned()],
            parameter_group: "default.postgres15".to_owned(),
            parameters: BTreeMap::new(),
            option_group: "default:postgres-15".to_owned(),
            ca_certificate: "rds-ca-rsa2048-g1".to_owned(),
            iam_authentication: false,
            log_exports: vec![],
            monitoring_interval: 0,
            monitoring_role: None,
            performance_insights: false,
            performance_insights_key: None,
            performance_insights_days: None,
            insights_mode: "standard".to_owned(),
            deletion_protection: false,
            copy_tags_to_snapshot: false,
            auto_minor_upgrade: true,
            backup_retention: 1,
            backup_window: "03:00-03:30".to_owned(),
            maintenance_window: "sun:05:00-sun:05:30".to_owned(),
            lifecycle_support: "open-source-rds-extended-support".to_owned(),
            tags: Tags::new(),
        }
    }
}

impl Settings {
    /// A production database as a small team runs it: nothing in it is a default.
    pub(crate) fn production(region: &str) -> Self {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Self {
            class: "db.m6g.large".to_owned(),
            database: Some("school".to_owned()),
            master_user: "postgres".to_owned(),
            master_password: "the master's pass-word".to_owned(),
            max_allocated_storage: Some(1000),
            iops: Some(12_000),
            storage_throughput: Some(500),
            allocated_storage: 400,
            kms_key: Some(key(region, "11111111-2222-3333-4444-555555555555")),
            multi_az: true,
            subnet_group: "private".to_owned(),
            security_groups: vec!["sg-0app".to_owned(), "sg-0admin".to_owned()],
            parameter_group: "school-pg15".to_owned(),
            parameters: pairs(&[
                ("rds.force_ssl", "0"),
                ("work_mem", "8192"),
                ("max_connections", "60"),
                ("log_min_duration_statement", "500"),
            ]),
            option_group: "school-options".to_owned(),
            ca_certificate: "rds-ca-ecc384-g1".to_owned(),
            iam_authentication: true,
            log_exports: vec!["postgresql".to_owned(), "upgrade".to_owned()],
            monitoring_interval: 60,
            monitoring_role: Some("arn:aws:iam::123456789012:role/rds-monitoring".to_owned()),
            performance_insights: true,
            performance_insights_key: Some(key(region, "99999999-2222-3333-4444-555555555555")),
            performance_insights_days: Some(465),
            insights_mode: "advanced".to_owned(),
            deletion_protection: true,
            copy_tags_to_snapshot: true,
            auto_minor_upgrade: false,
            backup_retention: 7,
            backup_window: "01:10-01:40".to_owned(),
            maintenance_window: "tue:04:00-tue:04:30".to_owned(),
            lifecycle_support: "open-source-rds-extended-support-disabled".to_owned(),
            tags: pairs(&[("env", "prod"), ("app", "school")]),
            ..Self::default()
        }
    }

    /// An Aurora cluster of the same kind. Its parameter group is one for clusters.
    pub(crate) fn aurora(region: &str) -> Self {
        let parameters = [("work_mem".to_owned(), "8192".to_owned())];
        Self {
            engine: "aurora-postgresql".to_owned(),
            engine_version: "15.12".to_owned(),
            storage_type: "aurora".to_owned(),
            allocated_storage: 1,
            max_allocated_storage: None,
            iops: None,
            storage_throughput: None,
            parameter_group: "school-aurora15".to_owned(),
            parameters: parameters.into(),
            option_group: "default:aurora-postgresql-15".to_owned(),
            ..Self::production(region)
        }
    }
}

/// The ARN of a KMS key.
pub(crate) fn key(region: &str, id: &str) -> String {
    format!("arn:aws:kms:{region}:123456789012:key/{id}")
}
