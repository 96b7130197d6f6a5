//! drctl proves, continuously, that a running application can be recovered inside its targets, and
//! recovers it on the day.
//!
//! # The way data flows
//!
//! ```text
//! policy ─▶ source ─▶ pipeline (count·sha256 → zstd → age → count·sha256) ─▶ repository (primary + copies) ─▶ catalog
//!                                                                                    │
//!                          restore (plan → fetch → apply → compare) ◀────────────────┘
//! ```
//!
//! # The layers
//!
//! Imports go down this list, never up, and never sideways between use cases.
//!
//! | module | owns |
//! |---|---|
//! | [`cli`] | arguments, one file a verb, output, error → exit code and hint; the only module that prints |
//! | [`serve`] | the status page and the metrics over HTTP |
//! | [`notify`] | tells people what happened, by severity: routing, channels, heartbeats |
//! | [`monitor`] | the snapshot of a system, as metrics, as a page, and as a line of a fleet |
//! | [`report`] | JSON, Markdown and HTML pages of what drills found, and of what retention comes to |
//! | [`schedule`] | what is due, who does it, and the files that wake drctl for it |
//! | [`drill`] | restores for real, in a sandbox, checked, timed and recorded |
//! | [`runbook`] | runbooks that people read and drctl runs, and the record of each incident |
//! | [`application`] | restores the members of a recovery point together |
//! | [`backup`], [`restore`], [`verify`], [`copies`], [`retention`], [`status`], [`doctor`], [`init`], [`iam`], [`configure`], [`rds_admin`] | the use cases: where there is something to decide, `plan` decides and `execute` acts |
//! | [`run`] | what every use case works with |
//! | [`recoverability`] | what each repository and region can give back, and up to when |
//! | [`checks`] | the policy's checks, run against a database that was restored |
//! | [`wal`] | the WAL archive: push, fetch, stream, and what it can bring back |
//! | [`source`] | where a backup's bytes come from, one folder a kind |
//! | [`catalog`] | a database of what is in the repositories; always rebuildable from them |
//! | [`repository`] | the on-store format: writer, reader, lease, journal |
//! | [`store`] | object stores: the trait and its drivers |
//! | [`pipeline`] | bytes in, bytes out: digest, compress, encrypt, with back-pressure and bounded memory |
//! | [`postgres`] | talking to PostgreSQL: connections, `pg_*` binaries |
//! | [`sqlite`] | consistent copies of SQLite databases, and what is in them |
//! | [`redis`] | talking to Redis: connections, dumps |
//! | [`aws`] | talking to AWS: SDK configuration, its control planes, IAM tokens for a login |
//! | [`policy`] | TOML → validated policy, every fault with file, line and a hint |
//! | [`event`] | everything a use case can report while it runs, as data |
//! | [`platform`] | the only door to ambient state: clock, child processes, secrets |
//! | [`text`] | durations, sizes, times, error chains, suggestions: one way each |
//! | [`model`] | the vocabulary, as plain values |

pub mod application;
pub mod aws;
pub mod backup;
pub mod catalog;
pub mod checks;
pub mod cli;
pub mod configure;
pub mod copies;
pub mod doctor;
pub mod drill;
pub mod event;
pub mod iam;
pub mod init;
pub mod model;
pub mod monitor;
pub mod notify;
pub mod pipeline;
pub mod platform;
pub mod policy;
pub mod postgres;
pub mod rds_admin;
pub mod recoverability;
pub mod redis;
pub mod report;
pub mod repository;
pub mod restore;
pub mod retention;
pub mod run;
pub mod runbook;
pub mod schedule;
pub mod serve;
pub mod source;
pub mod sqlite;
pub mod status;
pub mod store;
pub mod text;
pub mod verify;
pub mod wal;
