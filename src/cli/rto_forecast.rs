//! What the drills foretell of the RTO, for those that ask how things stand.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Context;
use super::catalog_view::CatalogView;
use crate::drill::DrillRecord;
use crate::drill::evidence;
use crate::drill::forecast::{PathForecast, forecasts};
use crate::model::RunId;
use crate::policy::Policy;
use crate::report::forecast_sentence;
use crate::repository::journal::{DRILL, JournalRecord};

/// The records of drills that match their digests, and the drills that the journal knew when they were read: records do
/// not change, so that they are read again only once there is another.
#[derive(Clone, Default)]
pub(super) struct DrillRecords {
    journaled: BTreeSet<RunId>,
    records: Option<Arc<Vec<DrillRecord>>>,
}

impl DrillRecords {
    /// Reads the records in the first repository that can be read: each has all of them.
    pub(super) async fn read(view: &CatalogView, runs: &[JournalRecord], known: Self) -> Self {
        let drills = runs.iter().filter(|run| run.verb == DRILL);
        let journaled: BTreeSet<RunId> = drills.map(|run| run.run.clone()).collect();
        if known.records.is_some() && known.journaled == journaled {
            return known;
        }
        if view.policy.drill.is_none() {
            return Self::default();
        }
        for repository in view.repositories.iter() {
            let Ok(read) = evidence::read(&*repository.store, &view.policy.system).await else { continue };
            let sound = read.history.drills.into_iter().filter(|drill| drill.matches_digest);
            let records = Some(Arc::new(sound.map(|drill| drill.record).collect()));
            return Self { journaled, records };
        }
        Self::default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &DrillRecord> {
        self.records.iter().flat_map(|records| records.iter())
    }
}

/// Returns the forecast of every path that drills took, by the policy's objective.
pub(super) fn path_forecasts(
    policy: &Policy,
    records: &DrillRecords,
    now: DateTime<Utc>,
) -> Vec<PathForecast> {
    let records: Vec<&DrillRecord> = records.iter().collect();
    let all = forecasts(&records, policy.objectives.rto.as_secs_f64(), now);
    all.into_iter().map(|(path, forecast)| PathForecast { path, forecast }).collect()
}

pub(super) fn warn_forecast(context: &Context, one: &PathForecast) {
    context.output.warn(forecast_line(one));
}

pub(super) fn forecast_line(one: &PathForecast) -> String {
    format!("{}: {}", one.path, forecast_sentence(&one.forecast))
}
