//! Verification of stored data according to a [`plan`]: every copy of backups ([`backups`]) and of WAL
//! ([`wal`]), byte for byte; whether AWS still has its backups ([`cloud`]); whether an identity opens a
//! backup ([`identity`]); whether the journal is what was written ([`journal`]).
//!
//! *Invariants.* Needs no key except for [`identity`]. Changes nothing but the journal and the catalog. A
//! copy that could not be read completely is neither intact nor damaged, and is reported as such.

pub mod backups;
pub mod cloud;
pub mod finding;
#[cfg(test)]
pub mod fixtures;
pub mod identity;
pub mod journal;
pub mod plan;
pub mod read_copy;
pub mod wal;
