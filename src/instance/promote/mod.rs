//! Putting a restored instance in production's place: writers are stopped, the old one steps aside and keeps
//! everything, the new one takes its name, somebody logs in, and writers come back.
//!
//! *Invariants.* Which steps are done is seen in RDS, so that a promotion that was killed is gone on with by
//! the same command. The hooks of the policy (`freeze`, `redirect`, `reopen`) are run again then: they must
//! bear it. The old instance is renamed and never deleted. What is promoted was made by a restore of drctl's of
//! this very source.
//!
//! *Not here.* Making the instance ([`super::plan()`]).

mod execute;
mod plan;

pub use execute::{Done, PromoteError, Promoter};
pub use plan::{Facts, PromoteRefusal, PromoteRequest, Promotion, Step, plan};
