//! One TOML file says what is protected, where it goes and how good it must be. This module turns it
//! into validated intent, or into every fault it has at once, each with file, line, key and a hint.
//!
//! *Invariants.* A [`Policy`] that exists is valid: names are names, URLs parse, durations are positive,
//! recipients are age recipients. Unknown keys are refused: an ignored setting is a defect. A policy
//! never holds a secret, only where to find it ([`crate::platform::SecretRef`]).
//!
//! *Not here.* Whether the host can do what the policy asks: `drctl doctor`.

mod intent;

pub use intent::{
    Checksum, Compression, Credentials, Encryption, LockMode, LogicalDump, ObjectLock, Objectives, Place,
    Policy, PostgresSource, Recipient, RepositoryConfig, RowCounts, S3Place, ServerSideEncryption, Source,
    SourceConfig, Transfer,
};
