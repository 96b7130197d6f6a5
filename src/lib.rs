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
//! | [`backup`], [`restore`], [`recovery`], [`instance`], [`resource`], [`upkeep`], [`doctor`] | the use cases: where there is something to decide, `plan` decides and `execute` acts |
//! | [`setup`] | the first day: a pair of keys, and a policy to begin with |
//! | [`iam`] | what each role needs in AWS, and must not have, from the policy |
//! | [`check`] | the policy's checks, asked of a database that was restored |
//! | [`wal`] | the archive of write-ahead log: push, fetch, and what it can bring back |
//! | [`source`] | where a backup's bytes come from, one file a kind |
//! | [`catalog`] | a database of what is in the repositories; always rebuildable from them |
//! | [`repository`] | the on-store format, the store trait and its implementations, writer, reader, lease, journal |
//! | [`pipeline`] | bytes in, bytes out: digest, compress, encrypt, with back-pressure and bounded memory |
//! | [`postgres`] | talking to PostgreSQL: connections, `pg_*` binaries |
//! | [`aws`] | talking to AWS: SDK configuration, its control planes, IAM tokens for a login |
//! | [`policy`] | TOML → validated intent, every fault with file, line and a hint |
//! | [`event`] | everything a use case can say while it runs, as data |
//! | [`platform`] | the only door to ambient state: clock, child processes, secrets |
//! | [`model`] | the vocabulary, as plain values |

pub mod aws;
pub mod backup;
pub mod catalog;
pub mod check;
pub mod cli;
pub mod doctor;
pub mod event;
pub mod iam;
pub mod instance;
pub mod model;
pub mod pipeline;
pub mod platform;
pub mod policy;
pub mod postgres;
pub mod recovery;
pub mod repository;
pub mod resource;
pub mod restore;
pub mod setup;
pub mod source;
pub mod upkeep;
pub mod wal;
