use thiserror::Error;

use crate::aws::{AwsError, AwsFailure, PollError};
use crate::source::aws::DetailsError;

/// Why a snapshot could not be taken.
#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error("there is no {kind} `{identifier}` in {region}: look at the source's `region` and `{kind}`")]
    NoDatabase { kind: &'static str, identifier: String, region: String },
    #[error(
        "`{identifier}` is an instance of cluster `{cluster}`, and RDS takes snapshots of the cluster only: write `cluster = \"{cluster}\"` in the source, in the place of `instance`"
    )]
    Member { identifier: String, cluster: String },
    #[error("`{identifier}` is `{status}`, and RDS takes no snapshot of it: {advice}")]
    Unfit { identifier: String, status: String, advice: String },
    #[error(
        "there is a snapshot `{identifier}` in {region} that is not this backup ({what}): remove or rename it if it is yours"
    )]
    Taken { identifier: String, region: String, what: &'static str },
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error(transparent)]
    Wait(#[from] PollError),
    #[error("the snapshot is there, and RDS does not say of which moment it is")]
    NoTime,
    #[error(transparent)]
    Details(#[from] DetailsError),
    #[error("interrupted")]
    Interrupted,
}
