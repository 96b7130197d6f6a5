//! Putting a restored instance or cluster in production's place: writers are stopped, the old one steps aside and
//! keeps everything, the new one takes its name, a login proves it, and writers come back.
//!
//! The instances of an Aurora cluster are renamed with it, before anybody logs in: a rename restarts them.
//!
//! *Invariants.* Which steps are done is seen in RDS, so that a promotion that was killed is resumed by the same
//! command. The hooks of the policy (`freeze`, `redirect`, `reopen`) are run again then: they must
//! bear it. The old one is renamed and never deleted. What is promoted was made by a restore of drctl's of
//! this very source.
//!
//! *Not here.* Making it ([`crate::restore::rds::plan()`]).

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
