//! The status page and the metrics over HTTP: read only, and without any state of its own.
//!
//! *Invariants.* A request reads what was collected last, and starts nothing: the repositories are queried once a
//! refresh, however many requests there are. Nothing is answered to another name than those that are allowed, so that no
//! page of another site reads it (DNS rebinding). What is held a request and a connection is bounded, and so is how long
//! a connection lasts. An old snapshot is shown with its age, and why there is no newer one.
//!
//! *Not here.* What is shown: [`crate::monitor`]. How it is collected: [`crate::cli`].

mod answer;
mod connections;
mod hosts;
mod refresh;
mod run;
mod site;

pub use hosts::{AllowedHosts, HostError};
pub use refresh::{Collect, refresh};
pub use run::serve;
pub use site::Site;
