use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::catalog::Catalog;
use crate::event::Events;
use crate::model::{Outcome, RunId, SystemName};
use crate::pipeline::Identities;
use crate::platform::{CancellationToken, Clock, host_name, seed};
use crate::repository::journal::{Detail, JournalRecord, Tombstones};
use crate::repository::run_record;
use crate::repository::{Repositories, Unavailable};
use crate::text::error_chain;

/// The resources of a use case, from its beginning to its record in the journal.
#[derive(Clone)]
pub struct RunContext {
    pub id: RunId,
    pub begun: DateTime<Utc>,
    pub system: SystemName,
    pub host: String,
    pub clock: Arc<dyn Clock>,
    /// Opened, and verified to be this system's.
    pub repositories: Repositories,
    /// They decrypt backups; empty if nothing is decrypted.
    pub identities: Identities,
    /// Absent if unusable: a run works without one.
    pub catalog: Option<Catalog>,
    pub events: Events,
    pub cancel: CancellationToken,
}

/// The run was cancelled.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("interrupted")]
pub struct Interrupted;

impl RunContext {
    /// Begins a run of this process, now.
    pub fn begin(
        system: SystemName,
        repositories: Repositories,
        catalog: Option<Catalog>,
        clock: Arc<dyn Clock>,
        events: Events,
        cancel: CancellationToken,
    ) -> Self {
        let begun = clock.now();
        let (id, host, identities) = (RunId::new(begun, seed()), host_name(), Identities::default());
        Self { id, begun, system, host, clock, repositories, identities, catalog, events, cancel }
    }

    pub fn with_identities(self, identities: Identities) -> Self {
        Self { identities, ..self }
    }

    pub fn check_interruption(&self) -> Result<(), Interrupted> {
        if self.cancel.is_cancelled() { Err(Interrupted) } else { Ok(()) }
    }

    /// Records the run in the journal and then in the catalog. Returns the repositories without the record: a
    /// role that restores may have read access only.
    pub async fn conclude(&self, verb: &str, outcome: Outcome, detail: Detail) -> Vec<Unavailable> {
        let times = (self.begun, self.clock.now());
        let record = JournalRecord::new(&self.id, verb, times, &self.host, outcome, detail);
        let unrecorded = run_record::append(&self.repositories, &self.system, record.clone())
            .await
            .unwrap_or_else(|error| {
                // No repository has it: that is no success.
                let reason = error_chain(&error);
                let all = self.repositories.writable();
                all.map(|repository| Unavailable::new(repository, reason.clone())).collect()
            });
        if let Some(catalog) = &self.catalog {
            let catalog = catalog.clone().of_repository(self.repositories.id());
            if let Err(error) = catalog.record_run(&record).await {
                self.events.warning(format!("the catalog does not know this run: {}", error_chain(&error)));
            }
        }
        unrecorded
    }

    /// Returns what retention removed on purpose, as far as the catalog knows the journal.
    pub async fn tombstones(&self) -> Tombstones {
        Tombstones::new(&self.records().await)
    }

    /// Returns the records of all repositories together, as far as the catalog knows the journal.
    pub async fn records(&self) -> Vec<JournalRecord> {
        let Some(catalog) = &self.catalog else { return vec![] };
        match catalog.clone().of_repository(self.repositories.id()).runs(None).await {
            Ok(runs) => runs,
            Err(error) => {
                let why = error_chain(&error);
                self.events.warning(format!("what retention removed is not known: {why}"));
                vec![]
            }
        }
    }

    /// Closes the catalog.
    pub async fn close(self) {
        if let Some(catalog) = self.catalog {
            catalog.close().await;
        }
    }
}
