//! One TOML file says what is protected, where it goes and how good it must be. This module turns it
//! into validated intent, or into every fault it has at once, each with file, line, key and a hint.
//!
//! `file` is what the file may hold, `read`, `shape`, `value` and `address` read it, `build` turns it into
//! a [`Policy`]; [`lint()`] says what is allowed and still unwise, [`dormant()`] what nothing acts on yet.
//!
//! *Invariants.* A [`Policy`] that exists is valid: names are names, URLs parse, durations are positive,
//! recipients are age recipients. Unknown keys are refused, and so are settings that nothing reads: an
//! ignored setting is a defect. A policy never holds a secret, only where to find it
//! ([`crate::platform::SecretRef`]), and a fault never repeats a value that may be one.
//!
//! *Not here.* Whether the host can do what the policy asks: `drctl doctor`.

mod address;
mod bracket;
mod build;
mod dormant;
mod fault;
mod file;
mod intent;
mod lint;
mod load;
mod managed;
mod near;
mod prices;
mod read;
mod routine;
#[cfg(test)]
mod samples;
mod schema;
mod shape;
mod value;

pub use dormant::dormant;
pub use fault::{Fault, PolicyFaults, Position};
pub use intent::{
    BaseBackup, BaseThrough, Checksum, Compression, Credentials, Encryption, LockMode, LogicalDump,
    ObjectLock, Objectives, Password, Place, Policy, PostgresSource, Recipient, RepositoryConfig, RowCounts,
    S3Place, ServerSideEncryption, Source, SourceConfig, Transfer, WalArchiving, WalThrough,
};
pub use lint::{Lint, lint};
pub use load::{load, parse};
pub use managed::{
    AwsBackupSource, AwsPlace, PromoteHooks, RdsDatabase, RdsNames, RdsRegion, RdsSource, VaultCopy,
};
pub use prices::{Estimate, Prices};
pub use routine::{
    BackupTimes, Channel, Check, CronLine, Drill, Expectation, Mail, MailTls, Notify, Pick, Probe, Retention,
    Route, Rules, Schedule, Severity,
};
pub use schema::schema;
pub use value::period;
