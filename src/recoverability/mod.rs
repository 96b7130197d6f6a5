//! What can be restored from each location (a repository, a region), and up to when; what is lost if
//! locations are lost.
//!
//! *Invariants.* [`assess`](mod@assess), [`wal`], [`archive`], [`immutability`], [`lifecycle`], [`missing_copies`] and [`missing_wal`] are
//! pure: facts are passed as data, and missing ones are requested as an [`evidence::Question`]. Queries are
//! made by [`survey`], [`servers`] and [`cloud`].
//!
//! *Not here.* Whether that meets the objectives: [`crate::status`].

pub mod archive;
pub mod assess;
pub mod aws_backup;
pub mod cloud;
pub mod evidence;
pub mod immutability;
pub mod lifecycle;
pub mod missing_copies;
pub mod missing_wal;
pub mod rds;
pub mod region;
pub mod servers;
pub mod survey;
pub mod time_check;
pub mod wal;
pub mod window;
