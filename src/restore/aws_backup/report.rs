use std::fmt;

use serde::Serialize;

use crate::restore::Aftermath;

/// What is said of a restored resource alone.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceDetails {
    pub region: String,
    pub job: String,
    /// ARN of what was made; AWS does not say it of every kind.
    pub created: Option<String>,
    /// By AWS's clock, of the job.
    pub job_seconds: Option<f64>,
    /// The job had ended when this run began.
    pub was_over: bool,
    /// It ended before this run began, and whether what it made is still there is not known.
    pub is_unseen: bool,
    /// What AWS said, although it completed. With any of it the restore is not complete.
    pub issues: Vec<String>,
}

impl ResourceDetails {
    /// Returns why it is not called done. Empty: it is.
    pub(super) fn shortcomings(&self) -> Vec<String> {
        let said = self.issues.iter().map(|issue| format!("AWS Backup says the job completed, and: {issue}"));
        let unseen = self.is_unseen.then(|| {
            format!(
                "job {} had ended before, and whether what it made is still there is not known: check it, and if it is gone run this again with `--again`",
                self.job
            )
        });
        said.chain(unseen).collect()
    }
}

/// What a failed restore leaves in AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceAftermath {
    NoJob,
    /// AWS Backup was called to start it.
    Job(String),
}

impl fmt::Display for ResourceAftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoJob => write!(f, "no job was started"),
            Self::Job(job) => write!(f, "its job is {job}"),
        }
    }
}

impl Aftermath for ResourceAftermath {}
