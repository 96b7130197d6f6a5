//! What everyone can see of a system without asking: one snapshot, shown as metrics, as a page, and as one line among
//! many.
//!
//! *Invariants.* Pure: data in, text out. Every view is of the same [`SystemSnapshot`], which holds what `drctl status`
//! found, and judges nothing again. A snapshot holds nothing secret. What is not known has no number: it is never shown
//! as good.
//!
//! *Not here.* How a snapshot is collected: [`crate::cli`]. How pages become HTML: [`crate::report`]. HTTP:
//! [`crate::serve`].

mod fleet;
mod metrics;
mod overview;
mod snapshot;
mod stock;
mod system_page;
mod words;

pub use fleet::{FleetLine, Severity, worst_first};
pub use metrics::{FAMILIES, Family, metrics_text};
pub use overview::overview_page;
#[cfg(test)]
pub(crate) use snapshot::tests::{healthy, watched};
pub use snapshot::{
    ChannelSnapshot, DrillSnapshot, FailedCollection, LastDrillRun, RepositorySnapshot, RetentionSnapshot,
    SourceSnapshot, SystemSnapshot, Watched,
};
pub use stock::{BackupStock, stocks};
pub use system_page::system_page;
