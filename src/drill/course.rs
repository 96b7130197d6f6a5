//! What came of a drill before it is judged, and the record of it.

use chrono::{DateTime, Utc};

use super::facts;
use super::judge::{Findings, judge};
use super::locate::Located;
use super::record::{
    CheckCriterion, CheckEvidence, Cleanup, Criteria, DrillIdentity, DrillRecord, Environment, PassedOver,
    PreviousDrill, RECORD_FORMAT, Results, Sample, SampledArtifact,
};
use super::request::DrillRequest;
use super::restore_sample::RestoredSample;
use super::sample::Choice;
use super::scenario::Scenario;
use super::stages::Stages;
use crate::checks::CheckResult;
use crate::model::{BackupId, Manifest, Protection, Sha256Hex, Verdict};
use crate::policy::{Expectation, Probe};
use crate::run::RunContext;
use crate::text::format_duration;

/// What came of a drill before it is judged.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) verdict: Verdict,
    pub(super) choice: Option<Choice>,
    pub(super) sample: Option<Sample>,
    /// Everything committed before it came back.
    pub(super) until: Option<DateTime<Utc>>,
    /// How that is known; `None`: nothing was restored.
    pub(super) until_by: Option<&'static str>,
    pub(super) checks: Vec<CheckResult>,
    pub(super) environment: Environment,
    pub(super) cleanup: Cleanup,
    pub(super) findings: Vec<String>,
    pub(super) is_interrupted: bool,
    pub(super) usable: bool,
}

pub(super) fn sample(
    request: &DrillRequest,
    located: &Located,
    choice: &Choice,
    restored: Option<&RestoredSample>,
    run: &RunContext,
) -> Sample {
    let chosen = restored.map(|restored| &restored.backup).or_else(|| choice.restore.backup());
    let manifest = chosen.and_then(|id| located.inventory.find(id)).map(|record| &record.manifest);
    let artifacts = manifest.map(|manifest| &manifest.artifacts).into_iter().flatten();
    Sample {
        method: choice.method.to_owned(),
        seed: choice.is_random.then_some(request.sample.seed),
        candidates: choice.candidates as u64,
        passed_over: choice
            .passed_over
            .iter()
            .map(|one| PassedOver { backup: one.backup.clone(), reason: one.reason.clone() })
            .collect(),
        backup: chosen.cloned(),
        kind: chosen.map(BackupId::kind),
        recovery_point: manifest.map(|manifest| manifest.recovery_point),
        age_seconds: manifest.map(|manifest| (run.begun - manifest.recovery_point).as_seconds_f64()),
        artifacts: artifacts
            .map(|artifact| SampledArtifact {
                name: artifact.name.clone(),
                bytes: artifact.plain.size,
                sha256: artifact.plain.sha256,
            })
            .collect(),
        repository: restored.map(|restored| restored.repository.clone()).or(request.from.clone()),
        system_identifier: manifest.and_then(Manifest::cluster),
        key_fingerprint: manifest.and_then(|manifest| key(run, manifest)).map(|(print, _)| print),
        target: choice.target,
    }
}

/// Returns the fingerprint and the holder of the identity that opens a backup.
fn key(run: &RunContext, manifest: &Manifest) -> Option<(String, Option<String>)> {
    let Protection::Age { recipients } = &manifest.protection else { return None };
    let own = run.identities.recipients();
    let used = recipients.iter().find(|print| own.contains(&print.recipient))?;
    Some((Sha256Hex::digest(used.recipient.as_bytes()).to_string(), used.holder.clone()))
}

pub(super) fn record(
    run: &RunContext,
    request: &DrillRequest,
    course: Course,
    stages: Stages,
    measured: f64,
    previous: Option<PreviousDrill>,
) -> DrillRecord {
    let Course {
        verdict,
        choice,
        sample,
        until,
        until_by,
        checks,
        environment,
        cleanup,
        findings,
        usable,
        ..
    } = course;
    let allowed: f64 = request.allowances.iter().map(|(_, allowed)| allowed.as_secs_f64()).sum();
    let scenario = request.sample.scenario;
    let reference = run.begun;
    let rpo = until.filter(|_| scenario.measures_rpo()).map(|until| seconds_between(until, reference));
    let rto = usable.then_some(measured + allowed);
    let sample = sample.unwrap_or_else(|| empty_sample(request, choice.as_ref()));
    let what = match (&sample.backup, &sample.repository) {
        (Some(backup), Some(repository)) => format!("backup {backup} from `{repository}`"),
        (Some(backup), None) => format!("backup {backup}"),
        _ => format!("source `{}`", request.source),
    };
    let policy_checks = request.checks.len();
    let verdict = judge(Findings {
        verdict,
        rto,
        rpo,
        rto_objective: request.rto.as_secs_f64(),
        rpo_objective: request.rpo.as_secs_f64(),
        checks: policy_checks,
        what,
    });
    DrillRecord {
        format: RECORD_FORMAT.to_owned(),
        identity: DrillIdentity {
            drill: run.id.clone(),
            system: run.system.clone(),
            source: request.source.clone(),
            scenario,
            occurrence: request.occurrence,
            trigger: request.trigger,
            policy_sha256: request.policy_sha256,
            drctl_version: env!("CARGO_PKG_VERSION").to_owned(),
            drctl_sha256: facts::digest_of(&request.drctl),
            previous,
        },
        people: request.people.clone(),
        sample,
        environment,
        criteria: criteria(request),
        begun: run.begun,
        ended: run.clock.now(),
        phases: stages.with_allowances(&request.allowances),
        results: Results {
            rto_seconds: rto,
            rto_method: match rto {
                Some(_) => "from the start to the end of the checks, by a monotonic clock, and the policy's allowances".to_owned(),
                None => "not measured: the application never was usable".to_owned(),
            },
            rpo_seconds: rpo,
            rpo_method: rpo_method(scenario, until_by, rpo.is_some()),
            reference: Some(reference),
            restored_until: until,
            checks: checks.iter().map(evidence_of).collect(),
        },
        verdict,
        deviations: request.deviations.clone(),
        cleanup,
        cost: None,
        findings,
    }
}

fn seconds_between(until: DateTime<Utc>, reference: DateTime<Utc>) -> f64 {
    (reference - until).as_seconds_f64().max(0.0)
}

fn rpo_method(scenario: Scenario, until_by: Option<&str>, is_measured: bool) -> String {
    match (is_measured, until_by) {
        (true, Some(method)) => method.to_owned(),
        _ if !scenario.measures_rpo() => {
            format!("not measured: scenario `{scenario}` restores an older backup on purpose")
        }
        (_, None) => "not measured: nothing was restored".to_owned(),
        (false, Some(_)) => "not measured: it is not known until when the data goes".to_owned(),
    }
}

pub(super) fn empty_sample(request: &DrillRequest, choice: Option<&Choice>) -> Sample {
    Sample {
        method: choice.map_or("none", |choice| choice.method).to_owned(),
        seed: None,
        candidates: choice.map_or(0, |choice| choice.candidates as u64),
        passed_over: choice.map(|choice| choice.passed_over.clone()).unwrap_or_default(),
        backup: None,
        kind: None,
        recovery_point: None,
        age_seconds: None,
        artifacts: vec![],
        repository: request.from.clone(),
        system_identifier: None,
        key_fingerprint: None,
        target: choice.and_then(|choice| choice.target),
    }
}

fn criteria(request: &DrillRequest) -> Criteria {
    let checks = request.checks.iter().map(|check| {
        let (kind, asks, expects) = match &check.probe {
            Probe::Sql { query, expectations } => {
                let all: Vec<_> = expectations.iter().map(expectation).collect();
                ("sql", query.clone(), all.join(" and "))
            }
            Probe::Command(words) => ("command", words.join(" "), "exit status 0".to_owned()),
            Probe::Http(url) => ("http", url.to_string(), "a status of 200 to 299".to_owned()),
        };
        CheckCriterion { check: check.name.clone(), kind: kind.to_owned(), asks, expects }
    });
    Criteria {
        rto_seconds: request.rto.as_secs_f64(),
        rpo_seconds: request.rpo.as_secs_f64(),
        deadline_seconds: request.deadline.as_secs_f64(),
        checks: checks.collect(),
    }
}

fn expectation(expected: &Expectation) -> String {
    match expected {
        Expectation::Equals(text) => format!("equals {text}"),
        Expectation::AtLeast(least) => format!("at least {least}"),
        Expectation::AtMost(most) => format!("at most {most}"),
        Expectation::NewerThan(age) => {
            format!("no older than {} before the recovery point", format_duration(*age))
        }
    }
}

/// The record is not encrypted: of what was found only numbers and times are written down.
fn evidence_of(result: &CheckResult) -> CheckEvidence {
    let is_harmless = |text: &String| {
        let is_number = text.parse::<f64>().is_ok();
        is_number || text.chars().all(|c| c.is_ascii_digit() || "-:.+ TZ".contains(c))
    };
    let found = result.found.clone().filter(is_harmless);
    CheckEvidence {
        check: result.check.clone(),
        outcome: result.verdict.outcome.as_str().to_owned(),
        found,
        reasons: result.verdict.reasons.iter().map(|reason| reason.message.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_was_found_only_numbers_and_times_are_written_down() {
        let found = |text: &str| evidence_of(&CheckResult::passed("c", text)).found;
        for shown in ["1204", "-3.5", "2026-11-20 12:00:00+00", "2026-11-20T12:00:00Z"] {
            assert_eq!(found(shown).as_deref(), Some(shown));
        }
        for hidden in ["ann@example.org", "12 rows of ann", "t"] {
            assert_eq!(found(hidden), None, "{hidden}");
        }
    }
}
