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
    /// It ended before this run began, and nobody says whether what it made is still there.
    pub is_unseen: bool,
    /// What AWS said, although it completed. With any of it the restore is not whole.
    pub issues: Vec<String>,
}

impl ResourceDetails {
    /// Why it is not called done, in words. Empty: it is.
    pub(super) fn shortcomings(&self) -> Vec<String> {
        let said = self.issues.iter().map(|issue| format!("AWS Backup says the job completed, and: {issue}"));
        let unseen = self.is_unseen.then(|| {
            format!(
                "job {} had ended before, and whether what it made is still there is not known: look at it, and if it is gone run this again with `--again`",
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
    /// AWS Backup was told to begin it.
    Job(String),
}

impl fmt::Display for ResourceAftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoJob => write!(f, "no job was begun"),
            Self::Job(job) => write!(f, "its job is {job}"),
        }
    }
}

impl Aftermath for ResourceAftermath {}
