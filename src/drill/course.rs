//! What came of a drill before it is judged, and the record of it.

use chrono::{DateTime, Utc};

use super::facts;
use super::judge::{Findings, judge};
use super::locate::Located;
use super::record::{
    CheckCriterion, CheckEvidence, Cleanup, Criteria, DrillIdentity, DrillRecord, DrillVerdict,
    DrilledRunbook, Environment, PassedOver, People, PreviousDrill, RECORD_FORMAT, Results, Sample,
    SampledArtifact,
};
use super::request::DrillRequest;
use super::restore_sample::RestoredSample;
use super::sample::Choice;
use super::scenario::Scenario;
use super::stages::Stages;
use crate::checks::{CHECK_FAILED, CheckResult, FILES_MISSING, NOT_ASKED, NOT_COMPARED, NOT_THERE};
use crate::model::{BackupId, Manifest, Protection, Reason, Sha256Hex, Verdict};
use crate::policy::{Check, Expectation, Probe};
use crate::repository::journal::RunbookRun;
use crate::restore::logical::OTHER_CONTENTS;
use crate::restore::physical::COLLATION_VERSION;
use crate::run::RunContext;
use crate::text::format_duration;

/// What came of a drill before it is judged.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) verdict: Verdict,
    pub(super) choice: Option<Choice>,
    pub(super) sample: Option<Sample>,
    /// Everything committed before it came back; `None`: what would be lost is not measured.
    pub(super) until: Option<DateTime<Utc>>,
    /// How that is known.
    pub(super) until_by: Option<&'static str>,
    /// The time whose data came back.
    pub(super) restored_until: Option<DateTime<Utc>>,
    /// Why nothing was restored, without any of the data.
    pub(super) told: Option<String>,
    pub(super) key_holder: Option<String>,
    pub(super) deviations: Vec<String>,
    pub(super) checks: Vec<CheckResult>,
    pub(super) environment: Environment,
    pub(super) cleanup: Cleanup,
    pub(super) findings: Vec<String>,
    pub(super) is_interrupted: bool,
    pub(super) usable: bool,
    /// The runbook whose steps restored, or were to.
    pub(super) runbook: Option<RunbookRun>,
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
        repository: match restored {
            Some(restored) => restored.repository.clone(),
            None => request.from.clone(),
        },
        system_identifier: manifest.and_then(Manifest::cluster),
        key_fingerprint: manifest.and_then(|manifest| key(run, manifest)).map(|(print, _)| print),
        target: choice.target,
        as_of: request.earlier.as_ref().map(|earlier| earlier.time),
    }
}

/// Returns the fingerprint and the holder of the identity that opens a backup.
pub(super) fn key(run: &RunContext, manifest: &Manifest) -> Option<(String, Option<String>)> {
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
) -> (DrillRecord, DrillVerdict) {
    let Course {
        verdict,
        choice,
        sample,
        until,
        until_by,
        restored_until,
        told,
        key_holder,
        deviations,
        checks,
        environment,
        cleanup,
        findings,
        is_interrupted: _,
        usable,
        runbook,
    } = course;
    let allowed: f64 = request.allowances.iter().map(|(_, allowed)| allowed.as_secs_f64()).sum();
    let scenario = request.sample.scenario;
    let reference = run.begun;
    let rpo = until.map(|until| seconds_between(until, reference));
    let rto = usable.then_some(measured + allowed);
    let sample = sample.unwrap_or_else(|| empty_sample(request, choice.as_ref()));
    let what = match (&sample.backup, &sample.repository) {
        (Some(backup), Some(repository)) => format!("backup {backup} from `{repository}`"),
        (Some(backup), None) => format!("backup {backup}"),
        _ => format!("source `{}`", request.source),
    };
    let policy_checks = request.checks.len();
    let findings_of = |verdict: Verdict| Findings {
        verdict,
        rto,
        rpo,
        rto_objective: request.rto.as_secs_f64(),
        rpo_objective: request.rpo.as_secs_f64(),
        checks: policy_checks,
        what: what.clone(),
    };
    let recorded = judge(findings_of(without_data(&verdict, told.as_deref())));
    let people = People { key_holder, ..request.people.clone() };
    let record = DrillRecord {
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
            runbook: runbook.map(|run| DrilledRunbook {
                runbook: run.runbook,
                sha256: run.sha256,
                steps: run.steps,
                failed: run.failed,
            }),
        },
        people,
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
            restored_until,
            checks: checks.iter().map(|result| evidence_of(result, &request.checks)).collect(),
        },
        verdict: recorded,
        deviations: request.deviations.iter().cloned().chain(deviations).collect(),
        cleanup,
        cost: None,
        findings,
    };
    (record, judge(findings_of(verdict)))
}

/// The record is not encrypted: what a check found, and what a server said, is the application's data.
fn without_data(verdict: &Verdict, told: Option<&str>) -> Verdict {
    let mut public = Verdict { outcome: verdict.outcome, reasons: vec![] };
    for reason in &verdict.reasons {
        let message = match (reason.code, told) {
            ("restore-failed", Some(told)) => format!("the restore {told}"),
            (COLLATION_VERSION, _) => {
                "indexes on text may not find their rows: they were sorted with another version of a collation than this host has"
                    .to_owned()
            }
            (OTHER_CONTENTS, _) => "a table has as many rows as were dumped, and other contents".to_owned(),
            (FILES_MISSING, _) => "rows name files that did not come back".to_owned(),
            (NOT_COMPARED, _) => "it is not known whether the files that rows name came back".to_owned(),
            (CHECK_FAILED | NOT_ASKED | NOT_THERE, _) => check_without_data(&reason.message),
            _ => reason.message.clone(),
        };
        public.reasons.push(Reason { message, ..reason.clone() });
    }
    public
}

/// Returns the message of a check up to what it found: ``check `x` failed``.
fn check_without_data(message: &str) -> String {
    let named = message.match_indices('`').nth(1).map_or(0, |(at, _)| at);
    let end = message[named..].find(": ").map_or(message.len(), |at| named + at);
    message[..end].to_owned()
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
        as_of: request.earlier.as_ref().map(|earlier| earlier.time),
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

/// Of what was found only what is compared as a number or a time is written down.
fn evidence_of(result: &CheckResult, checks: &[Check]) -> CheckEvidence {
    let expectations =
        checks.iter().find(|check| check.name == result.check).and_then(|check| match &check.probe {
            Probe::Sql { expectations, .. } => Some(expectations),
            _ => None,
        });
    let is_measure = expectations.is_some_and(|all| {
        let measures = |expected: &Expectation| !matches!(expected, Expectation::Equals(_));
        !all.is_empty() && all.iter().all(measures)
    });
    let reasons = without_data(&result.verdict, None).reasons;
    CheckEvidence {
        check: result.check.clone(),
        outcome: result.verdict.outcome,
        found: result.found.clone().filter(|_| is_measure),
        reasons: reasons.into_iter().map(|reason| reason.message).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Judgement};

    #[test]
    fn the_record_says_which_check_failed_and_nothing_of_what_it_found() {
        let check = |expected: Expectation| Check {
            name: "c".to_owned(),
            probe: Probe::Sql { query: "select 1".to_owned(), expectations: vec![expected] },
        };
        let found =
            |expected, text: &str| evidence_of(&CheckResult::passed("c", text), &[check(expected)]).found;
        assert_eq!(found(Expectation::AtLeast(1), "1204").as_deref(), Some("1204"));
        assert_eq!(found(Expectation::Equals("ann".to_owned()), "ann"), None);
        assert_eq!(evidence_of(&CheckResult::passed("as-stored", "12 files"), &[]).found, None);
        let mut verdict = Verdict::default();
        let said = "check `a: b` failed: it is ann@example.org, and should be bob";
        verdict.add(Judgement::Fail, Cause::Backup, CHECK_FAILED, said);
        let indexes = "indexes on text may not find their rows in `customers_of_ann`";
        verdict.add(Judgement::Undetermined, Cause::Environment, COLLATION_VERSION, indexes);
        verdict.add(Judgement::Fail, Cause::Backup, "restore-failed", "Key (email)=(ann) is duplicated");
        let public: Vec<String> = without_data(&verdict, Some("failed (load)"))
            .reasons
            .into_iter()
            .map(|one| one.message)
            .collect();
        assert_eq!(public.len(), 3);
        assert!(!public.iter().any(|message| message.contains("ann")), "{public:?}");
        assert!(public.contains(&"check `a: b` failed".to_owned()), "{public:?}");
        assert!(public.contains(&"the restore failed (load)".to_owned()), "{public:?}");
    }
}
