//! What a `docker-compose.yml` says of an application, as sources of a policy.
//!
//! ```text
//! file ─▶ ComposeFile ─▶ scan of its directories ─▶ propose ─▶ Proposal
//! ```
//!
//! *Invariants.* Nothing is started, changed or queried but files: Docker is not needed. A password that the file has in
//! clear is never repeated, neither in the policy nor in a message. What is recognised and not backed up is said.
//!
//! *Not here.* Writing the policy: [`super::PolicyTemplate`].

mod file;
mod interpolate;
mod propose;
mod scan;

use std::path::Path;

use thiserror::Error;

pub use propose::{Proposal, ProposedSource, ProposedValue};

/// Why a compose file could not be read.
#[derive(Debug, Error)]
pub enum ComposeError {
    #[error("failed to read `{path}`")]
    Read { path: std::path::PathBuf, source: std::io::Error },
    /// Without the parser's words, which quote lines that may hold passwords.
    #[error("`{path}` is not YAML{}", .line.map(|line| format!(", at line {line}")).unwrap_or_default())]
    NotYaml { path: std::path::PathBuf, line: Option<u64> },
    #[error("`{path}` has no services: it is no compose file")]
    NoServices { path: std::path::PathBuf },
}

/// Reads a compose file, and proposes sources for what it describes.
pub fn propose_from(path: &Path) -> Result<Proposal, ComposeError> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let compose = file::read(&path)?;
    let found = compose.host_directories().into_iter().map(|directory| {
        let databases = scan::databases(&directory);
        (directory, databases)
    });
    let found = found.collect();
    Ok(propose::propose(&compose, &found))
}
