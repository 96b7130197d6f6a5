//! Promoting a restored instance or cluster to production: writers are stopped, the old one is renamed and
//! keeps everything, the new one takes its name, a login verifies it, and writers are resumed.
//!
//! The instances of an Aurora cluster are renamed with it, before the login: a rename restarts them.
//!
//! *Invariants.* The state in RDS determines which steps are done, so that the same command resumes a killed
//! promotion. The hooks of the policy (`freeze`, `redirect`, `reopen`) are run again then: they must be
//! idempotent. The old database is renamed and never deleted. Only a database created by a restore of drctl
//! from this very source is promoted.
//!
//! *Not here.* Creating it ([`crate::restore::rds::plan()`]).

mod execute;
mod members;
mod plan;
mod refusal;
mod survey;

pub use execute::{CompletedStep, PromoteError, Promoter};
pub use members::Rename;
pub use plan::{Promotion, PromotionStep, plan};
pub use refusal::PromoteRefusal;
pub use survey::{MemberFacts, PromoteRequest, PromotionSurvey};
