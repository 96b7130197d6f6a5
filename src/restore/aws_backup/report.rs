use std::fmt;

use serde::Serialize;

use crate::restore::Aftermath;

/// The details of a report that only a restored resource has.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceDetails {
    pub region: String,
    pub job: String,
    /// ARN of the created resource; AWS does not report it for every kind.
    pub created: Option<String>,
    /// The duration of the job, by AWS's clock.
    pub job_seconds: Option<f64>,
    /// The job had ended before this run began.
    pub was_over: bool,
    /// It ended before this run began, and whether its resource still exists is unknown.
    pub is_unseen: bool,
    /// Messages of AWS, although the job completed. With any of them the restore is not complete.
    pub issues: Vec<String>,
}

impl ResourceDetails {
    /// Returns why it does not count as done. Empty: it does.
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
