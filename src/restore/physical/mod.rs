//! Point-in-time recovery of a cluster: a base backup into a directory, and its WAL up to the target.
//!
//! ```text
//! survey ─▶ plan ─▶ fetch (decode ▸ write) ─▶ combine (a chain) ─▶ settings ─▶ publish (pg_control) ─▶ start ─▶ prove
//! ```
//!
//! [`PhysicalRestoreRequest`] is the entry point.
//!
//! *Invariants.*
//! - Nothing is written before the WAL is known to lead, without a gap, from the backup to the target. A
//!   target that cannot be reached is refused, with what can be restored instead.
//! - Until everything is present, verified and durable, the directory has no `pg_control`, so that no server
//!   starts in it, and a marker identifies it.
//! - A chain is combined inside the target directories, and compared with the server's own checksums.
//! - Nothing is written outside the directory and those that the plan names for tablespaces and for `pg_wal`.
//!   No live path of the backed-up cluster is ever among them: neither through its configuration nor through
//!   its WAL, whose tablespaces are created where the plan says.
//! - The restored server archives nothing, replicates from no server, waits for no standby, and runs none of
//!   production's jobs.
//! - Settings that only the recovery needs are removed from the configuration once it is verified: a standby
//!   created from the server later would apply them.
//! - A started server has been verified to be out of recovery, at the position and on the timeline of the
//!   plan.
//!
//! *Not here.* Restoring dumps ([`crate::restore::logical`]); the inventory of WAL ([`crate::wal`]).

mod ambiguous_target;
mod collation;
mod combine_incrementals;
mod configured;
mod delta;
mod directory_lock;
mod error;
mod execute;
mod fetch;
mod host;
mod layout;
mod manual_restore;
mod owned_file;
mod owner;
mod plan;
mod preflight;
mod preload;
mod release;
mod release_jobs;
mod replay_effects;
mod report;
mod request;
mod resume;
mod select;
mod server_log;
mod settings;
mod start;
mod survey;
mod tablespaces;
mod target;
mod teardown;
mod timelines;
mod unpack;
mod wal_scan;
mod wal_survey;
mod window;

use chrono::{DateTime, Utc};

use super::{CreatedObject, Executed, Method, Refusal, RestoreProgress, Restorer};
use crate::run::RunContext;

pub use collation::COLLATION_VERSION;
pub use error::PhysicalRestoreError;
pub use owner::DirectoryOwner;
pub use plan::{PhysicalRestorePlan, ResolvedTarget, plan};
pub use preload::{PreloadAction, PreloadLibrary, is_library_list};
pub use release::{Release, ReleaseError, ReleasedJobs, release};
pub use release_jobs::JobsError;
pub use report::{DirectoryCleanup, PhysicalDetails};
pub use request::{
    BaseBackupSelector, ConfinedStart, PhysicalRestoreRequest, RestoreCommand, Start, TablespaceMapping,
};
pub use start::{ServerState, Started};
pub use survey::PhysicalSurvey;
pub use tablespaces::TablespacePlan;
pub use target::{RecoveryTarget, RecoveryTargetError, parse_name, parse_time, parse_transaction, shown};
pub use timelines::Branch;
pub use window::RecoveryWindow;

impl Restorer for PhysicalRestoreRequest {
    const METHOD: Method = Method::Physical;
    type Survey = PhysicalSurvey;
    type Plan = PhysicalRestorePlan;
    type Details = PhysicalDetails;
    type Error = PhysicalRestoreError;
    type Aftermath = DirectoryCleanup;

    async fn survey(&self, run: &RunContext) -> Result<PhysicalSurvey, PhysicalRestoreError> {
        survey::survey(run, self).await
    }

    fn plan(
        &self,
        survey: PhysicalSurvey,
        now: DateTime<Utc>,
        _seed: u32,
    ) -> Result<PhysicalRestorePlan, Vec<Refusal>> {
        plan::plan(self, survey, now)
    }

    async fn execute(
        run: &RunContext,
        plan: &PhysicalRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self> {
        execute::execute(run, plan, progress).await
    }

    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String> {
        teardown::remove(run, self, object).await
    }
}
