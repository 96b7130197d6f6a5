use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ResourceProfile, RestoreProfile};

/// What only key holders may read about a backup; stored encrypted beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    pub database: Option<DatabaseFacts>,
    /// Of a base backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterFacts>,
    /// Of an RDS database: how it was set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<RestoreProfile>,
    /// Of a recovery point of AWS Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceProfile>,
}

/// What a physical copy of a cluster leaves out, or says only to a running server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// When the copy was complete, by the server's clock.
    pub stop_time: DateTime<Utc>,
    pub databases: Vec<String>,
    /// Server settings that differ from their defaults (`pg_settings`), name to value.
    pub server_settings: Vec<(String, String)>,
    /// Configuration that the copy does not have, as it is outside of the data directory (Debian), linked into it, or
    /// includes what is elsewhere: each file with everything it includes in its place.
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

/// A file of the server's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationFile {
    /// `postgresql.conf`, `pg_hba.conf`, …
    pub name: String,
    pub path: String,
    pub text: String,
}

/// What a database held, read in the very snapshot that was dumped.
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
    /// Privileges on the database itself; `None` where they are PostgreSQL's defaults.
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
    /// Roles that own something or hold a privilege in the database.
    pub roles: Vec<String>,
    /// Tablespaces that hold something of the database, other than `pg_default`.
    pub tablespaces: Vec<String>,
    /// What the dump does not hold although the database has it, in words (data of foreign tables,
    /// contents of unlogged tables on a standby, …).
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
    /// Holds no rows of its own.
    Partitioned,
    MaterializedView,
    /// Rows live in another server and are not part of a dump.
    Foreign,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
    /// Exact, in the snapshot; `None` where the policy asked not to count, or there is nothing to count
    /// (partitioned and foreign tables, materialised views that were never populated). A materialised
    /// view is made anew by a restore, and has other rows then if it was not fresh.
    pub rows: Option<u64>,
    /// Names of its indexes, constraints, triggers, rules, policies, statistics and owned sequences, and
    /// of its columns with a default: what belongs with it when it is restored alone.
    pub belongings: Vec<String>,
}

/// Where a sequence was just before its dump began and, where that is known, when it was complete. Sequences are
/// not part of a snapshot: the dump holds what it was at some moment between the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceState {
    pub schema: String,
    pub name: String,
    pub last_value: i64,
    pub is_called: bool,
    /// Negative where it counts downwards. Older manifests say none of what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increment: Option<i64>,
    /// Whether it begins again at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles: Option<bool>,
    /// Whether it was restarted, altered or recreated while it was dumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted: Option<bool>,
    /// When the dump was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SequenceBound>,
    /// The server's file of it, which a restart replaces.
    #[serde(skip)]
    pub file: Option<i64>,
}

/// Where a sequence was at a moment.
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

/// `name = value` for a role in the database, or for everyone in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSetting {
    pub role: Option<String>,
    pub name: String,
    pub value: String,
}
