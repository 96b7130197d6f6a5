//! A drill in a sandbox of this host.

use std::time::Instant;

use super::checking;
use super::course::{Course, sample};
use super::locate::{Located, locate};
use super::request::DrillRequest;
use super::restore_sample::{NotRestored, restore};
use super::sample::{Choice, choose};
use super::sandbox::Sandbox;
use super::scenario::Scenario;
use super::stages::Stages;
use crate::model::{BackupKind, Cause, Judgement, Verdict};
use crate::run::RunContext;

pub(super) async fn attempt(
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
    course.until = restored.until;
    course.until_by = Some(match restored.backup.kind() {
        BackupKind::Logical => "from the snapshot of the dump to the start of the drill",
        _ => {
            "from the end of what base backup and WAL give back, the newest commit or the time before which all are there, to the start of the drill"
        }
    });
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

pub(super) async fn clean_up(
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
