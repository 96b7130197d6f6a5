use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde::Serialize;
use thiserror::Error;

use super::Refusal;
use super::teardown::CreatedObject;
use crate::checks::CheckResult;
use crate::event::{Phase, PhaseSeconds};
use crate::model::{BackupId, Cause, Outcome, RepositoryName, RunId, SourceName, Verdict};
use crate::pipeline::OpenError;
use crate::repository::journal::Detail;
use crate::store::StoreErrorKind;

/// The name of a restore in the journal.
pub const VERB: &str = "restore";

/// The method of a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A dump into a database.
    Logical,
    /// A base backup and WAL into a data directory.
    Physical,
    /// A snapshot or automated backups of RDS into an instance or Aurora cluster.
    Rds,
    /// A recovery point of AWS Backup into a resource.
    AwsBackup,
    /// What an application has beside its PostgreSQL database.
    Content,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logical => "logical",
            Self::Physical => "physical",
            Self::Rds => "rds",
            Self::AwsBackup => "aws-backup",
            Self::Content => "content",
        }
    }
}

/// The part of a plan that all methods share.
#[derive(Clone, Debug)]
pub struct PlanSummary {
    pub source: SourceName,
    /// Absent where RDS's own automated backups are restored.
    pub backup: Option<BackupId>,
    /// What is restored, to finish "failed to restore …".
    pub subject: String,
    /// Where to, as text.
    pub to: String,
    /// What differs from the recorded settings, for the journal.
    pub changed: Vec<String>,
}

/// The result of a method.
#[derive(Clone, Debug)]
pub struct Restored<D> {
    /// Where it is, as text.
    pub to: String,
    /// The time whose data it has.
    pub recovery_point: DateTime<Utc>,
    /// What the original had and the restored one lacks.
    pub left_out: Vec<String>,
    pub notes: Vec<String>,
    /// The part of the result that only this method has.
    pub details: D,
}

/// A restore that ran to its end. The same for every method, except for `details`.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreReport<D> {
    pub run: RunId,
    pub method: Method,
    pub source: SourceName,
    pub backup: Option<BackupId>,
    pub to: String,
    pub recovery_point: DateTime<Utc>,
    /// The worst of the checks.
    pub verdict: Verdict,
    /// The results of the method's own checks and of the policy's.
    pub checks: Vec<CheckResult>,
    pub phases: Vec<PhaseSeconds>,
    pub seconds: f64,
    pub left_out: Vec<String>,
    pub notes: Vec<String>,
    /// What teardown removes.
    pub created: Vec<CreatedObject>,
    pub details: D,
}

impl<D> RestoreReport<D> {
    /// Returns whether everything is there, and every check has passed.
    pub fn is_sound(&self) -> bool {
        self.verdict.has_passed() && self.left_out.is_empty()
    }

    pub(super) fn outcome(&self) -> Outcome {
        if self.is_sound() { Outcome::Succeeded } else { Outcome::Degraded }
    }

    /// Omits the data, since the journal is not encrypted: neither query results nor table names.
    pub(super) fn detail(&self, changed: Vec<String>) -> Detail {
        let failed = self.checks.iter().filter(|check| !check.has_passed()).map(|check| {
            let outcome = check.verdict.outcome.as_str();
            match check.verdict.reasons.len() {
                1 => format!("check `{}`: {outcome}", check.check),
                count => format!("check `{}`: {outcome}, for {count} reasons", check.check),
            }
        });
        let missing = self.left_out.len();
        let missing = (missing > 0).then(|| format!("not restored: {missing} of what the original had"));
        Detail {
            changed,
            ..Detail::restored(
                self.method.as_str(),
                self.backup.iter().cloned().collect(),
                &self.phases,
                failed.chain(missing).collect(),
            )
        }
    }
}

/// Why a method failed.
pub trait RestoreError: std::error::Error + Send + Sync + Sized + 'static {
    fn refused(refusals: Vec<Refusal>) -> Self;

    fn refusals(&self) -> &[Refusal];

    fn is_interruption(&self) -> bool;

    /// Returns the reason without any of the data: for the journal, which is not encrypted.
    fn journal_reason(&self) -> String;

    /// Returns where to look for what prevented it. Of refusals each has its own.
    fn cause_class(&self) -> Cause {
        Cause::Tool
    }
}

/// Where to look after every repository failed to give an artifact: at the backup, unless none of them could be asked.
pub(super) fn cause_of_tries(tries: &[(RepositoryName, String)]) -> Cause {
    match tries.iter().all(|(_, reason)| StoreErrorKind::is_of_access(reason) || OpenError::is_of_key(reason))
    {
        true => Cause::Environment,
        false => Cause::Backup,
    }
}

/// What remains after a method failed.
pub trait Aftermath: Display + std::fmt::Debug + Send + Sync + 'static {
    /// Returns whether what was restored is usable nevertheless.
    fn is_usable(&self) -> bool {
        false
    }
}

/// The result of a method that failed.
#[derive(Debug)]
pub struct Stopped<E, A> {
    pub error: E,
    pub aftermath: A,
}

/// A restore that was started and failed.
#[derive(Debug, Error)]
#[error("failed to restore {subject} ({}); {aftermath}", .phase.as_str())]
pub struct RestoreFailed<E: RestoreError, A: Aftermath> {
    pub subject: String,
    pub phase: Phase,
    pub phases: Vec<PhaseSeconds>,
    /// What teardown removes.
    pub created: Vec<CreatedObject>,
    pub aftermath: A,
    #[source]
    pub error: E,
}

impl<E: RestoreError, A: Aftermath> RestoreFailed<E, A> {
    pub(super) fn outcome(&self) -> Outcome {
        match () {
            () if self.aftermath.is_usable() => Outcome::Degraded,
            () if self.error.is_interruption() => Outcome::Interrupted,
            () => Outcome::Failed,
        }
    }

    pub(super) fn detail(&self, method: Method, summary: &PlanSummary) -> Detail {
        let why =
            if self.error.is_interruption() { "interrupted".to_owned() } else { self.error.journal_reason() };
        let reasons = vec![format!("{}: {why}", self.phase.as_str())];
        let backups = summary.backup.iter().cloned().collect();
        Detail {
            changed: summary.changed.clone(),
            ..Detail::restored(method.as_str(), backups, &self.phases, reasons)
        }
    }
}
