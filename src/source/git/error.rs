use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::refs::BadRefs;
use crate::platform::{ProcessError, SecretError};
use crate::source::SinkError;
use crate::text::format_duration;

/// Why a repository could not be captured.
#[derive(Debug, Error)]
pub enum GitError {
    #[error("`{remote}` begins with `-`, and would be an option of Git")]
    Option { remote: String },
    #[error("a token is sent over https only, and `{remote}` is not such a URL")]
    PlainToken { remote: String },
    #[error("failed to get the {what} of the repository")]
    Secret { what: &'static str, source: SecretError },
    #[error("failed to hand the private key to ssh")]
    Key(#[source] io::Error),
    #[error("`{remote}` cannot be reached")]
    Unreachable { remote: String, source: ProcessError },
    #[error("`{remote}` rejected the credentials, or there are none")]
    Denied { remote: String, source: ProcessError },
    #[error("the key of the host of `{remote}` is not known on this host, or is another one than it was")]
    HostKey { remote: String, source: ProcessError },
    #[error("there is no Git repository at `{remote}`, or the credentials may not read it")]
    NotARepository { remote: String, source: ProcessError },
    #[error("failed to read `{remote}`")]
    Remote { remote: String, source: ProcessError },
    #[error("`{remote}` is empty: it has no refs, and so nothing to back up")]
    Empty { remote: String },
    #[error("failed to understand what Git wrote")]
    Answer(#[from] BadRefs),
    #[error("failed to write the mirror `{}`", .path.display())]
    Mirror { path: PathBuf, source: io::Error },
    #[error("failed to run Git on the mirror")]
    Local(#[source] ProcessError),
    #[error("failed to store what Git writes")]
    Store(#[source] SinkError),
    #[error("the repository was not captured within {}", format_duration(*.0))]
    Deadline(std::time::Duration),
    #[error("interrupted")]
    Interrupted,
}
