//! Restoring a whole application: the members of a recovery point together, with one plan, one report and one verdict.
//!
//! ```text
//! select (which backup of each member) ─▶ prepare (each member's own plan) ─▶ run (several at a time) ─▶ references
//! ```
//!
//! *Invariants.*
//! - Every member is planned before any is restored; what is against any of them is reported at once, and nothing is touched.
//! - A member is restored by its own method, through [`crate::restore::prepare`] alone, and has its own record in the
//!   journal.
//! - A member that failed does not stop the others, unless the request says so.
//! - What was restored is noted beside it as soon as it is: the same request resumes, and restores nothing twice.
//!
//! *Not here.* What a recovery point is ([`crate::repository::points`]), and how it is taken ([`crate::backup`]).

mod destination;
mod error;
mod execute;
mod member;
mod plan;
mod prepare;
mod references;
mod report;
mod request;
mod select;
mod state;
mod target;

pub use error::{ApplicationError, MemberError, MemberRefused};
pub use execute::VERB;
pub use plan::{ApplicationPlan, MemberPlan};
pub use prepare::{PreparedApplication, prepare};
pub use report::{ApplicationReport, MemberOutcome, MemberReport};
pub use request::{ApplicationRequest, WalAccess};
pub use select::{MemberBackup, MemberSource, PointSelector, Prefers, SelectedMember, Selection, select};
pub use state::StateError;
pub use target::{ApplicationTarget, TargetError};
