//! One drill, from its beginning to its record.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::evidence::{self, EvidenceError};
use super::judge::{Findings, judge};
use super::locate::{Located, locate};
use super::record::{
    CheckCriterion, CheckEvidence, Cleanup, Criteria, DrillIdentity, DrillRecord, Environment, PassedOver,
    PreviousDrill, RECORD_FORMAT, Results, Sample, SampledArtifact,
};
use super::request::DrillRequest;
use super::restore_sample::{NotRestored, RestoredSample, restore};
use super::sample::{Choice, choose};
use super::sandbox::{Sandbox, remove_leftovers};
use super::stages::Stages;
use super::{Scenario, checking, facts};
use crate::checks::CheckResult;
use crate::event::Event;
use crate::model::{Cause, Judgement, Manifest, Outcome, Protection, RepositoryName, Sha256Hex, Verdict};
use crate::platform::CancellationToken;
use crate::policy::{Expectation, Probe};
use crate::repository::Unavailable;
use crate::repository::journal::{DRILL, Detail, ProvenCopy};
use crate::run::RunContext;
use crate::text::format_duration;

/// A drill that has its record.
#[derive(Debug)]
pub struct Concluded {
    pub record: DrillRecord,
    pub sha256: Option<Sha256Hex>,
    /// The repositories without the record.
    pub unrecorded: Vec<Unavailable>,
    /// Why no repository has it.
    pub not_recorded: Option<EvidenceError>,
    /// The sandbox, where it was to be kept.
    pub kept: Option<String>,
}

/// What came of a drill before it is judged.
#[derive(Debug, Default)]
struct Course {
    verdict: Verdict,
    choice: Option<Choice>,
    sample: Option<Sample>,
    restored: Option<RestoredSample>,
    checks: Vec<CheckResult>,
    environment: Environment,
    cleanup: Cleanup,
    findings: Vec<String>,
    is_interrupted: bool,
    usable: bool,
}

/// Runs a drill. Whatever becomes of it, it is recorded and cleaned up. `keep`: leave the sandbox as it is.
pub async fn run(run: &RunContext, request: &DrillRequest, keep: bool) -> Concluded {
    run.events.emit(&Event::RunBegan { run: run.id.clone(), verb: DRILL });
    let previous = previous(run).await;
    let mut course = Course { environment: facts::environment(&request.root), ..Course::default() };
    let leftovers = remove_leftovers(&request.root).await;
    course
        .findings
        .extend(leftovers.left.iter().map(|left| format!("a leftover could not be removed: {left}")));
    course.cleanup.leftovers_removed = leftovers.removed;

    let mut stages = Stages::begin();
    let inner = RunContext { cancel: run.cancel.child_token(), ..run.clone() };
    let limit = deadline(&inner.cancel, request);
    let sandbox = attempt(&inner, request, &mut course, &mut stages).await;
    let is_late = stages.elapsed() >= request.deadline;
    limit.abort();
    if is_late && course.is_interrupted && !run.cancel.is_cancelled() {
        let message = format!("it was given up after {}", format_duration(request.deadline));
        course.verdict = Verdict::default();
        course.verdict.add(Judgement::Fail, Cause::Objective, "deadline", message);
    } else if run.cancel.is_cancelled() {
        course.verdict.add(Judgement::Undetermined, Cause::Tool, "interrupted", "the drill was interrupted");
    }
    let measured = stages.elapsed().as_secs_f64();
    let kept = clean_up(sandbox, keep, &mut course, &mut stages).await;
    let record = record(run, request, course, stages, measured, previous);
    conclude(run, record, kept).await
}

/// What a drill would restore.
#[derive(Debug)]
pub struct Preview {
    pub choice: Result<Choice, String>,
    /// Why the answer may be incomplete.
    pub notes: Vec<String>,
    /// Of the chosen backup, where it is known before the restore.
    pub plain_bytes: Option<u64>,
}

/// Chooses as [`run`] does, and changes nothing.
pub async fn preview(run: &RunContext, request: &DrillRequest) -> Preview {
    let located = locate(run, &request.source, request.from.as_ref()).await;
    let choice = choose(&request.sample, &located.candidates, &located.windows);
    let chosen = choice.as_ref().ok().and_then(|choice| choice.restore.backup());
    let plain_bytes =
        chosen.and_then(|id| located.inventory.find(id)).map(|record| record.manifest.plain_size());
    Preview { choice, notes: located.notes, plain_bytes }
}

/// Cancels what runs when the deadline is reached.
fn deadline(cancel: &CancellationToken, request: &DrillRequest) -> tokio::task::JoinHandle<()> {
    let (cancel, after) = (cancel.clone(), request.deadline);
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        cancel.cancel();
    })
}

/// Returns the link to the record before, as far as the repositories in use know it.
async fn previous(run: &RunContext) -> Option<PreviousDrill> {
    let (history, lost) = evidence::read_all(&run.repositories, &run.system).await;
    for lost in lost {
        run.events.warning(format!(
            "the records of drills in `{}` were not read: {}",
            lost.name,
            lost.reason()
        ));
    }
    // What a repository missed while it was lost is completed here.
    evidence::complete(&run.repositories, &run.system, &history).await;
    history.newest()
}

async fn attempt(
    run: &RunContext,
    request: &DrillRequest,
    course: &mut Course,
    stages: &mut Stages,
) -> Option<Sandbox> {
    let begun = Instant::now();
    let located = locate(run, &request.source, request.from.as_ref()).await;
    stages.end("locate", begun, None);
    course.findings.extend(located.notes.iter().cloned());
    let choice = match choose(&request.sample, &located.candidates, &located.windows) {
        Ok(choice) => choice,
        Err(why) => {
            match located.notes.is_empty() {
                true => course.verdict.add(Judgement::Fail, Cause::Backup, "nothing-to-restore", why),
                false => {
                    let message = format!("{why}; {}", located.notes.join("; "));
                    course.verdict.add(
                        Judgement::Undetermined,
                        Cause::Environment,
                        "nothing-to-restore",
                        message,
                    );
                }
            }
            return None;
        }
    };
    let begun = Instant::now();
    let sandbox = Sandbox::create(&request.root, &run.id, &run.cancel).await;
    stages.end("sandbox", begun, None);
    let sandbox = match sandbox {
        Ok(sandbox) => sandbox,
        Err(error) => {
            course.choice = Some(choice);
            course.verdict = NotRestored::of_sandbox(&error).verdict;
            return None;
        }
    };
    course.environment.sandbox = Some("local".to_owned());
    course.environment.isolation = Some(sandbox.isolation.as_str().to_owned());
    course.environment.isolation_probes.clone_from(&sandbox.isolation.probes);
    if sandbox.isolation.is_proven() || request.allow_unverified {
        if !sandbox.isolation.is_proven() {
            run.events.warning("it cannot be proven that what is restored reaches no network");
            course.findings.push("the sandbox was not isolated from the network".to_owned());
        }
        restore_and_check(run, request, &sandbox, &located, &choice, course, stages).await;
    } else {
        let why = sandbox.isolation.probes.join("; ");
        let message = format!("this host cannot isolate what is restored from the network: {why}");
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "not-isolated", message);
    }
    course.sample.get_or_insert_with(|| sample(request, &located, &choice, None, run));
    course.choice = Some(choice);
    Some(sandbox)
}

async fn restore_and_check(
    run: &RunContext,
    request: &DrillRequest,
    sandbox: &Sandbox,
    located: &Located,
    choice: &Choice,
    course: &mut Course,
    stages: &mut Stages,
) {
    let mut restored = match restore(run, request, sandbox, located, &choice.restore, stages).await {
        Ok(restored) => restored,
        Err(NotRestored { verdict, is_interruption }) => {
            course.is_interrupted = is_interruption;
            course.verdict = verdict;
            if request.sample.scenario == Scenario::EscrowKey {
                blame_the_key(&mut course.verdict);
            }
            return;
        }
    };
    course.sample = Some(sample(request, located, choice, Some(&restored), run));
    course.verdict = std::mem::take(&mut restored.verdict);
    course.checks = std::mem::take(&mut restored.checks);
    if !restored.left_out.is_empty() {
        let message = format!("{} of what the original had did not come back", restored.left_out.len());
        course.verdict.add(Judgement::Fail, Cause::Backup, "left-out", message);
    }
    match sandbox.prove_isolation() {
        Ok(proof) => course.environment.isolation_probes.push(proof),
        Err(_) if !sandbox.isolation.is_proven() => {}
        Err(why) => {
            let message = format!("what was restored may reach the network: {why}");
            course.verdict.add(Judgement::Undetermined, Cause::Environment, "not-isolated", message);
        }
    }
    let begun = Instant::now();
    let results = checking::run(run, request, &restored).await;
    stages.end("checks", begun, None);
    course.is_interrupted = run.cancel.is_cancelled();
    for result in &results {
        match result.verdict.reasons.first() {
            None => run.events.notice(format!("check `{}` holds", result.check)),
            Some(reason) => run.events.warning(reason.message.clone()),
        }
    }
    let all = Verdict::worst(results.iter().map(|result| &result.verdict));
    course.verdict = Verdict::worst([&course.verdict, &all]);
    course.checks.extend(results);
    course.environment.postgres = checking::server_version(&restored).await;
    course.usable = !course.is_interrupted;
    course.restored = Some(restored);
}

/// The escrowed identity is what that drill proves.
fn blame_the_key(verdict: &mut Verdict) {
    if verdict.reasons.iter().any(|reason| reason.message.contains("none of the identities")) {
        verdict.add(
            Judgement::Fail,
            Cause::Backup,
            "escrow-key",
            "the escrowed identity does not open the backup",
        );
    }
}

fn sample(
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
        kind: chosen.map(crate::model::BackupId::kind),
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

async fn clean_up(
    sandbox: Option<Sandbox>,
    keep: bool,
    course: &mut Course,
    stages: &mut Stages,
) -> Option<String> {
    let begun = Instant::now();
    let Some(sandbox) = sandbox else {
        course.cleanup.is_complete = true;
        return None;
    };
    if keep {
        let shown = sandbox.directory.display().to_string();
        course.cleanup.left.push(format!("directory `{shown}`, as was asked for"));
        return Some(shown);
    }
    match sandbox.tear_down().await {
        Ok(removed) => {
            course.cleanup.removed.push(removed);
            course.cleanup.is_complete = true;
        }
        Err(left) => {
            course.findings.push(format!("the sandbox is not gone: {left}"));
            course.cleanup.left.push(left);
        }
    }
    stages.after("clean up", begun);
    None
}

fn record(
    run: &RunContext,
    request: &DrillRequest,
    course: Course,
    stages: Stages,
    measured: f64,
    previous: Option<PreviousDrill>,
) -> DrillRecord {
    let Course { verdict, choice, sample, restored, checks, environment, cleanup, findings, usable, .. } =
        course;
    let allowed: f64 = request.allowances.iter().map(|(_, allowed)| allowed.as_secs_f64()).sum();
    let scenario = request.sample.scenario;
    let until = restored.as_ref().and_then(|restored| restored.until);
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
            rpo_method: rpo_method(scenario, restored.as_ref(), rpo.is_some()),
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

fn rpo_method(scenario: Scenario, restored: Option<&RestoredSample>, is_measured: bool) -> String {
    match (is_measured, restored) {
        (true, Some(restored)) if restored.backup.kind() == crate::model::BackupKind::Logical => {
            "from the snapshot of the dump to the start of the drill".to_owned()
        }
        (true, _) => {
            "from the end of what base backup and WAL give back, the newest commit or the time before which all are there, to the start of the drill"
                .to_owned()
        }
        (false, _) if !scenario.measures_rpo() => {
            format!("not measured: scenario `{scenario}` restores an older backup on purpose")
        }
        (false, None) => "not measured: nothing was restored".to_owned(),
        (false, Some(_)) => "not measured: it is not known until when the data goes".to_owned(),
    }
}

fn empty_sample(request: &DrillRequest, choice: Option<&Choice>) -> Sample {
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

async fn conclude(run: &RunContext, record: DrillRecord, kept: Option<String>) -> Concluded {
    let written = evidence::write(&run.repositories, &record).await;
    let (sha256, mut unrecorded, not_recorded) = match written {
        Ok((sha256, lost)) => (Some(sha256), lost, None),
        Err(error) => (None, vec![], Some(error)),
    };
    let proven = proven(&record);
    let outcome = match record.verdict.outcome.as_str() {
        _ if run.cancel.is_cancelled() => Outcome::Interrupted,
        "pass" => Outcome::Succeeded,
        "fail" => Outcome::Failed,
        _ => Outcome::Degraded,
    };
    let code = record.verdict.code.iter().map(|code| {
        let cause = record.verdict.cause.clone().unwrap_or_default();
        format!("{}: {code} ({cause})", record.verdict.outcome)
    });
    let detail = Detail {
        method: Some(record.identity.scenario.to_string()),
        backups: record.sample.backup.iter().cloned().collect(),
        phases: record.phases.iter().map(|phase| (phase.phase.clone(), phase.seconds)).collect(),
        reasons: code.collect(),
        evidence: sha256,
        proven: proven.into_iter().collect(),
        ..Detail::default()
    };
    for lost in run.conclude(DRILL, outcome, detail).await {
        if !unrecorded.iter().any(|known| known.name == lost.name) {
            unrecorded.push(lost);
        }
    }
    Concluded { record, sha256, unrecorded, not_recorded, kept }
}

/// A pass proves the copy that was read.
fn proven(record: &DrillRecord) -> Option<ProvenCopy> {
    let copy: (_, RepositoryName) = (record.sample.backup.clone()?, record.sample.repository.clone()?);
    record.verdict.has_passed().then_some(ProvenCopy { backup: copy.0, repository: copy.1 })
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
