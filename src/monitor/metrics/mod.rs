//! Metrics in the classic text format of Prometheus (0.0.4), which node_exporter's textfile collector reads, too.
//!
//! *Invariants.* Every metric is a gauge. Times are absolute, so that an alert fires also where nothing is collected any
//! more; targets and deadlines are gauges, so that rules need no constants. No label has an id or a time, so that the
//! number of series does not grow. No line has a timestamp.

mod family;
mod samples;
mod text;
mod values;

pub use family::{FAMILIES, Family};
pub use text::metrics_text;
