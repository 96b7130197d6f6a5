//! A drill in a sandbox of this host.

use std::time::Instant;

use super::amcheck;
use super::amcheck_verdict::AMCHECK;
use super::checking;
use super::course::{Course, key, sample};
use super::judge::{RestoredReach, judge_loss, judge_usable, note_room};
use super::locate::{Located, locate};
use super::members::{choose_point, restore_members};
use super::request::DrillRequest;
use super::restore_sample::{NotRestored, RestoredSample, restore};
use super::sample::{Choice, SampleRequest, SampledRestore, choose};
use super::sandbox::Sandbox;
use super::scenario::Scenario;
use super::stages::Stages;
use crate::application::Selection;
use crate::model::{BackupId, Cause, Judgement, Verdict, chain};
use crate::platform::free_space;
use crate::policy::Probe;
use crate::run::RunContext;

pub(super) async fn attempt(
    run: &RunContext,
    request: &DrillRequest,
    course: &mut Course,
    stages: &mut Stages,
) -> Option<Sandbox> {
    let begun = Instant::now();
    let located = tokio::select! {
        located = locate(run, &request.source) => located,
        () = run.cancel.cancelled() => {
            course.is_interrupted = true;
            return None;
        }
    };
    stages.end("locate", begun, None);
    course.findings.extend(located.notes());
    let (asked, point) = match asked(run, request, &located).await {
        Ok(asked) => asked,
        Err(why) => {
            course.verdict.add(Judgement::Fail, Cause::Backup, "nothing-to-restore", why);
            return None;
        }
    };
    let choice = match choose(&asked, &located.candidates, &located.windows) {
        Ok(choice) => choice,
        Err(why) => {
            let notes = located.notes().join("; ");
            let message = if notes.is_empty() { why } else { format!("{why}; {notes}") };
            // A backup whose only manifest is damaged is no fault of this host.
            let (judgement, cause) = match located.unread.is_empty() && located.wal_unread.is_empty() {
                true => (Judgement::Fail, Cause::Backup),
                false => (Judgement::Undetermined, Cause::Environment),
            };
            course.verdict.add(judgement, cause, "nothing-to-restore", message);
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
    if run.cancel.is_cancelled() {
        course.is_interrupted = true;
        course.choice = Some(choice);
        return Some(sandbox);
    }
    course.environment.sandbox = Some("local".to_owned());
    course.environment.isolation = Some(sandbox.isolation.as_str().to_owned());
    course.environment.isolation_probes.clone_from(&sandbox.isolation.probes);
    if sandbox.isolation.is_proven() || request.allow_unverified {
        if !sandbox.isolation.is_proven() {
            run.events.warning("it cannot be proven that what is restored reaches no network");
            course.findings.push("the sandbox was not isolated from the network".to_owned());
        }
        // Of what a runbook restores the size of the database is not read ahead.
        let dump = match &choice.restore {
            SampledRestore::Dump(backup) if request.runbook.is_some() => located.inventory.find(backup),
            SampledRestore::Dump(_) | SampledRestore::Cluster { .. } => None,
        };
        let plain = dump.map(|record| record.manifest.plain_size());
        course.findings.extend(note_room(plain, free_space(&request.root).ok()));
        restore_and_check(run, request, &sandbox, &located, (&choice, point.as_ref()), course, stages).await;
    } else {
        let why = sandbox.isolation.probes.join("; ");
        let message = format!("this host cannot isolate what is restored from the network: {why}");
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "not-isolated", message);
    }
    course.sample.get_or_insert_with(|| sample(request, &located, &choice, None, run));
    course.choice = Some(choice);
    Some(sandbox)
}

/// Returns what is asked for; of a whole application the recovery point, too.
pub(super) async fn asked(
    run: &RunContext,
    request: &DrillRequest,
    located: &Located,
) -> Result<(SampleRequest, Option<Selection>), String> {
    match &request.application {
        Some(drill) => {
            let (asked, point) = choose_point(run, request, drill, located).await?;
            Ok((asked, Some(point)))
        }
        None => Ok((request.sample.clone(), None)),
    }
}

async fn restore_and_check(
    run: &RunContext,
    request: &DrillRequest,
    sandbox: &Sandbox,
    located: &Located,
    (choice, point): (&Choice, Option<&Selection>),
    course: &mut Course,
    stages: &mut Stages,
) {
    let mut restored = match restore(run, request, sandbox, located, &choice.restore, stages).await {
        Ok(restored) => restored,
        Err(NotRestored { verdict, told, backup, runbook, is_interruption }) => {
            course.runbook = runbook;
            course.is_interrupted = is_interruption;
            course.verdict = verdict;
            course.told = told;
            let mut sample = sample(request, located, choice, None, run);
            if let Some(backup) = backup {
                sample.kind = Some(backup.kind());
                sample.backup = Some(backup);
            }
            course.sample = Some(sample);
            if request.sample.scenario == Scenario::EscrowKey {
                blame_the_key(&mut course.verdict);
            }
            return;
        }
    };
    course.sample = Some(sample(request, located, choice, Some(&restored), run));
    course.verdict = std::mem::take(&mut restored.verdict);
    judge_chain(&restored.backup, located, &mut course.verdict);
    judge_key(request, &restored.backup, located, run, course);
    course.checks = std::mem::take(&mut restored.checks);
    note_runbook(request, &mut restored, course);
    if !restored.left_out.is_empty() {
        let message = format!("{} of what the original had did not come back", restored.left_out.len());
        course.verdict.add(Judgement::Fail, Cause::Backup, "left-out", message);
        restored.left_out.iter().for_each(|left_out| run.events.warning(format!("not restored: {left_out}")));
    }
    match sandbox.prove_isolation() {
        Ok(proof) => course.environment.isolation_probes.push(proof),
        Err(_) if !sandbox.isolation.is_proven() => {}
        Err(why) => {
            let message = format!("what was restored may reach the network: {why}");
            course.verdict.add(Judgement::Undetermined, Cause::Environment, "not-isolated", message);
        }
    }
    let mut oldest = None;
    if let Some((drill, point)) = request.application.as_ref().zip(point) {
        let of = (sandbox, located);
        oldest = restore_members(run, request, of, (drill, point), &restored, course, stages).await;
    }
    let begun = Instant::now();
    let asks = request.checks.iter().any(|check| matches!(check.probe, Probe::Sql { .. }));
    if asks && request.database.is_none() && !restored.is_superuser {
        let message = "it is not known which database the checks ask: say `database` under `[drill]`";
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "no-database", message);
    }
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
    let has_login = course.environment.postgres.is_some();
    course.usable = judge_usable(&mut course.verdict, &restored.login.user, has_login, course.is_interrupted);
    course.restored_until = restored.until;
    let is_newest = choice.is_newest() || request.application.is_some() && request.sample.backup.is_none();
    if request.sample.scenario.measures_rpo() && is_newest {
        let reach = RestoredReach {
            kind: restored.backup.kind(),
            until: restored.until,
            begun: run.begun,
            wal_unread: located.wal_unread.first().map(String::as_str),
        };
        (course.until, course.until_by) = judge_loss(&mut course.verdict, &reach);
        // The worst of what belongs together.
        course.until = course.until.map(|until| oldest.map_or(until, |oldest| until.min(oldest)));
    }
    if has_login && !course.is_interrupted {
        let begun = Instant::now();
        let budget = amcheck::BUDGET.min(request.deadline.saturating_sub(stages.elapsed()));
        let (result, finding) = amcheck::inspect(&restored.login, budget, &run.cancel).await;
        stages.after(AMCHECK, begun);
        course.verdict = Verdict::worst([&course.verdict, &result.verdict]);
        course.findings.extend(finding);
        course.checks.push(result);
    }
    if request.role.is_none() {
        let role = restored.login.user.clone();
        course.deviations.push(format!("the checks asked as role `{role}`, not as the application's"));
    }
}

/// Records which runbook restored, and what is not known because of that.
fn note_runbook(request: &DrillRequest, restored: &mut RestoredSample, course: &mut Course) {
    course.runbook = restored.runbook.take();
    match (&request.runbook, &course.runbook) {
        (Some(drill), None) => course.deviations.push(format!(
            "runbook `{}` was not run: a drill runs runbooks for dumps only",
            drill.runbook.name
        )),
        (Some(_), Some(_)) if restored.repository.is_none() => course.deviations.push(
            "which copy was restored is not known, and so none is proven: the runbook's restore does not say `--output json`"
                .to_owned(),
        ),
        _ => {}
    }
}

/// Damage of the data that was copied comes back with it.
fn judge_chain(backup: &BackupId, located: &Located, verdict: &mut Verdict) {
    let Some(record) = located.inventory.find(backup) else { return };
    let find = |id: &BackupId| located.inventory.find(id).map(|record| &record.manifest);
    let is_damaged = match chain(&record.manifest, find) {
        Ok(links) => links.iter().any(|link| link.is_damaged()),
        Err(_) => record.manifest.is_damaged(),
    };
    if is_damaged {
        let message =
            "the server's own data was damaged when it was backed up: `drctl show` lists pages and files";
        verdict.add(Judgement::Fail, Cause::Backup, "damaged-data", message);
    }
}

/// Records whose identity opened the backup. With the operational one nothing is proven of the escrowed.
fn judge_key(
    request: &DrillRequest,
    backup: &BackupId,
    located: &Located,
    run: &RunContext,
    course: &mut Course,
) {
    let manifest = located.inventory.find(backup).map(|record| &record.manifest);
    course.key_holder = manifest.and_then(|manifest| key(run, manifest)).and_then(|(_, holder)| holder);
    let is_escrowed = course.key_holder.as_deref().is_some_and(|holder| holder != "operational");
    if request.sample.scenario == Scenario::EscrowKey && !is_escrowed {
        let message = "the operational identity opened the backup, or one whose holder the policy does not name: nothing is known of the escrowed one";
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "not-the-escrow-key", message);
    }
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
        let shown = sandbox.keep().display().to_string();
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
