//! Where what AWS keeps stands: what each region could give back right now, and how old it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::standing::Verdict;
use crate::model::SourceName;
use crate::source::recovery_point::InRegion;

/// One source in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionStanding {
    pub source: SourceName,
    pub region: String,
    pub vault: String,
    pub verdict: Verdict,
    /// ARN of the newest that can be restored there.
    pub newest: Option<String>,
    pub recovery_point: Option<DateTime<Utc>>,
    /// The data of this long would be lost if it were restored from there now.
    pub loses_seconds: Option<u64>,
    /// A plan of AWS Backup had it made.
    pub of_plan: bool,
    /// Why it could not be asked.
    pub problem: Option<String>,
}

/// A region that could not be asked promises nothing, and is not condemned.
pub fn assess(
    source: &SourceName,
    regions: Vec<InRegion>,
    rpo: Duration,
    now: DateTime<Utc>,
) -> Vec<RegionStanding> {
    regions.into_iter().map(|region| one(source, region, rpo, now)).collect()
}

fn one(source: &SourceName, region: InRegion, rpo: Duration, now: DateTime<Utc>) -> RegionStanding {
    let (newest, problem) = match region.found {
        Ok(found) => (found.newest, None),
        Err(problem) => (None, Some(problem)),
    };
    let created = newest.as_ref().and_then(|point| point.created);
    let loses = created.map(|created| (now - created).to_std().unwrap_or_default());
    let verdict = match loses {
        _ if problem.is_some() => Verdict::NotReached,
        None => Verdict::Nothing,
        Some(loses) => Verdict::of_loss(loses, rpo),
    };
    RegionStanding {
        source: source.clone(),
        region: region.region,
        vault: region.vault,
        verdict,
        of_plan: newest.as_ref().is_some_and(|point| point.plan.is_some()),
        newest: newest.map(|point| point.arn),
        recovery_point: created,
        loses_seconds: loses.map(|loses| loses.as_secs()),
        problem,
    }
}
