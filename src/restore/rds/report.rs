use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Changed;
use crate::aws::PollError;
use crate::restore::{Aftermath, AwsRestoreError};

/// Seconds from the start to each milestone; `None`: not reached, or not tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Milestones {
    /// RDS reports it as available, or as backing up and usable meanwhile.
    pub available: Option<f64>,
    /// A login succeeded and read.
    pub usable: Option<f64>,
    /// The policy's checks ran, and all of them passed.
    pub validated: Option<f64>,
    /// Every block is there.
    pub hydrated: Option<f64>,
    /// RDS's first automated backup of it is complete: from then on it can be restored to any point in time.
    pub backed_up: Option<f64>,
}

/// The details of a report that only a restored instance or cluster has.
#[derive(Clone, Debug, Serialize)]
pub struct RdsDetails {
    pub region: String,
    /// The source it was created from, as text.
    pub from: String,
    pub instance: String,
    /// The instances of a cluster.
    pub members: Vec<String>,
    pub host: String,
    pub port: u16,
    /// An earlier run created it, and this one resumed.
    pub resumed: bool,
    pub marks: Milestones,
    /// What the server reported; absent where the policy has no login.
    pub server: Option<RdsEndpoint>,
    /// The retention of automated backups in days; absent where there are none yet, or it is unknown.
    pub backups: Option<u32>,
    pub not_reproduced: Vec<String>,
    /// Settings that differ from what was recorded.
    pub changed: Vec<Changed>,
}

/// What a login read.
#[derive(Clone, Debug, Serialize)]
pub struct RdsEndpoint {
    pub version: String,
    /// Whether the connection was encrypted.
    pub tls: bool,
    /// Tables outside of the system's schemas.
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
    /// It is in a state that it does not leave without intervention.
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
