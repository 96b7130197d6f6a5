//! Estimates how long a restore takes, by the durations of earlier ones.

use serde::Serialize;

use crate::event::Phase;
use crate::model::{BackupId, BackupKind, Outcome};
use crate::repository::journal::JournalRecord;
use crate::restore::VERB;

/// How many of the latest restores are used.
const COUNTED: usize = 5;

/// The size of a backup, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadCost {
    pub stored: u64,
    pub plain: u64,
}

/// Bytes a second, as measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Stored bytes fetched and decoded.
    pub fetch: Option<f64>,
    /// Plain bytes from the start of the load to the published database.
    pub load: Option<f64>,
    /// How many restores the rates were measured from.
    pub runs: usize,
}

impl Rates {
    /// Measures restores that succeeded; `records`: newest first. `weigh` returns the size of a backup.
    pub fn measure(records: &[JournalRecord], weigh: impl Fn(&BackupId) -> Option<LoadCost>) -> Self {
        let (mut stored, mut plain, mut fetching, mut loading, mut runs) = (0.0, 0.0, 0.0, 0.0, 0);
        let good =
            records.iter().filter(|record| record.verb == VERB && record.outcome == Outcome::Succeeded);
        for record in good {
            let [backup] = &record.detail.backups[..] else { continue };
            if backup.kind() != BackupKind::Logical {
                continue;
            }
            let Some(weight) = weigh(backup) else { continue };
            let seconds = |phases: &[Phase]| -> f64 {
                let of = record
                    .detail
                    .phases
                    .iter()
                    .filter(|(name, _)| phases.iter().any(|phase| phase.as_str() == name));
                of.map(|(_, seconds)| seconds).sum()
            };
            let fetch = seconds(&[Phase::Fetch]);
            if fetch > 0.0 {
                stored += weight.stored as f64;
                fetching += fetch;
            }
            plain += weight.plain as f64;
            loading += seconds(&[
                Phase::CreateDatabase,
                Phase::Load,
                Phase::Analyze,
                Phase::Compare,
                Phase::Publish,
            ]);
            runs += 1;
            if runs == COUNTED {
                break;
            }
        }
        let rate = |bytes: f64, seconds: f64| (bytes > 0.0 && seconds > 0.0).then(|| bytes / seconds);
        Self { fetch: rate(stored, fetching), load: rate(plain, loading), runs }
    }

    /// Estimates seconds; `None` where nothing was measured. `streamed`: fetching and loading overlap.
    pub(super) fn estimate(&self, weight: LoadCost, streamed: bool) -> Option<f64> {
        let load = weight.plain as f64 / self.load?;
        match self.fetch {
            Some(fetch) if !streamed => Some(load + weight.stored as f64 / fetch),
            // A restore whose fetch was not measured on its own was streamed, and its load includes both.
            _ => Some(load),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;
    use crate::repository::journal::Detail;

    fn record(outcome: Outcome, phases: &[(&str, f64)]) -> JournalRecord {
        let begun = "2026-11-20T22:02:51Z".parse().unwrap();
        let backup = BackupId::new(begun, &"database".parse().unwrap(), BackupKind::Logical, 1);
        let phases = phases.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
        JournalRecord {
            format: String::new(),
            run: RunId::new(begun, 1),
            verb: VERB.to_owned(),
            begun,
            ended: begun,
            host: String::new(),
            outcome,
            previous: None,
            detail: Detail { backups: vec![backup], phases, ..Detail::default() },
        }
    }

    #[test]
    fn only_restores_that_succeeded_are_measured() {
        let weigh = |_: &BackupId| Some(LoadCost { stored: 1000, plain: 4000 });
        let records = [
            record(Outcome::Failed, &[("fetch", 1.0), ("load", 1.0)]),
            record(Outcome::Succeeded, &[("fetch", 10.0), ("load", 30.0), ("analyze", 10.0)]),
        ];
        let rates = Rates::measure(&records, weigh);
        assert_eq!(rates, Rates { fetch: Some(100.0), load: Some(100.0), runs: 1 });
        let weight = LoadCost { stored: 2000, plain: 8000 };
        assert_eq!(rates.estimate(weight, false), Some(100.0));
        assert_eq!(rates.estimate(weight, true), Some(80.0));
    }

    #[test]
    fn without_a_measurement_nothing_is_invented() {
        let rates = Rates::measure(&[], |_| None);
        assert_eq!(rates.estimate(LoadCost { stored: 1, plain: 1 }, false), None);
    }
}
