//! One TOML file says what is protected, where it goes and how good it must be. This module turns it
//! into validated intent, or into every fault it has at once, each with file, line, key and a hint.
//!
//! `schema` is what the file may hold, `decode`, `macros`, `value` and `address` read it, `resolve` turns it into
//! a [`Policy`]; [`lint()`] says what is allowed and still unwise, [`dormant()`] what nothing acts on yet.
//!
//! *Invariants.* A [`Policy`] that exists is valid: names are names, URLs parse, durations are positive,
//! recipients are age recipients. Unknown keys are refused, and so are settings that nothing reads: an
//! ignored setting is a defect. A policy never holds a secret, only where to find it
//! ([`crate::platform::SecretRef`]), and a fault never repeats a value that may be one.
//!
//! *Not here.* Whether the host can do what the policy asks: `drctl doctor`.

mod address;
mod automation;
mod aws;
mod decode;
mod dormant;
mod fault;
mod json_schema;
mod lint;
mod load;
mod macros;
mod prices;
mod resolve;
mod retention;
#[cfg(test)]
mod samples;
mod schema;
mod settings;
mod unclosed_bracket;
mod value;

pub use automation::{
    BackupTimes, Channel, Check, CronLine, Drill, Expectation, Mail, MailTls, Notify, NotifyRoute, Pick,
    Probe, Schedule, Severity,
};
pub use aws::{
    AwsBackupSource, AwsLocation, PromoteHooks, RdsDatabase, RdsNames, RdsRegion, RdsSource, VaultCopy,
};
pub use dormant::dormant;
pub use fault::{PolicyFault, PolicyFaults, TextPosition};
pub use json_schema::schema;
pub use lint::{Lint, lint, widest_gap};
pub use load::{load, parse};
pub use prices::{Estimate, Prices};
pub use retention::{CalendarSpan, CalendarUnit, Retention, Rules, SourceRules};
pub use settings::{
    BaseBackup, BaseMethod, Checksum, Compression, Credentials, Encryption, LockMode, LogicalDump,
    ObjectLock, Objectives, PasswordSource, Policy, PostgresSource, Recipient, RepositoryConfig,
    RepositoryLocation, RowCounts, S3Location, ServerSideEncryption, Source, SourceConfig, Transfer,
    WalArchiving, WalMethod,
};
