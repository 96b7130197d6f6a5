use std::sync::Arc;

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::catalog::Catalog;
use crate::event::Events;
use crate::model::{Outcome, RunId, SystemName};
use crate::platform::{CancellationToken, Clock};
use crate::repository::journal;
use crate::repository::journal::{Detail, JournalError, JournalRecord};
use crate::repository::{Repositories, Unavailable};
use crate::text::error_chain;

/// What a run works with.
#[derive(Clone)]
pub struct Run {
    pub id: RunId,
    pub system: SystemName,
    pub host: String,
    pub clock: Arc<dyn Clock>,
    pub repositories: Repositories,
    pub catalog: Catalog,
    pub events: Events,
    pub cancel: CancellationToken,
}

#[derive(Debug, Error)]
pub enum RunError {
    #[error("failed to record what was found")]
    Journal(#[source] JournalError),
}

impl Run {
    /// Writes the journal's record, then the catalog's. Gives back the repositories without a record.
    pub(crate) async fn conclude(
        &self,
        verb: &str,
        begun: DateTime<Utc>,
        outcome: Outcome,
        detail: Detail,
    ) -> Result<Vec<Unavailable>, RunError> {
        let record =
            JournalRecord::new(&self.id, verb, (begun, self.clock.now()), &self.host, outcome, detail);
        let lost = journal::append(&self.repositories, &self.system, record.clone()).await;
        let lost = lost.map_err(RunError::Journal)?;
        if let Err(error) = self.catalog.record_run(&record).await {
            self.events.warning(format!("the catalog does not know this run: {}", error_chain(&error)));
        }
        Ok(lost)
    }
}
