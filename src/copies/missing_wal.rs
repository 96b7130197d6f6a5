use thiserror::Error;

use crate::model::{RepositoryName, Sha256Hex};
use crate::store::StoreError;

/// Objects up to this size are copied with one request.
pub(crate) const WHOLE: u64 = 40 << 20;

/// Why a file was not copied.
#[derive(Debug, Error)]
pub enum SyncFault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "`{key}` in {location} is not what was stored: it has SHA-256 {found}, and {expected} was stored"
    )]
    Altered { key: String, location: String, found: Sha256Hex, expected: Sha256Hex },
    #[error(
        "`{key}` in {location} differs from another copy of it, and nothing was kept with it that says which is right: if the other one is, delete it there and run `drctl copies sync` again"
    )]
    Unsaid { key: String, location: String },
    #[error("failed to go on: the run was interrupted")]
    Interrupted,
}

/// A file that one repository lacks and others have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingWalCopies {
    pub key: String,
    pub to: RepositoryName,
    /// The repositories that have it, in the policy's order.
    pub from: Vec<RepositoryName>,
}
