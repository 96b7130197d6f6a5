//! Records of drills, as drctl writes them, of drills that did not take place.

use chrono::{DateTime, TimeDelta, Utc};
use drctl::drill::evidence::{self, DrillHistory};
use drctl::drill::{DrillRecord, Trigger};
use drctl::model::{Cause, Judgement, RunId, SystemName};
use drctl::repository::{Repositories, Repository};

use super::Outcome;

/// The record of a drill that passed, as version 0.1.0 wrote it.
pub(crate) fn passed() -> Outcome<DrillRecord> {
    Ok(serde_json::from_str(include_str!("../fixtures/drills/passed.json"))?)
}

/// The same drill at another time, of the schedule's time or of none, with so many percent of the data.
pub(crate) fn at(
    begun: DateTime<Utc>,
    occurrence: Option<DateTime<Utc>>,
    percent: u64,
) -> Outcome<DrillRecord> {
    let mut record = passed()?;
    let by: TimeDelta = begun - record.begun;
    let moved = |time: Option<DateTime<Utc>>| time.map(|time| time + by);
    record.ended += by;
    record.begun = begun;
    record.identity.drill = RunId::new(begun, 7);
    record.identity.occurrence = occurrence;
    record.identity.trigger = if occurrence.is_some() { Trigger::Schedule } else { Trigger::Manual };
    record.sample.recovery_point = moved(record.sample.recovery_point);
    record.results.reference = moved(record.results.reference);
    record.results.restored_until = moved(record.results.restored_until);
    for artifact in &mut record.sample.artifacts {
        artifact.bytes = artifact.bytes * percent / 100;
    }
    for phase in &mut record.phases {
        if let Some(bytes) = &mut phase.bytes {
            *bytes = *bytes * percent / 100;
            phase.seconds *= percent as f64 / 100.0;
        }
    }
    let counted = record.phases.iter().filter(|phase| phase.counts);
    record.results.rto_seconds = Some(counted.map(|phase| phase.seconds).sum());
    Ok(record)
}

/// Makes it a drill whose backup did not load.
pub(crate) fn failed(mut record: DrillRecord) -> DrillRecord {
    record.verdict.outcome = Judgement::Fail;
    record.verdict.cause = Some(Cause::Backup);
    record.verdict.code = Some("not-loaded".to_owned());
    record.verdict.sentence = "The newest backup in west does not load: table orders is damaged.".to_owned();
    record.results.rto_seconds = None;
    record.results.rpo_seconds = None;
    record.results.checks.clear();
    record.phases.retain(|phase| !matches!(phase.phase.as_str(), "compare" | "checks" | "cut-over"));
    record
}

/// Writes records, each of which names the one before, into every repository.
pub(crate) async fn write(
    repositories: Vec<Repository>,
    system: &SystemName,
    records: impl IntoIterator<Item = DrillRecord>,
) -> Outcome<DrillHistory> {
    let repositories = Repositories::new(repositories);
    for mut record in records {
        let (known, _) = evidence::read_all(&repositories, system).await;
        record.identity.previous = known.newest();
        let (_, lost) = evidence::write(&repositories, &record).await?;
        if !lost.is_empty() {
            return Err(format!("{lost:?}").into());
        }
    }
    Ok(evidence::read_all(&repositories, system).await.0)
}
