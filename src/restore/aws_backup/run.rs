use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{ResourceRestoreError, VERB};
use crate::event::Events;
use crate::model::{BackupId, Outcome, RunId, SystemName};
use crate::pipeline::Identities;
use crate::platform::{CancellationToken, Clock};
use crate::repository::journal;
use crate::repository::journal::{Detail, JournalRecord};
use crate::repository::{Repositories, Unavailable};
use crate::text::error_chain;

/// What a restore works with.
pub struct Run {
    pub id: RunId,
    pub system: SystemName,
    pub host: String,
    pub clock: Arc<dyn Clock>,
    /// Opened, and checked to be this system's.
    pub repositories: Repositories,
    pub identities: Identities,
    pub events: Events,
    pub cancel: CancellationToken,
}

/// A restore whose job completed.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceRestoreReport {
    pub run: RunId,
    pub backup: BackupId,
    pub recovery_point: DateTime<Utc>,
    pub region: String,
    pub job: String,
    /// ARN of what was made; AWS does not say it of every kind.
    pub created: Option<String>,
    /// By AWS's clock, of the job.
    pub seconds: Option<f64>,
    /// The job had ended when this run began.
    pub was_over: bool,
    /// It ended before this run began, and nobody says whether what it made is still there.
    pub is_unseen: bool,
    /// What AWS said, although it completed. With any of it the restore is not whole.
    pub issues: Vec<String>,
    pub notes: Vec<String>,
}

impl ResourceRestoreReport {
    /// Why it is not called done, in words. Empty: it is.
    pub fn shortcomings(&self) -> Vec<String> {
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

/// A restore that was given up.
#[derive(Debug, thiserror::Error)]
#[error("failed to restore `{backup}` in {region}")]
pub struct ResourceRestoreFailure {
    pub backup: BackupId,
    pub region: String,
    #[source]
    pub source: ResourceRestoreError,
}

impl Run {
    /// Writes the journal's record. Gives it back for the catalog, and the repositories that did not take it:
    /// whoever restores may be allowed to read only.
    pub async fn conclude(
        &self,
        begun: DateTime<Utc>,
        backup: &BackupId,
        outcome: Result<&ResourceRestoreReport, &ResourceRestoreFailure>,
    ) -> (JournalRecord, Vec<Unavailable>) {
        let (word, reasons) = match outcome {
            Ok(report) => match report.shortcomings() {
                none if none.is_empty() => (Outcome::Succeeded, vec![]),
                some => (Outcome::Degraded, some),
            },
            Err(failure) if failure.source.is_interruption() => (Outcome::Interrupted, vec![]),
            Err(failure) => (Outcome::Failed, vec![error_chain(&failure.source)]),
        };
        let times = (begun, self.clock.now());
        let detail = Detail::restored(backup, &[], reasons);
        let record = JournalRecord::new(&self.id, VERB, times, &self.host, word, detail);
        match journal::append(&self.repositories, &self.system, record.clone()).await {
            Ok(lost) => (record, lost),
            Err(error) => {
                self.events.warning(error_chain(&error));
                (record, vec![])
            }
        }
    }
}
