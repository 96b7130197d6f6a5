//! The first day: a pair of keys, and a policy to begin with.
//!
//! *Invariants.* Nothing is overwritten. An identity is written with mode 0600 from its first byte on, to
//! the two places that were named and nowhere else; when one of them cannot be written, neither stays.
//! A policy is written only if [`crate::policy::parse`] finds no fault in it.
//!
//! *Not here.* Questions and flags: [`crate::cli`].

mod database_probe;
mod keys;
mod policy_template;

pub use database_probe::{ProbeError, ProbeResult, probe};
pub use keys::{KeyFile, KeysError, KeysPlan};
pub use policy_template::{PolicyTemplate, TemplateRepository};
