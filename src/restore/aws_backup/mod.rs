//! Restoring a resource that AWS Backup keeps: a job of AWS's makes a new one from a recovery point.
//!
//! [`ResourceRestoreRequest`] is the way through it.
//!
//! *Invariants.*
//! - The region that was lost is not asked: what a restore has to say was recorded with the backup, and is read
//!   from the repositories; everything else is asked of the region that is restored in.
//! - What is made gets its name from whoever restores. AWS Backup refuses a name that is taken, and skips the
//!   objects that a bucket has; nothing that exists is overwritten. A key that the kind of resource does not
//!   take is refused before AWS is asked.
//! - A job that a killed run began is gone on with, and one that ended is not begun again unless that is asked
//!   for: AWS would make a second resource.
//! - `COMPLETED` with something to say is told of, and is not called done.
//!
//! *Not here.* Making recovery points ([`crate::source::aws_backup`]); changing or removing anything that a
//! restore made.

mod error;
mod execute;
mod kind;
mod metadata;
mod plan;
mod report;
mod request;
mod restorer;
mod select;
mod survey;

pub use error::ResourceRestoreError;
pub use metadata::{InvalidMetadata, OmittedSetting};
pub use plan::{EarlierJob, ResourceRestorePlan, plan};
pub use report::{ResourceAftermath, ResourceDetails};
pub use request::{ResourceRestoreRequest, assignment};
pub use survey::ResourceSurvey;
