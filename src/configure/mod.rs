//! The settings that a server lacks for archiving and base backups according to the policy, and how to fix
//! them.
//!
//! *Invariants.* [`plan`] decides from [`SettingFacts`] alone. Only [`apply`] changes anything, by exactly
//! the statements that the findings show. A command that archives elsewhere is replaced only on request.
//!
//! *Not here.* `pg_hba.conf`: the required line is shown, and an administrator adds it.

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
