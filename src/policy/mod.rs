//! One TOML file says what is protected, where backups go and how good they must be. This module turns it
//! into a validated policy, or into all of its faults at once, each with file, line, key and a hint.
//!
//! `schema` defines the contents of the file; `decode`, `macros`, `value` and `address` read it; `resolve`
//! turns it into a [`Policy`]; [`lint()`] reports what is valid but unwise, [`dormant()`] what has no effect
//! yet.
//!
//! *Invariants.* A [`Policy`] that exists is valid: names are names, URLs parse, durations are positive,
//! recipients are age recipients. Unknown keys are rejected, and so are settings that nothing reads: an
//! ignored setting is a defect. A policy never holds a secret, only where to find it
//! ([`crate::platform::SecretRef`]), and a fault never repeats a value that may be one.
//!
//! *Not here.* Whether the host can do what the policy requires: `drctl doctor`.

mod address;
mod application;
mod automation;
mod aws;
mod aws_location;
mod body_template;
mod credentials;
mod decode;
mod dormant;
mod fault;
mod firings;
mod json_schema;
mod lint;
mod load;
mod lock_term;
mod macros;
mod notify;
mod postgres;
mod prices;
mod recovery_point;
mod resolve;
mod retention;
#[cfg(test)]
mod samples;
mod schema;
mod settings;
mod source;
mod unclosed_bracket;
mod value;

pub use application::{
    BucketSource, ChromaSource, CommandSource, FilesSource, GitSource, RedisSource, SqliteSource,
};
pub use automation::{BackupTimes, Check, CronLine, Drill, Expectation, Pick, Probe, Schedule};
pub use aws::{AwsBackupSource, PromoteHooks, RdsDatabase, RdsNames, RdsRegion, RdsSource, VaultCopy};
pub use aws_location::AwsLocation;
pub use body_template::fill_in;
pub use credentials::Credentials;
pub use dormant::dormant;
pub use fault::{PolicyFault, PolicyFaults, TextPosition};
pub use firings::{drill_grace_ends, firings, last_firing, next_firing};
pub use json_schema::schema;
pub use lint::{Lint, lint, widest_gap};
pub use load::{load, parse};
pub use lock_term::RuleTerms;
pub use notify::{Channel, Heartbeats, Job, Mail, MailTls, Notify, NotifyRoute, Severity, Webhook};
pub use postgres::{
    BaseBackup, BaseMethod, LogicalDump, PasswordSource, PostgresSource, RowCounts, WalArchiving, WalMethod,
};
pub use prices::{Estimate, Prices};
pub use recovery_point::{PauseHooks, PointPolicy, Reference};
pub use retention::{CalendarSpan, CalendarUnit, Retention, Rules, SourceRules};
pub use settings::{
    Checksum, Compression, Encryption, LockMode, LockTerm, ObjectLock, Objectives, Policy, Recipient,
    RepositoryConfig, RepositoryLocation, S3Location, ServerSideEncryption, Transfer,
};
pub use source::{Source, SourceConfig};
