//! What AWS keeps: snapshots of RDS and recovery points of AWS Backup, in each region.
//!
//! *Invariants.* Only what drctl made is ever deleted: its tags, its identifier and a manifest in a repository have to
//! agree, when it is listed, before it is planned to go, and once more just before it goes. What is on its way, is being
//! read, is shared with accounts that the policy does not name, is a plan's, or is continuous, stays. What AWS says it
//! deleted is looked for again.
//!
//! *Not here.* What the rules keep: `source_plan` plans a region as it plans a repository.

mod aws_backup;
mod listing;
mod open;
mod rds;
mod region;
mod remove;
mod survey;

#[cfg(test)]
pub(super) use aws_backup::recorded_copies;
pub use listing::{FoundCopy, RecordedCopy, RegionListing};
pub use open::open_regions;
pub use region::{CloudRegion, CloudRemovalError, RemovedCopy};
pub use survey::{inspect_removals, survey_regions};

pub(super) use remove::{RegionRemoval, remove_from_regions};
