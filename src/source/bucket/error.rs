use std::io;

use thiserror::Error;

use crate::aws::AwsError;
use crate::source::SinkError;
use crate::store::StoreError;

/// Why a bucket could not be captured. Never holds a key: the journal is not encrypted.
#[derive(Debug, Error)]
pub enum BucketError {
    #[error("failed to open the bucket")]
    Open(#[source] AwsError),
    #[error("failed to list the bucket")]
    List(#[source] StoreError),
    #[error("failed to read object {number} of the listing")]
    Read { number: u64, source: StoreError },
    #[error("object {number} of the listing breaks off again and again: {reason}")]
    Broken { number: u64, reason: String },
    #[error("failed to write to the spool of the listing")]
    Spool(#[source] io::Error),
    #[error("{0}")]
    State(String),
    #[error("`{0}` is not a glob")]
    Glob(String),
    #[error("failed to store what is in the bucket")]
    Store(#[source] SinkError),
    #[error("what stores the archive has ended")]
    Ended,
    #[error("interrupted")]
    Interrupted,
}
