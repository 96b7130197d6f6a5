//! What the drills foretell of the RTO, for those that ask how things stand.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Context;
use super::catalog_view::CatalogView;
use crate::drill::evidence;
use crate::drill::forecast::{DrillPath, Forecast, Standing, forecasts};
use crate::report::forecast_sentence;

/// A recovery that would take more than 80 % of its objective today, or soon more than all of it.
#[derive(Serialize)]
pub(super) struct PressingForecast {
    #[serde(flatten)]
    path: DrillPath,
    forecast: Forecast,
}

impl PressingForecast {
    pub(super) fn warn(&self, context: &Context) {
        context.output.warn(self.sentence());
    }

    pub(super) fn sentence(&self) -> String {
        format!("{}: {}", self.path, forecast_sentence(&self.forecast))
    }
}

/// Returns the forecasts that come near their objective, from the records of drills in the first repository that can be
/// read: each has all of them.
pub(super) async fn pressing_forecasts(known: &CatalogView, now: DateTime<Utc>) -> Vec<PressingForecast> {
    if known.policy.drill.is_none() {
        return vec![];
    }
    for repository in known.repositories.iter() {
        let Ok(read) = evidence::read(&*repository.store, &known.policy.system).await else { continue };
        let sound = read.history.drills.iter().filter(|drill| drill.matches_digest);
        let records: Vec<_> = sound.map(|drill| &drill.record).collect();
        let objective = known.policy.objectives.rto.as_secs_f64();
        let all = forecasts(&records, objective, now);
        let pressing = all.into_iter().filter(|(_, forecast)| forecast.standing() >= Some(Standing::Near));
        return pressing.map(|(path, forecast)| PressingForecast { path, forecast }).collect();
    }
    vec![]
}
