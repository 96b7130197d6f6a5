use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Changed;
use crate::aws::PollError;
use crate::restore::{Aftermath, AwsRestoreError};

/// Seconds from the beginning to each moment that counts; `None` is not reached, or not tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Milestones {
    /// RDS calls it available, or backs it up and lets it be used meanwhile.
    pub available: Option<f64>,
    /// A login worked and read.
    pub usable: Option<f64>,
    /// The policy's checks were asked, and all of them held.
    pub validated: Option<f64>,
    /// Every block is there.
    pub hydrated: Option<f64>,
    /// RDS's first automated backup of it is complete: from then on it can be restored to any point in time.
    pub backed_up: Option<f64>,
}

/// What is said of a restored instance or cluster alone.
#[derive(Clone, Debug, Serialize)]
pub struct RdsDetails {
    pub region: String,
    /// What it was made from, in words.
    pub from: String,
    pub instance: String,
    /// Of a cluster.
    pub members: Vec<String>,
    pub host: String,
    pub port: u16,
    /// An earlier run made it, and this one resumed.
    pub resumed: bool,
    pub marks: Milestones,
    /// What the server reported; absent where the policy has no way to log in.
    pub server: Option<RdsEndpoint>,
    /// For how many days RDS keeps automated backups of it; absent where it keeps none yet, or nothing is known.
    pub backups: Option<u32>,
    pub not_reproduced: Vec<String>,
    /// What was set otherwise than it was recorded.
    pub changed: Vec<Changed>,
}

/// What a login saw.
#[derive(Clone, Debug, Serialize)]
pub struct RdsEndpoint {
    pub version: String,
    /// Whether the connection was encrypted.
    pub tls: bool,
    /// Tables that are not the system's.
    pub tables: u64,
    /// The newest commit that the server knows the time of.
    pub newest_commit: Option<DateTime<Utc>>,
}

/// What a failed restore leaves in AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdsAftermath {
    NotMade,
    /// RDS was called to create it.
    Made,
    /// It is in a state that it does not leave by itself.
    Stuck,
}

impl RdsAftermath {
    pub(super) fn after_failure(begun: bool, error: &AwsRestoreError) -> Self {
        match (begun, error) {
            (true, AwsRestoreError::Wait(PollError::Failed { .. })) => Self::Stuck,
            (true, _) => Self::Made,
            (false, _) => Self::NotMade,
        }
    }
}

impl fmt::Display for RdsAftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMade => "no instance was made",
            Self::Made => "what RDS has made of it stays and is billed: the same command resumes it",
            Self::Stuck => {
                "it is in a terminal state and still billed: inspect it, or delete it and restore under another name"
            }
        })
    }
}

impl Aftermath for RdsAftermath {}
