//! First-time setup: a key pair, and an initial policy.
//!
//! *Invariants.* Nothing is overwritten. An identity is written with mode 0600 from its first byte on, to the
//! two given paths and nowhere else; if one of them cannot be written, neither is left behind. A policy is
//! written only if [`crate::policy::parse`] finds no fault in it.
//!
//! *Not here.* Prompts and flags: [`crate::cli`].

pub mod compose;
mod database_probe;
mod keys;
mod policy_template;

pub use database_probe::{ProbeError, ProbeResult, probe};
pub use keys::{KeyFile, KeysError, KeysPlan};
pub use policy_template::{PolicyTemplate, TemplateRepository};
