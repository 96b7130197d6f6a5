//! What each location (a repository, a region) can give back, and up to when; what is lost if locations are lost.
//!
//! *Invariants.* [`assess`](mod@assess), [`wal`], [`archive`], [`missing_copies`] and [`missing_wal`] are pure: what has to be known comes as data, and what is not known yet
//! is asked for as an [`evidence::Question`]. Asking is for [`survey`], [`servers`] and [`cloud`].
//!
//! *Not here.* Whether that is good enough: [`crate::status`].

pub mod archive;
pub mod assess;
pub mod aws_backup;
pub mod cloud;
pub mod evidence;
pub mod missing_copies;
pub mod missing_wal;
pub mod rds;
pub mod region;
pub mod servers;
pub mod survey;
pub mod time_check;
pub mod wal;
pub mod window;
