//! What a server lacks to be archived and copied as the policy asks, and how that is mended.
//!
//! *Invariants.* [`plan`] decides from [`SettingFacts`] alone. Nothing is changed but by [`apply`], which runs the
//! very statements that the findings show. A command that archives elsewhere is never replaced unasked.
//!
//! *Not here.* `pg_hba.conf`: a line for it is given, and an administrator writes it.

mod apply;
mod facts;
mod finding;
mod plan;
mod server;

pub use apply::{Applied, apply};
pub use facts::{Access, HbaRule, ServerRole, ServerSetting, SettingFacts, Slot};
pub use finding::{Effect, FindingWeight, Fix, SettingFinding, SettingState};
pub use plan::{DesiredSettings, plan, push_command};
pub use server::{ConfigureError, ServerSession};
