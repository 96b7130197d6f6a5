//! What a recovery would take today, and from when on that misses the objective, by what past drills took. Pure.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;

use super::record::DrillRecord;
use super::scenario::Scenario;
use crate::model::{BackupKind, SourceName};

/// As many of the newest drills count.
const NEWEST: usize = 10;
/// Fewer tell nothing.
const FEWEST: usize = 3;
/// From as many on the 90th percentile is taken; of fewer, the slowest.
const FOR_PERCENTILE: usize = 5;
/// Of the objective; more is a warning.
const WARNING: f64 = 0.8;
/// Growth is not told from drills that are closer together.
const GROWTH_SPAN: TimeDelta = TimeDelta::days(7);
/// An objective that is missed so soon is a warning.
const SOON: TimeDelta = TimeDelta::days(90);
/// Nothing is foretold beyond, in days.
const HORIZON: f64 = 3_652.5;

const DAY: f64 = 86_400.0;

/// What drills have in common whose times compare.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DrillPath {
    pub source: SourceName,
    pub scenario: Scenario,
    pub kind: BackupKind,
    pub sandbox: Option<String>,
}

impl DrillPath {
    /// Returns the path that a drill took; `None` where no backup was found.
    pub fn of(record: &DrillRecord) -> Option<Self> {
        Some(Self {
            source: record.identity.source.clone(),
            scenario: record.identity.scenario,
            kind: record.sample.kind?,
            sandbox: record.environment.sandbox.clone(),
        })
    }
}

impl Display for DrillPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} from a {} backup", self.scenario, self.source, self.kind)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Forecast {
    /// Too few drills measured the recovery.
    NoForecast {
        samples: usize,
        needed: usize,
    },
    Forecast(RtoForecast),
}

/// A forecast, and the path it is of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathForecast {
    #[serde(flatten)]
    pub path: DrillPath,
    pub forecast: Forecast,
}

impl PathForecast {
    /// Returns whether it would take more than 80 % of its objective today, or soon more than all of it.
    pub fn is_pressing(&self) -> bool {
        self.forecast.standing() >= Some(Standing::Near)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RtoForecast {
    pub samples: usize,
    pub basis: Basis,
    /// Of a recovery today.
    pub rto_seconds: f64,
    /// Of these, what grows with the data.
    pub growing_seconds: f64,
    pub objective_seconds: f64,
    /// The size of the data that is assumed for today.
    pub bytes: u64,
    /// `None`: the drills are too close together to tell.
    pub bytes_a_day: Option<f64>,
    pub standing: Standing,
    /// The first day on which a recovery misses the objective; `None` where none is foreseen.
    pub crosses: Option<NaiveDate>,
}

/// Which of the samples is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    #[serde(rename = "p90")]
    Percentile,
    Slowest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Within,
    /// Above 80 % of the objective, or it is missed within 90 days.
    Near,
    Missed,
}

impl Forecast {
    pub fn standing(&self) -> Option<Standing> {
        match self {
            Self::NoForecast { .. } => None,
            Self::Forecast(forecast) => Some(forecast.standing),
        }
    }
}

/// A drill that measured a recovery.
struct Measured {
    bytes: f64,
    allowances: f64,
    fixed: f64,
    /// Seconds that grow with the data.
    growing: f64,
}

impl Measured {
    fn of(record: &DrillRecord) -> Option<Self> {
        let rto = record.results.rto_seconds?;
        let bytes = sampled_bytes(record);
        let counted = record.phases.iter().filter(|phase| phase.counts);
        let (mut allowances, mut growing) = (0.0, 0.0);
        for phase in counted {
            if phase.is_allowance {
                allowances += phase.seconds;
            } else if bytes > 0.0 && phase.bytes.is_some_and(|bytes| bytes > 0) {
                growing += phase.seconds;
            }
        }
        // What no phase accounts for is fixed.
        let fixed = (rto - allowances - growing).max(0.0);
        Some(Self { bytes, allowances, fixed, growing })
    }

    /// Returns what it would have taken with another amount of data.
    fn scaled(&self, bytes: f64) -> f64 {
        self.fixed + self.growing_at(bytes)
    }

    fn growing_at(&self, bytes: f64) -> f64 {
        if self.bytes > 0.0 { self.growing * bytes / self.bytes } else { self.growing }
    }

    /// Returns the amount of data from which on it takes longer than `seconds`; infinite where it never does.
    fn bytes_within(&self, seconds: f64) -> f64 {
        if self.growing <= 0.0 || self.bytes <= 0.0 {
            return if self.fixed > seconds { 0.0 } else { f64::INFINITY };
        }
        ((seconds - self.fixed) * self.bytes / self.growing).max(0.0)
    }
}

fn sampled_bytes(record: &DrillRecord) -> f64 {
    record.sample.artifacts.iter().map(|artifact| artifact.bytes).sum::<u64>() as f64
}

/// The time whose data was restored.
fn data_of(record: &DrillRecord) -> DateTime<Utc> {
    record.sample.recovery_point.unwrap_or(record.begun)
}

/// Forecasts the RTO of every path that drills took.
pub fn forecasts(
    records: &[&DrillRecord],
    objective_seconds: f64,
    now: DateTime<Utc>,
) -> Vec<(DrillPath, Forecast)> {
    let paths: BTreeSet<DrillPath> = records.iter().filter_map(|record| DrillPath::of(record)).collect();
    let of = |path: DrillPath| {
        let forecast = forecast(records.iter().copied(), &path, objective_seconds, now);
        (path, forecast)
    };
    paths.into_iter().map(of).collect()
}

/// Forecasts the RTO of a path from the drills of a system.
pub fn forecast<'r>(
    records: impl IntoIterator<Item = &'r DrillRecord>,
    path: &DrillPath,
    objective_seconds: f64,
    now: DateTime<Utc>,
) -> Forecast {
    let mut records: Vec<&DrillRecord> = records.into_iter().filter(|record| record.begun <= now).collect();
    records.sort_by_key(|record| record.begun);
    let on_path = records.iter().filter(|record| DrillPath::of(record).as_ref() == Some(path));
    let mut samples: Vec<Measured> = on_path.filter_map(|record| Measured::of(record)).collect();
    samples.drain(..samples.len().saturating_sub(NEWEST));
    let Some(newest) = samples.last().filter(|_| samples.len() >= FEWEST) else {
        return Forecast::NoForecast { samples: samples.len(), needed: FEWEST };
    };
    // Allowances are the policy's, and the newest drill knows them best.
    let available = objective_seconds - newest.allowances;
    let growth = Growth::of(&records, path);
    let bytes = growth.bytes_at(now);
    let (basis, rank) = match samples.len() {
        n if n >= FOR_PERCENTILE => (Basis::Percentile, (n * 9).div_ceil(10)),
        n => (Basis::Slowest, n),
    };
    let mut scaled: Vec<(f64, f64)> =
        samples.iter().map(|sample| (sample.scaled(bytes), sample.growing_at(bytes))).collect();
    scaled.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (recovery, growing_seconds) = scaled[rank - 1];
    let rto_seconds = recovery + newest.allowances;
    // The sample of that rank takes too long once as many as do not come before it do.
    let mut limits: Vec<f64> = samples.iter().map(|sample| sample.bytes_within(available)).collect();
    limits.sort_by(f64::total_cmp);
    let limit = limits[samples.len() - rank];
    let is_missed = rto_seconds > objective_seconds;
    let crosses = if is_missed { Some(now) } else { growth.reaches(limit, now) };
    let is_near =
        rto_seconds > WARNING * objective_seconds || crosses.is_some_and(|crosses| crosses - now <= SOON);
    Forecast::Forecast(RtoForecast {
        samples: samples.len(),
        basis,
        rto_seconds,
        growing_seconds,
        objective_seconds,
        bytes: bytes as u64,
        bytes_a_day: growth.bytes_a_day,
        standing: match (is_missed, is_near) {
            (true, _) => Standing::Missed,
            (false, true) => Standing::Near,
            (false, false) => Standing::Within,
        },
        crosses: crosses.map(|crosses| crosses.date_naive()),
    })
}

/// How the data that is restored grows.
struct Growth {
    at: DateTime<Utc>,
    bytes: f64,
    bytes_a_day: Option<f64>,
}

impl Growth {
    /// Every drill that restored backups of that kind tells, whatever it rehearsed.
    fn of(records: &[&DrillRecord], path: &DrillPath) -> Self {
        let is_same = |record: &&&DrillRecord| {
            record.identity.source == path.source && record.sample.kind == Some(path.kind)
        };
        let sizes = records.iter().filter(is_same).map(|record| (data_of(record), sampled_bytes(record)));
        let mut sizes: Vec<(DateTime<Utc>, f64)> = sizes.filter(|(_, bytes)| *bytes > 0.0).collect();
        sizes.sort_by_key(|(at, _)| *at);
        let Some((at, bytes)) = sizes.last().copied() else {
            return Self { at: DateTime::UNIX_EPOCH, bytes: 0.0, bytes_a_day: None };
        };
        let newest = &sizes[sizes.len().saturating_sub(NEWEST)..];
        let span = newest.first().map_or(TimeDelta::zero(), |first| at - first.0);
        let bytes_a_day = (span >= GROWTH_SPAN).then(|| median_slope(newest));
        Self { at, bytes, bytes_a_day: bytes_a_day.flatten() }
    }

    fn bytes_at(&self, now: DateTime<Utc>) -> f64 {
        let days = (now - self.at).as_seconds_f64() / DAY;
        (self.bytes + self.bytes_a_day.unwrap_or(0.0) * days.max(0.0)).max(0.0)
    }

    /// Returns when the data is larger than `limit`.
    fn reaches(&self, limit: f64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let a_day = self.bytes_a_day.filter(|a_day| *a_day > 0.0)?;
        let days = (limit - self.bytes_at(now)) / a_day;
        (days <= HORIZON).then(|| now + TimeDelta::seconds((days.max(0.0) * DAY).ceil() as i64))
    }
}

/// Returns the median of the slopes between every two: one odd size does not move it far.
fn median_slope(sizes: &[(DateTime<Utc>, f64)]) -> Option<f64> {
    let mut slopes: Vec<f64> = Vec::new();
    for (n, (from, small)) in sizes.iter().enumerate() {
        for (to, large) in &sizes[n + 1..] {
            let days = (*to - *from).as_seconds_f64() / DAY;
            if days > 0.0 {
                slopes.push((large - small) / days);
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    match slopes.len() {
        0 => None,
        n if n.is_multiple_of(2) => Some(f64::midpoint(slopes[middle - 1], slopes[middle])),
        _ => Some(slopes[middle]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::tests::passed;
    use super::*;
    use crate::model::RunId;

    const GIB: u64 = 1 << 30;

    fn day(n: i64) -> DateTime<Utc> {
        "2026-01-01T05:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::days(n)
    }

    /// On day `n` with so many GiB: 20 minutes of allowances, 10 fixed, and `minutes` that grow.
    fn drill(n: i64, gib: u64, minutes: f64) -> DrillRecord {
        let mut record = passed();
        record.begun = day(n);
        record.identity.drill = RunId::new(record.begun, 1);
        record.sample.recovery_point = Some(day(n));
        record.sample.artifacts[0].bytes = gib * GIB;
        record.results.rto_seconds = Some((30.0 + minutes) * 60.0);
        for phase in &mut record.phases {
            phase.seconds = match phase.phase.as_str() {
                "detect" => 900.0,
                "cut-over" => 300.0,
                "fetch" => minutes * 20.0,
                "load" => minutes * 40.0,
                "provision" => 400.0,
                "checks" => 200.0,
                _ => 4.0,
            };
        }
        record
    }

    fn of(records: &[DrillRecord], now: i64) -> Forecast {
        let path = DrillPath::of(&records[0]).unwrap();
        forecast(records, &path, 4.0 * 3_600.0, day(now))
    }

    fn known(records: &[DrillRecord], now: i64) -> RtoForecast {
        match of(records, now) {
            Forecast::Forecast(forecast) => forecast,
            none => panic!("{none:?}"),
        }
    }

    #[test]
    fn two_drills_are_no_forecast_and_one_that_measured_nothing_is_none() {
        let mut records = vec![drill(0, 10, 60.0), drill(30, 10, 60.0)];
        assert_eq!(of(&records, 40), Forecast::NoForecast { samples: 2, needed: 3 });
        let mut failed = drill(35, 10, 60.0);
        failed.results.rto_seconds = None;
        records.push(failed);
        assert_eq!(of(&records, 40), Forecast::NoForecast { samples: 2, needed: 3 });
        let mut other = drill(36, 10, 60.0);
        other.identity.scenario = Scenario::EscrowKey;
        records.push(other);
        assert_eq!(of(&records, 40).standing(), None);
        records.push(drill(37, 10, 60.0));
        assert_eq!(of(&records, 40).standing(), Some(Standing::Within));
        // Seen from before, it has not taken place.
        assert_eq!(of(&records, 36).standing(), None);
    }

    #[test]
    fn what_is_bound_to_bytes_grows_and_the_rest_does_not() {
        // 1 GiB a day, and one minute of it for each.
        let records = [drill(0, 100, 100.0), drill(10, 110, 110.0), drill(20, 120, 120.0)];
        let found = known(&records, 30);
        assert_eq!((found.bytes, found.basis), (130 * GIB, Basis::Slowest));
        assert!((found.bytes_a_day.unwrap() - GIB as f64).abs() < 1.0);
        assert!((found.rto_seconds - 160.0 * 60.0).abs() < 1.0, "{found:?}");
        assert!((found.growing_seconds - 130.0 * 60.0).abs() < 1.0, "{found:?}");
        // 240 minutes are over once 210 GiB are: 80 days from day 30.
        assert_eq!(found.crosses, Some(day(110).date_naive()));
        assert_eq!(found.standing, Standing::Near);
        assert_eq!(known(&records, 21).standing, Standing::Near, "within 90 days");
        assert_eq!(known(&records, 111).standing, Standing::Missed);
    }

    #[test]
    fn four_fifths_of_the_objective_are_a_warning() {
        let at = |minutes: f64| {
            let records = [drill(0, 10, minutes), drill(10, 10, minutes), drill(20, 10, minutes)];
            known(&records, 30)
        };
        assert_eq!(at(162.0).standing, Standing::Within);
        assert_eq!(at(163.0).standing, Standing::Near);
        assert_eq!(at(210.0).standing, Standing::Near, "it is not missed yet");
        let missed = at(211.0);
        assert_eq!((missed.standing, missed.crosses), (Standing::Missed, Some(day(30).date_naive())));
        assert_eq!(at(162.0).crosses, None, "it does not grow");
    }

    #[test]
    fn of_ten_the_slowest_one_does_not_count_and_older_ones_neither() {
        let mut records: Vec<_> = (0..10).map(|n| drill(n * 10, 10, 60.0)).collect();
        records[4] = drill(40, 10, 200.0);
        let found = known(&records, 95);
        assert_eq!((found.samples, found.basis), (10, Basis::Percentile));
        assert!((found.rto_seconds - 90.0 * 60.0).abs() < 1.0);
        records[5] = drill(50, 10, 100.0);
        assert!((known(&records, 95).rto_seconds - 130.0 * 60.0).abs() < 1.0);
        records.extend((10..20).map(|n| drill(n * 10, 10, 60.0)));
        assert!((known(&records, 195).rto_seconds - 90.0 * 60.0).abs() < 1.0);
    }

    #[test]
    fn drills_of_one_afternoon_tell_no_growth() {
        let mut records = [drill(0, 100, 60.0), drill(0, 101, 60.0), drill(0, 102, 60.0)];
        for (n, record) in (0..).zip(&mut records) {
            record.begun += TimeDelta::minutes(n);
            record.sample.recovery_point = Some(record.begun);
        }
        let found = known(&records, 300);
        assert_eq!((found.bytes_a_day, found.crosses, found.bytes), (None, None, 102 * GIB));
    }

    #[test]
    fn allowances_are_those_of_the_newest_drill() {
        let mut records = [drill(0, 10, 60.0), drill(10, 10, 60.0), drill(20, 10, 60.0)];
        records[2].phases[0].seconds = 1_800.0;
        records[2].results.rto_seconds = Some(105.0 * 60.0);
        assert!((known(&records, 30).rto_seconds - 105.0 * 60.0).abs() < 1.0);
    }

    proptest! {
        #[test]
        fn the_objective_is_met_before_the_day_that_is_foretold_and_missed_after_it(
            sizes in prop::collection::vec((1_u64..500, 1.0_f64..150.0), 3..12),
            objective in 40.0_f64..600.0,
        ) {
            let records: Vec<_> =
                (0_i64..).zip(&sizes).map(|(n, (gib, minutes))| drill(n * 9, *gib, *minutes)).collect();
            let path = DrillPath::of(&records[0]).unwrap();
            let last = 9 * i64::try_from(sizes.len()).unwrap();
            let at = |now: DateTime<Utc>| match forecast(&records, &path, objective * 60.0, now) {
                Forecast::Forecast(found) => found,
                none => panic!("{none:?}"),
            };
            let today = at(day(last));
            if let Some(crosses) = today.crosses.filter(|_| today.standing != Standing::Missed) {
                let midnight = crosses.and_hms_opt(0, 0, 0).unwrap().and_utc();
                prop_assert_eq!(at(midnight + TimeDelta::days(1) + TimeDelta::seconds(2)).standing, Standing::Missed);
                let before = midnight - TimeDelta::seconds(2);
                if before > day(last) {
                    prop_assert!(at(before).standing != Standing::Missed);
                }
            }
        }
    }
}
