use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Changed, RdsRestoreError, RdsRestorePlan};
use crate::aws::PollError;
use crate::checks::CheckResult;
use crate::event::{Events, Phase, PhaseSeconds};
use crate::model::{Outcome, RunId, SystemName};
use crate::pipeline::Identities;
use crate::platform::{CancellationToken, Clock};
use crate::repository::journal;
use crate::repository::journal::{Detail, JournalRecord};
use crate::repository::{Repositories, Unavailable};
use crate::text::error_chain;

/// What a restore into an instance is called in the journal.
pub const VERB: &str = "restore-instance";

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

/// Seconds from the beginning to each moment that counts; `None` is not reached, or not tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Milestones {
    /// RDS calls it available, or backs it up and lets it be used meanwhile.
    pub available: Option<f64>,
    /// Somebody logged in and read.
    pub usable: Option<f64>,
    /// The policy's checks were asked, and all of them held.
    pub validated: Option<f64>,
    /// Every block is there.
    pub hydrated: Option<f64>,
    /// RDS's first automated backup of it is whole: from then on it can be restored to any moment.
    pub backed_up: Option<f64>,
}

/// An instance that was made.
#[derive(Clone, Debug, Serialize)]
pub struct RdsRestoreReport {
    pub run: RunId,
    pub region: String,
    /// What it was made from, in words.
    pub from: String,
    pub instance: String,
    /// Of a cluster.
    pub members: Vec<String>,
    pub host: String,
    pub port: u16,
    /// The moment whose data it has.
    pub until: DateTime<Utc>,
    /// An earlier run made it, and this one went on.
    pub resumed: bool,
    pub marks: Milestones,
    /// What the server said of itself; `None`: the policy has no way to log in.
    pub server: Option<RdsEndpoint>,
    /// What came of the policy's checks; empty: it has none for this source, or nobody could log in.
    pub checks: Vec<CheckResult>,
    /// For how many days RDS keeps automated backups of it; `None`: for none yet, or nothing is known.
    pub backups: Option<u32>,
    pub not_reproduced: Vec<String>,
    /// What somebody wanted otherwise than it was recorded.
    pub changed: Vec<Changed>,
    pub phases: Vec<PhaseSeconds>,
    pub notes: Vec<String>,
}

impl RdsRestoreReport {
    /// Somebody logged in, and nothing that was asked was found otherwise than it should be.
    pub fn is_sound(&self) -> bool {
        self.server.is_some() && self.checks.iter().all(CheckResult::has_passed)
    }
}

/// What whoever logged in saw.
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

/// A restore that was given up.
#[derive(Debug, thiserror::Error)]
#[error("failed to restore into `{to}` in {region} ({}); {}", .phase.as_str(), aftermath(*.begun, .source))]
pub struct RdsRestoreFailure {
    pub to: String,
    pub region: String,
    pub phase: Phase,
    /// RDS was told to make it.
    pub begun: bool,
    pub phases: Vec<PhaseSeconds>,
    #[source]
    pub source: RdsRestoreError,
}

fn aftermath(begun: bool, source: &RdsRestoreError) -> &'static str {
    match (begun, source) {
        (true, RdsRestoreError::Wait(PollError::Failed { .. })) => {
            "it will not get out of that by itself: look into it, or remove it and restore under another name; it costs while it is there"
        }
        (true, _) => "what RDS has made of it stays, and costs: the same command goes on with it",
        (false, _) => "no instance was made",
    }
}

impl Run {
    /// Writes the journal's record. Gives it back for the catalog, and the repositories that did not take it.
    pub async fn conclude(
        &self,
        begun: DateTime<Utc>,
        plan: &RdsRestorePlan,
        outcome: Result<&RdsRestoreReport, &RdsRestoreFailure>,
    ) -> (JournalRecord, Vec<Unavailable>) {
        let phases = outcome.map_or_else(|failure| &failure.phases, |report| &report.phases);
        let word = match &outcome {
            Ok(report) if report.checks.iter().all(CheckResult::has_passed) => Outcome::Succeeded,
            Ok(_) => Outcome::Degraded,
            Err(failure) if failure.source.is_interruption() => Outcome::Interrupted,
            Err(_) => Outcome::Failed,
        };
        let detail = Detail {
            backups: plan.profile_of.iter().cloned().collect(),
            phases: phases.iter().map(|phase| (phase.phase.as_str().to_owned(), phase.seconds)).collect(),
            changed: plan.changed.iter().map(ToString::to_string).collect(),
            reasons: match outcome {
                Ok(report) => report.checks.iter().filter_map(CheckResult::reason).collect(),
                Err(failure) => vec![error_chain(failure)],
            },
            ..Detail::default()
        };
        let times = (begun, self.clock.now());
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
