//! Restore drills: a backup is restored for real, in a sandbox, checked, timed, recorded, and removed again.
//!
//! ```text
//! sample ─▶ sandbox ─▶ restore ─▶ checks ─▶ verdict ─▶ clean up ─▶ record
//! ```
//!
//! *Invariants.*
//! - Nothing of production is written, and what is restored reaches no network.
//! - A check that could not be run has not passed, and what the drill's host lacks is never the backup's fault.
//! - A drill leaves a record, whatever became of it; records are never changed, and each names the one before.
//!
//! *Not here.* How a restore is done: [`crate::restore`]. Reports: [`crate::report`].

mod amcheck;
mod amcheck_verdict;
mod aws_backup;
mod by_runbook;
mod checking;
mod course;
pub mod evidence;
mod facts;
pub mod forecast;
mod in_sandbox;
pub mod integrity;
mod judge;
mod locate;
mod look_back;
mod members;
mod period;
pub mod population;
mod rds;
mod record;
mod request;
mod restore_sample;
mod run;
mod sample;
mod sandbox;
mod scenario;
mod stages;
mod survivors;

pub use look_back::{EarlierView, LookedBack, MassHiding, look_back};
pub use period::{Period, YearMonth};
pub use rds::rds_restore;
pub use record::{
    Acknowledgement, CheckCriterion, CheckEvidence, Cleanup, Criteria, DrillIdentity, DrillPhase,
    DrillRecord, DrillVerdict, DrilledRunbook, Environment, PassedOver, People, PreviousDrill, RECORD_FORMAT,
    Results, Sample, SampledArtifact, Trigger, VerdictReason,
};
pub use request::{ApplicationDrill, DrillRequest, RdsDrill, ResourceDrill, RunbookDrill};
pub use run::{Concluded, Preview, preview, run};
pub use sample::{Choice, SampleRequest, SampledRestore};
pub use scenario::Scenario;
pub use stages::{CUT_OVER, DETECT};
pub use survivors::{DrillSourceError, Survivors, SurvivorsError, drilled_source, survivors};

#[cfg(test)]
pub(crate) use record::tests::passed;
