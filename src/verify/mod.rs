//! Reading what is stored again, as a [`plan`] says: every copy of backups ([`backups`]) and of WAL ([`wal`]), byte for byte; whether AWS
//! still has what it keeps ([`cloud`]); whether an identity opens a backup ([`identity`]).
//!
//! *Invariants.* Needs no key but for [`identity`]. Changes nothing but the journal and the catalog. A copy that could
//! not be read to its end is neither intact nor damaged, and is reported so.

pub mod backups;
pub mod cloud;
pub mod finding;
#[cfg(test)]
pub mod fixtures;
pub mod identity;
pub mod plan;
pub mod read_copy;
pub mod wal;
