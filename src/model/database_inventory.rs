use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    BucketFacts, ChromaFacts, FilesDetails, GitFacts, RedisFacts, ResourceProfile, RestoreProfile,
    SqliteFacts,
};

/// The confidential facts about a backup; stored encrypted with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    pub database: Option<DatabaseFacts>,
    /// For base backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterFacts>,
    /// For RDS databases: their configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<RestoreProfile>,
    /// For recovery points of AWS Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceProfile>,
    /// For backups of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesDetails>,
    /// For Git repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitFacts>,
    /// For buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chroma: Option<ChromaFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisFacts>,
}

/// Facts about a cluster that are not in a base backup, or that only a running server reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// When the copy was complete, by the server's clock.
    pub stop_time: DateTime<Utc>,
    pub databases: Vec<String>,
    /// Server settings that differ from their defaults (`pg_settings`), name to value.
    pub server_settings: Vec<(String, String)>,
    /// Configuration files that the base backup lacks, since they are outside the data directory (Debian),
    /// linked into it, or include files elsewhere: each with its includes inlined.
    pub files: Vec<ConfigurationFile>,
    /// Those that have a replication slot. Older backups do not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<SubscriptionFacts>,
}

/// A subscription to another server's publication, and the slot that it has there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionFacts {
    pub database: String,
    pub name: String,
    pub slot: String,
}

/// A configuration file of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationFile {
    /// `postgresql.conf`, `pg_hba.conf`, …
    pub name: String,
    pub path: String,
    pub text: String,
}

/// The contents of a database, read in the snapshot of its dump.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    pub name: String,
    pub owner: String,
    pub comment: Option<String>,
    /// When the snapshot was taken, by the server's clock.
    pub snapshot_time: DateTime<Utc>,
    /// `server_version`, e.g. `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: String,
    /// `server_version_num / 10000`.
    pub major: u32,
    /// `pg_encoding_to_char`, e.g. `UTF8`.
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    /// The locale of the ICU or the built-in provider.
    pub icu_locale: Option<String>,
    pub icu_rules: Option<String>,
    pub tablespace: String,
    pub connection_limit: i32,
    pub is_template: bool,
    /// `pg_database_size`, bytes.
    pub size: u64,
    /// Privileges on the database itself; `None` for PostgreSQL's defaults.
    pub grants: Option<Vec<Grant>>,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`.
    pub settings: Vec<RoleSetting>,
    /// Server settings that differ from their defaults (`pg_settings`), name to value.
    pub server_settings: Vec<(String, String)>,
    pub extensions: Vec<Extension>,
    pub schemas: Vec<String>,
    pub tables: Vec<TableFacts>,
    pub sequences: Vec<SequenceState>,
    /// Number of large objects.
    pub large_objects: u64,
    /// Roles that own objects or hold privileges in the database.
    pub roles: Vec<String>,
    /// Tablespaces with objects of the database, other than `pg_default`.
    pub tablespaces: Vec<String>,
    /// Descriptions of data in the database that the dump lacks (data of foreign tables, contents of unlogged
    /// tables on a standby, …).
    pub not_included: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    pub name: String,
    pub version: String,
    pub schema: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableKind {
    Table,
    /// Has no rows of its own.
    Partitioned,
    MaterializedView,
    /// Rows are on another server and not part of a dump.
    Foreign,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
    /// Exact, in the snapshot; `None` if the policy disables counting, or there is nothing to count
    /// (partitioned and foreign tables, materialised views that were never populated). A restore refreshes
    /// materialised views, so a stale one has other rows afterwards.
    pub rows: Option<u64>,
    /// Names of its indexes, constraints, triggers, rules, policies, statistics and owned sequences, and of
    /// its columns with a default: everything restored with the table when it is restored alone.
    pub belongings: Vec<String>,
    /// A sum over what is in its rows, in the same snapshot. Absent where it was not taken: the table is large and has no
    /// key to choose rows by, has columns whose text depends on the server, or was locked. `content` in a manifest is
    /// another sum, of columns in an order that a reload may change: it is not comparable, and not read.
    #[serde(default, rename = "row_sum", skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentSum>,
}

/// A sum over the contents of rows, which does not depend on their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSum {
    pub scope: SumScope,
    /// How many rows are in it.
    pub rows: u64,
    /// The sum of `hashtextextended(ROW(…)::text, 0)` of these rows, with the columns that are not generated in the order
    /// of their names, by bytes.
    pub sum: String,
}

/// Which rows are in a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SumScope {
    All,
    /// The first 1,000 and the last 1,000 by primary key.
    Ends,
}

/// The state of a sequence just before its dump began and, if known, after it was complete. Sequences are not
/// part of a snapshot: the dump holds the state at some time between the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceState {
    pub schema: String,
    pub name: String,
    pub last_value: i64,
    pub is_called: bool,
    /// Negative if it counts down. Older manifests lack this and the following fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increment: Option<i64>,
    /// Whether it wraps around at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles: Option<bool>,
    /// Whether it was restarted, altered or recreated while it was dumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted: Option<bool>,
    /// State after the dump was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SequenceBound>,
    /// The server's file of the sequence, which a restart replaces.
    #[serde(skip)]
    pub file: Option<i64>,
}

/// The state of a sequence at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceBound {
    pub last_value: i64,
    pub is_called: bool,
}

/// A privilege on the database itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `None` is PUBLIC.
    pub grantee: Option<String>,
    pub privilege: String,
    pub grantable: bool,
}

/// `name = value` for a role in the database, or for every role in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSetting {
    pub role: Option<String>,
    pub name: String,
    pub value: String,
}
