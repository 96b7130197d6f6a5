//! Access to AWS and compatible services: HTTP client, credentials, deadlines, retries.
//!
//! *Invariants.* TLS is rustls with `ring`, and uses the host's trust store. The policy alone determines
//! where requests go: no environment variable and no profile redirects a repository to another endpoint. The
//! same holds for credentials: a policy that names a profile, a role or keys gets those or an error. Every
//! request has a deadline and a limit of attempts.
//!
//! *Not here.* The S3 protocol of stores: [`crate::store`].

pub mod backup;
mod caller;
mod client_config;
mod convert;
mod corrupt_upload_retry;
mod credentials;
mod deletion;
mod error;
mod failure;
mod kms;
mod last_attempt;
mod lazy_http_client;
mod poll;
pub mod rds;
mod region_query;
mod s3;
pub mod sns;
mod tags;

pub use caller::{
    Caller, CallerError, ContextType, Decision, SimulationContext, SimulationRequest, caller, simulate,
};
pub use client_config::{CallPace, paced_config, sdk_config};
pub use deletion::Deletion;
pub use error::AwsError;
pub use failure::{AwsFailure, FailureKind};
pub use kms::{KmsKey, KmsKeyError, key};
pub use last_attempt::{LastAttempt, cause};
pub use poll::{Poll, PollError, PollProgress, PolledState, Start, Waiter, start_or_adopt};
pub use region_query::while_asked;
pub use s3::{S3Client, S3Timeouts, s3_client};
pub use tags::{AwsTags, EXPIRES, MANAGED, NAME, OWNER, RESTORED_FROM, SOURCE, SYSTEM};
