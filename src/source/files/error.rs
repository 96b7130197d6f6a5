use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::source::SinkError;

/// Why files could not be captured.
#[derive(Debug, Error)]
pub enum FilesError {
    #[error("a glob of the policy is not one")]
    Glob(#[source] globset::Error),
    #[error("`{}` does not exist: it is one of the policy's `paths`", .path.display())]
    Missing { path: PathBuf },
    #[error("`{}` cannot be read: it is one of the policy's `paths`", .path.display())]
    Root { path: PathBuf, source: io::Error },
    #[error(
        "`{}` of the policy's `paths` is not reached: it is inside of another one, and left out there",
        .path.display()
    )]
    NotReached { path: PathBuf },
    #[error("failed to write the list of files in `{}`", .folder.display())]
    List { folder: PathBuf, source: io::Error },
    #[error("failed to read the list of files of {backup}")]
    Previous { backup: String, source: io::Error },
    #[error("failed to pass on the files")]
    Output(#[source] io::Error),
    #[error("failed to store the files")]
    Store(#[source] SinkError),
    #[error("failed to write down the details")]
    Details(#[source] serde_json::Error),
    #[error("a thread that read files ended in an unknown way")]
    Thread,
    #[error("interrupted")]
    Interrupted,
}
