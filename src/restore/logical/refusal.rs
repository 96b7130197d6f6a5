use std::path::PathBuf;

use thiserror::Error;

use crate::model::{BackupId, BackupKind, RepositoryName, SourceName};

/// Why a restore is not begun. Nothing was touched.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DumpRefusal {
    #[error("there is no backup of `{source_name}`{}", in_repository(.from))]
    NoBackup { source_name: SourceName, from: Option<RepositoryName> },
    #[error("no backup of `{source_name}` has an id that begins with `{asked}`{}; {}", in_repository(.from), newest_are(.newest))]
    UnknownBackup {
        source_name: SourceName,
        asked: String,
        from: Option<RepositoryName>,
        newest: Vec<BackupId>,
    },
    #[error("`{asked}` could be any of {}", listed(.found))]
    Ambiguous { asked: String, found: Vec<BackupId> },
    #[error("this version cannot restore a backup of kind `{kind}`")]
    Kind { kind: BackupKind },
    #[error("`{backup}` has no artifact `{artifact}`")]
    NoArtifact { backup: BackupId, artifact: &'static str },
    #[error("`{0}` cannot be the name of a restored database: the server needs that one itself")]
    Reserved(String),
    #[error(
        "`{0}` cannot be the name of a database: it is empty, has a NUL in it or is longer than 63 bytes"
    )]
    Name(String),
    #[error("database `{database}` is not empty: it has {}", .holds.join(", "))]
    NotEmpty { database: String, holds: Vec<String> },
    #[error("database `{database}` is left of a restore that did not end, and is not complete")]
    LeftOfRestore { database: String },
    #[error("database `{database}` is being restored by another run")]
    BeingRestored { database: String },
    #[error("database `{database}` exists, and what is restored incompletely would get that name")]
    Taken { database: String },
    #[error("extension pg_cron can be in {} only, and the dump is loaded into {loaded}", cron_database(.bound))]
    CronElsewhere { bound: Option<String>, loaded: String },
    #[error("database `{database}` exists and does not take connections, so nobody knows what it holds")]
    Closed { database: String },
    #[error("database `{database}` exists, is empty, and is in use by {connections} connections")]
    InUse { database: String, connections: u64 },
    #[error(
        "database `{database}` exists and belongs to `{owner}`, whose databases `{role}` may not replace"
    )]
    NotMine { database: String, owner: String, role: String },
    #[error(
        "the target server is PostgreSQL {target}, the dump is of PostgreSQL {dumped}: it may not load into an older one"
    )]
    OlderServer { target: u32, dumped: u32 },
    #[error("role `{role}` may not create databases on the target server")]
    NoCreateDatabase { role: String },
    #[error("role `{role}` is not a member of `{owner}`, which the database is to belong to")]
    NotMemberOfOwner { role: String, owner: String },
    #[error("role `{role}` is not a member of {}, to which objects of the dump belong", named("role", .owners))]
    NotMemberOfOwners { role: String, owners: Vec<String> },
    #[error("the target server has no {}", named("role", .0))]
    Roles(Vec<String>),
    #[error("the target server has no {}, for which there are policies or user mappings", named("role", .0))]
    MeantRoles(Vec<String>),
    #[error("the target server has no {}", named("tablespace", .0))]
    Tablespaces(Vec<String>),
    #[error("the target server does not have the files of the {}", named("extension", .0))]
    Extensions(Vec<String>),
    #[error("the target server does not have the locale `{locale}` ({provider}): {reason}")]
    Locale { locale: String, provider: String, reason: String },
    #[error(
        "the unpacked dump needs {} in `{directory}`, where {} are free",
        bytesize::ByteSize(*.needed).display().iec(), bytesize::ByteSize(*.free).display().iec()
    )]
    Scratch { directory: PathBuf, needed: u64, free: u64 },
    #[error("the backup has no {what} `{name}`{}", near_it(.near))]
    Unknown { what: &'static str, name: String, near: Vec<String> },
    #[error("the backup has no roles and tablespaces in it (`globals.sql`)")]
    NoGlobals,
    #[error("role `{role}` may not create roles on the target server, and {} are missing", .missing.join(", "))]
    NoCreateRole { role: String, missing: Vec<String> },
}

/// How a refusal is to be taken by whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpRefusalClass {
    /// There is nothing that could be restored.
    Nothing,
    /// What was asked for is not clear or not there.
    Usage,
    /// The target or this host is not ready.
    NotReady,
}

impl DumpRefusal {
    pub fn class(&self) -> DumpRefusalClass {
        match self {
            Self::NoBackup { .. } | Self::UnknownBackup { .. } => DumpRefusalClass::Nothing,
            Self::Ambiguous { .. } | Self::Unknown { .. } | Self::Reserved(_) | Self::Name(_) => {
                DumpRefusalClass::Usage
            }
            _ => DumpRefusalClass::NotReady,
        }
    }
}

fn cron_database(bound: &Option<String>) -> String {
    match bound {
        Some(database) => format!("database `{database}` (`cron.database_name`)"),
        None => "the database that `cron.database_name` names".to_owned(),
    }
}

fn in_repository(from: &Option<RepositoryName>) -> String {
    from.as_ref().map(|name| format!(" in repository `{name}`")).unwrap_or_default()
}

fn listed(ids: &[BackupId]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

fn newest_are(ids: &[BackupId]) -> String {
    if ids.is_empty() { "there is none at all".to_owned() } else { format!("the newest are {}", listed(ids)) }
}

fn named(noun: &str, names: &[String]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{noun}{plural} {}", names.join(", "))
}

fn near_it(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("; near it: {}", names.join(", "))
}
