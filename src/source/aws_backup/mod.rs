//! Recovery points of AWS Backup, made by a job of our own, and their copies in other regions. AWS keeps the
//! bytes; in the repositories lies what a restore needs, for when the region cannot be queried.
//!
//! *How a killed run's job is found again.* A job has no tags and does not give its token back, so a run that
//! comes later cannot tell from a job alone whose it is. But what it makes carries our tags from its first
//! moment. So resuming looks at recovery points, and waits for jobs that have none yet until they have one or
//! end: such a job can only be of a plan, or of another user of our role, and AWS Backup would let ours wait
//! behind it anyway. Within a run the token is the backup's id: a request whose answer was lost begins nothing
//! when it is repeated. Nothing has to be written down before the first call.
//!
//! *Of tables and volumes* the tags are with DynamoDB and EC2, which drctl does not query: there a killed run's job is
//! not found again, and its recovery point is an orphan. Which ones are drctl's only the manifests say.
//!
//! *A plan's recovery points* count as the source's where the policy names the plan. The newest of them is
//! adopted, and the continuous one, which AWS does not copy: it gets a manifest, under an id that follows from its ARN
//! and time, and nothing of it is changed. A vault of the plan that cannot be listed costs what is in it, no more.
//!
//! *Invariants.* One backup is one recovery point and one copy a region, however often it was interrupted, but for
//! those of tables and volumes. What does not carry this backup's tags is never tagged, and nothing is deleted.
//! `PARTIAL` is no backup, and a job that completed with a message is reported. A copy that fails costs the copy,
//! not the backup.
//!
//! *Not here.* Restoring one, and removing old ones.

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
