use std::path::PathBuf;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::manual_restore::FILE;
use super::target::shown;
use super::{Branch, RecoveryWindow};
use crate::model::{BackupId, Lsn, RepositoryName, SourceName, SystemIdentifier, Timeline};

/// A reason against restoring. Nothing was touched.
#[derive(Clone, Debug, Error)]
pub enum PhysicalRefusal {
    #[error("there is no base backup of `{source_name}`{}", in_repository(.from))]
    NoBackup { source_name: SourceName, from: Option<RepositoryName> },
    #[error(
        "there is no base backup of `{source_name}`{}, only dumps: the last one before {target} has the data of {} and would lose what was committed in the {} after it",
        in_repository(.from), shown(*.recovery_point), minutes(*.lost_seconds)
    )]
    OnlyDumps {
        source_name: SourceName,
        from: Option<RepositoryName>,
        target: String,
        backup: BackupId,
        recovery_point: DateTime<Utc>,
        lost_seconds: i64,
    },
    #[error("there is no base backup of `{source_name}` whose id begins with `{asked}`{}", in_repository(.from))]
    UnknownBackup { source_name: SourceName, asked: String, from: Option<RepositoryName> },
    #[error("`{asked}` is the beginning of several backups: {}", listed(.found))]
    Ambiguous { asked: String, found: Vec<BackupId> },
    #[error("{target} is before the end of every base backup there is{}", can_be(.windows))]
    TooEarly { target: String, windows: Vec<RecoveryWindow> },
    #[error("{target} is later than what is known: {why}{}", can_be(.windows))]
    TooLate { target: String, why: String, windows: Vec<RecoveryWindow> },
    #[error("the log does not lead to {target}: {why}{}", can_be(.windows))]
    Gap { target: String, why: String, windows: Vec<RecoveryWindow> },
    #[error(
        "backup `{backup}` cannot be used for {target}: {why}{}",
        if *.is_last { can_be(.windows) } else { String::new() }
    )]
    Unusable { backup: BackupId, target: String, why: String, windows: Vec<RecoveryWindow>, is_last: bool },
    #[error(
        "the newest timeline, {newest}, is not the one that leads to the latest there is, and nobody said which one is wanted:{}",
        listed_branches(.branches)
    )]
    Forked { newest: Timeline, branches: Vec<Branch> },
    #[error(
        "{target} is on two timelines: timeline {child} was forked at {left} and committed {} and timeline {other} has a commit of {}",
        nothing_until(.begun), shown(*.committed)
    )]
    TwoTimelines {
        target: String,
        child: Timeline,
        left: Lsn,
        begun: Option<DateTime<Utc>>,
        other: Timeline,
        committed: DateTime<Utc>,
    },
    #[error("there is no restore point `{name}` in the archived WAL{}", known_points(.known))]
    NoRestorePoint { name: String, known: Vec<String> },
    #[error("the WAL creates tablespace {oid} at `{path}` (record at {at}), and {why}")]
    Unmappable { oid: u32, path: String, at: Lsn, why: String },
    #[error("there is no timeline {0} in the log")]
    NoTimeline(Timeline),
    #[error(
        "`{backup}` holds only what changed since another backup, and what puts them together (pg_combinebackup and pg_verifybackup of PostgreSQL {major}) is not on this host"
    )]
    NoCombine { backup: BackupId, full: BackupId, major: u32 },
    #[error("`{0}` is not empty")]
    NotEmpty(PathBuf),
    #[error("`{0}` holds a cluster that drctl has restored; `{FILE}` in it says how to start it")]
    Restored(PathBuf),
    #[error("`{path}` is left of a restore that did not end (run `{run}`)")]
    LeftOver { path: PathBuf, run: String },
    #[error("a restore is at work in `{path}` (run `{run}`)")]
    AtWork { path: PathBuf, run: String },
    #[error(
        "`{0}` is a data directory that a restore with `--delta` was changing and did not end: only `--delta` goes on with it"
    )]
    HalfChanged(PathBuf),
    #[error(
        "`{path}` is a data directory of another cluster: its system identifier is {found}, and {expected} was backed up"
    )]
    OtherCluster { path: PathBuf, found: SystemIdentifier, expected: SystemIdentifier },
    #[error("a server runs in `{path}`, or has ended without being stopped: `{file}` is there")]
    Runs { path: PathBuf, file: PathBuf },
    #[error("`{path}` is not a directory")]
    NotADirectory { path: PathBuf },
    #[error("`{path}` {relation} `{of}`, {what}")]
    Overlaps { path: PathBuf, relation: &'static str, of: PathBuf, what: &'static str },
    #[error("`{path}` {relation} `{of}`, where repository `{repository}` keeps the backups")]
    InRepository { path: PathBuf, relation: &'static str, of: PathBuf, repository: RepositoryName },
    #[error("`{0}` does not say where from the root of the file system it is")]
    Relative(PathBuf),
    #[error("`{0}` has a line break in it, which PostgreSQL's settings cannot say")]
    LineBreak(PathBuf),
    #[error("the backup has no tablespace `{which}`{}", known_tablespaces(.known))]
    UnknownTablespace { which: String, known: Vec<String> },
    #[error(
        "the backup needs {} in `{directory}`, where {} are free",
        bytesize::ByteSize(*.needed).display().iec(), bytesize::ByteSize(*.free).display().iec()
    )]
    Space { directory: PathBuf, needed: u64, free: u64 },
    #[error("to start it, the server programs of PostgreSQL {major} are needed here{}", found_majors(.found))]
    NoServer { major: u32, found: Vec<u32> },
    #[error("no server can listen on port {port} of 127.0.0.1: {why}")]
    PortTaken { port: u16, why: String },
    #[error("PostgreSQL does not run as root, and it was not said who the files are to belong to")]
    RootOwns,
    #[error("only root can give files to another user (`{0}`)")]
    NotRoot(String),
    #[error("`{path}` cannot be read by `{user}`, who runs `restore_command`")]
    Unreadable { path: PathBuf, user: String },
}

/// How a refusal is to be taken by whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhysicalRefusalClass {
    /// There is nothing that could be restored to that moment.
    Nothing,
    /// What was asked for is not clear or not there.
    Usage,
    /// This host is not ready.
    NotReady,
}

impl PhysicalRefusal {
    pub fn class(&self) -> PhysicalRefusalClass {
        match self {
            Self::NoBackup { .. }
            | Self::OnlyDumps { .. }
            | Self::UnknownBackup { .. }
            | Self::TooEarly { .. }
            | Self::TooLate { .. }
            | Self::Gap { .. }
            | Self::NoRestorePoint { .. }
            | Self::Unusable { .. } => PhysicalRefusalClass::Nothing,
            Self::Ambiguous { .. }
            | Self::Forked { .. }
            | Self::TwoTimelines { .. }
            | Self::NoTimeline(_)
            | Self::Relative(_)
            | Self::LineBreak(_)
            | Self::NotRoot(_)
            | Self::UnknownTablespace { .. } => PhysicalRefusalClass::Usage,
            _ => PhysicalRefusalClass::NotReady,
        }
    }
}

fn in_repository(from: &Option<RepositoryName>) -> String {
    from.as_ref().map(|name| format!(" in repository `{name}`")).unwrap_or_default()
}

fn listed(ids: &[BackupId]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

fn listed_branches(branches: &[Branch]) -> String {
    branches.iter().map(|branch| format!("\n    {branch}")).collect()
}

fn can_be(windows: &[RecoveryWindow]) -> String {
    if windows.is_empty() {
        return "; nothing can be restored to any moment".to_owned();
    }
    windows.iter().map(|window| format!("\n    {window}")).collect()
}

fn nothing_until(begun: &Option<DateTime<Utc>>) -> String {
    match begun {
        Some(begun) => format!("nothing until {},", shown(*begun)),
        None => "nothing that is archived,".to_owned(),
    }
}

fn known_points(known: &[String]) -> String {
    if known.is_empty() {
        return "; it has none".to_owned();
    }
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("; it has {}", known.join(", "))
}

fn known_tablespaces(known: &[String]) -> String {
    if known.is_empty() { "; it has none".to_owned() } else { format!("; it has {}", known.join(", ")) }
}

fn found_majors(found: &[u32]) -> String {
    let found: Vec<_> = found.iter().map(u32::to_string).collect();
    if found.is_empty() { "; there are none".to_owned() } else { format!("; here is {}", found.join(", ")) }
}

/// `90 s`, `12 minutes`, `5 h 10 min`.
fn minutes(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
