//! Restoring an RDS database: into a new instance, or cluster, that an application can use.
//!
//! ```text
//! survey ─▶ plan ─▶ create ─▶ available ─▶ settings ─▶ (members) ─▶ backups on ─▶ login ─▶ hydrate ─▶ backed up
//! ```
//!
//! [`RdsRestoreRequest`] is the way through them.
//!
//! *Invariants.*
//! - Only a new instance is made; nothing that exists is changed, but what an earlier run of the very same
//!   restore made: that one is gone on with, so that a killed run costs no second instance.
//! - How it is set up comes from what was recorded with the backup, and not from a region that may be gone.
//!   What RDS cannot be told is said before anything is made. What somebody wants otherwise ([`Overrides`]) is
//!   theirs to say, each time, and is never recorded as the database's own.
//! - RDS calls an instance available when nobody has used it. It is called usable only after somebody logged
//!   in and read, hydrated only when RDS has no more blocks to fetch, and backed up only when RDS's first backup is
//!   whole; each has a time of its own.
//! - An instance is made without automated backups, which RDS would take at once, for hours, before it changes anything.
//!   They are turned on when it is set up, or when it takes production's place, and never for what is there for a while.
//! - Aurora's API makes a cluster without instances, and nobody can log in to that: the ones that were recorded
//!   are made, and only those that are missing.
//!
//! *Not here.* Taking snapshots ([`crate::source::rds_snapshot`]).

mod aurora_cluster;
mod error;
mod execute;
mod first_backup;
mod identifier;
pub(crate) mod login;
mod overrides;
mod plan;
mod recorded_settings;
mod report;
mod request;
mod restorer;
mod select;
pub(crate) mod settings;
mod survey;

pub use error::RdsRestoreError;
pub(crate) use identifier::is_identifier;
pub use overrides::{Changed, OverrideError, OverrideKey, Overrides};
pub use plan::{Backups, NewGroup, PlannedSetting, RdsRestorePlan, plan};
pub use report::{Milestones, RdsAftermath, RdsDetails, RdsEndpoint};
pub use request::{Lifetime, RdsRestoreRequest, RdsTarget};
pub use select::{RestoreSource, SelectedBackup};
pub use survey::RdsSurvey;
