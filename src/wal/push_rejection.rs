use thiserror::Error;

use super::FileError;
use super::cluster::ClusterError;
use crate::model::Digest;
use crate::store::StoreError;

/// Why one repository does not have a file.
#[derive(Debug, Error)]
pub(super) enum PushRejection {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(
        "`{key}` already exists in {location} and is different: {} bytes with SHA-256 {}, and this one has {} bytes with {}",
        .found.size, .found.sha256, .given.size, .given.sha256
    )]
    Different { key: String, location: String, found: Digest, given: Digest },
    #[error(
        "`{key}` already exists in {location} without digest metadata: cannot verify that it is identical"
    )]
    Untold { key: String, location: String },
    #[error("failed to read the file to archive")]
    File(#[source] FileError),
}
