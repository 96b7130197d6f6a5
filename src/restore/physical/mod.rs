//! Bringing a cluster back to a moment: a base backup into a directory, and its log up to the moment.
//!
//! ```text
//! survey ─▶ plan ─▶ fetch (decode ▸ write) ─▶ combine (a chain) ─▶ settings ─▶ publish (pg_control) ─▶ start ─▶ prove
//! ```
//!
//! [`PhysicalRestoreRequest`] is the way through them.
//!
//! *Invariants.*
//! - Nothing is written before the log is known to lead, without a gap, from the backup to the moment. What
//!   cannot be reached is refused, with what can be.
//! - Until everything is there, proven and durable, the directory has no `pg_control`, so that no server
//!   starts in it, and a marker says what it is.
//! - A chain is put together inside the directories that are filled, and compared with the server's own sums.
//! - Nothing is written outside the directory and those that the plan names for tablespaces and for `pg_wal`. No live
//!   path of the cluster that was backed up is ever among them: not by its configuration, and not by its log, whose
//!   tablespaces go where the plan says.
//! - The restored server archives nothing, follows nobody and waits for no standby, and runs none of production's jobs.
//! - What only the recovery needs is not in the configuration any more once it is proven: a standby that is made of
//!   the server later follows it.
//! - A server that was started has shown that it is out of recovery, where it ended and on which timeline.
//!
//! *Not here.* Restoring dumps ([`crate::restore::logical`]); which log there is ([`crate::wal`]).

mod ambiguous_target;
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

pub use error::PhysicalRestoreError;
pub use owner::DirectoryOwner;
pub use plan::{PhysicalRestorePlan, ResolvedTarget, plan};
pub use preload::{PreloadAction, PreloadLibrary};
pub use release::{Release, ReleaseError, release};
pub use report::{DirectoryCleanup, PhysicalDetails};
pub use request::{BaseBackupSelector, PhysicalRestoreRequest, RestoreCommand, Start, TablespaceMapping};
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
