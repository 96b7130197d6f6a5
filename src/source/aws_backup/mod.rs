//! Recovery points of AWS Backup, created by drctl's own job, and their copies in other regions. AWS keeps
//! the bytes; the repositories have the details that a restore needs when the region cannot be queried.
//!
//! *How a killed run's job is found again.* A job has no tags and does not return its token, so a later run
//! cannot tell from a job alone whose it is. But the recovery point that it creates has our tags from the
//! beginning. So resuming inspects recovery points, and waits for jobs that have none yet until they have one
//! or end: such a job can only be of a plan, or of another user of our role, and AWS Backup would queue ours
//! behind it anyway. Within a run the token is the backup's id: a repeated request whose answer was lost
//! starts nothing. No state has to be written before the first call.
//!
//! *Tables and volumes* have their tags in DynamoDB and EC2, which drctl does not query: there a killed run's
//! job is not found again, and its recovery point is an orphan. Only the manifests record which ones are
//! drctl's.
//!
//! *A plan's recovery points* count as the source's where the policy names the plan. The newest of them is
//! adopted, and the continuous one, which AWS does not copy: it gets a manifest, with an id derived from its
//! ARN and time, and is not changed. A vault of the plan that cannot be listed costs its contents, no more.
//!
//! *Invariants.* One backup is one recovery point and one copy per region, however often it was interrupted,
//! except those of tables and volumes. What does not have this backup's tags is never tagged, and nothing is
//! deleted. `PARTIAL` is not a backup, and a job that completed with a message is reported. A copy that fails
//! costs the copy, not the backup.
//!
//! *Not here.* Restoring one, and deleting old ones: retention.

mod capture;
mod copies;
mod error;
mod latest;
mod manual_restore;
mod plan_points;
mod prepare;
mod resume;
mod source;

pub use error::RecoveryPointError;
pub use latest::{LatestPoint, RegionPoint, in_each_region};
pub(super) use source::RecoveryPointSource;
