//! Keeping what is stored good: reading it again ([`verify`], the log: [`verify_log`], and whether AWS has what it
//! keeps: [`verify_kept`]), completing copies ([`copies`]), saying where a system stands ([`standing`], with what the
//! archived log adds to it: [`log`], what the servers say themselves: [`servers`], and what AWS keeps in each region:
//! [`regions`]), proving that an identity opens a backup ([`keys`]).
//!
//! *Invariants.* Verifying and copying need no key, and nothing here changes or deletes an object that stands, but for a
//! copy of log that is proven not to be what was stored, which a good one replaces; what was made in RDS for a while
//! is removed when its time is over ([`reap`]), and nothing else there. Whatever is found is written to the journal, then
//! to the catalog. A copy that could not be read to its end is neither good nor bad, and is said to be so.
//!
//! *Not here.* What to keep and what to delete.

pub mod copies;
mod examine;
pub mod keys;
pub mod log;
mod rds_regions;
pub mod reap;
pub mod regions;
pub mod replicate;
mod run;
#[cfg(test)]
mod sample;
pub mod servers;
pub mod standing;
mod vault_regions;
pub mod verify;
pub mod verify_kept;
pub mod verify_log;

pub use run::{Run, RunError};
