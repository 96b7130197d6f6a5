//! Whether the current recoverability meets the objectives, location by location, and the cost of losing
//! each.
//!
//! *Invariants.* [`assess`] is pure; [`StatusSurvey`] makes queries, and changes nothing.
//!
//! *Not here.* What can be recovered: [`crate::recoverability`].

pub mod archive;
mod assess;
mod drill;
mod location;
mod retention;
mod survey;
mod undelivered;
mod verdict;

pub use assess::{LossImpact, SourceStatus, assess};
pub use drill::{DrillConcern, drill_concern, drill_runs};
pub use location::{LocationStatus, Newest, ReplacedCluster};
pub use retention::{RetentionConcern, retention_concern};
pub use survey::StatusSurvey;
pub use undelivered::{UndeliveredConcern, undelivered_concerns};
pub use verdict::ObjectiveVerdict;
