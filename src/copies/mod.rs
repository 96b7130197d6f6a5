//! Completes copies: what one repository holds and another lacks is copied unchanged, without keys.
//!
//! *Invariants.* No existing object is changed or deleted, except one that is proven to differ from what was
//! stored, which is replaced with an intact copy. What is brought back from under a delete marker, or by a copy of an older
//! version, deletes no version.

pub mod backups;
mod hidden;
mod hidden_survey;
#[cfg(test)]
mod hidden_survey_tests;
#[cfg(test)]
mod hidden_tests;
pub mod missing_wal;
mod sync;
mod undelete;
pub mod wal;
pub mod wal_repair;

pub use hidden::{HiddenHow, HiddenItem, HiddenObject, HiddenPart, KeyVersions, Undeletion, hidden_items};
pub use hidden_survey::{HiddenSurvey, survey_hidden};
pub use sync::{CopiesReport, SourceWal, sync};
pub use undelete::{UndeletePlan, Undeleted, execute_undelete, plan_undelete};
