//! One drill, from its beginning to its record.

use std::time::Duration;

use super::aws_backup::{attempt_in_aws_backup, clean_up_in_aws_backup};
use super::course::{Course, record};
use super::evidence::{self, EvidenceError};
use super::facts;
use super::in_sandbox::{asked, attempt, clean_up};
use super::locate::locate;
use super::look_back::EarlierView;
use super::rds::{attempt_in_rds, clean_up_in_rds};
use super::record::{DrillRecord, DrillVerdict, PreviousDrill};
use super::request::DrillRequest;
use super::sample::{Choice, choose};
use super::sandbox::remove_leftovers;
use super::scenario::Scenario;
use super::stages::Stages;
use crate::event::Event;
use crate::model::{Cause, Judgement, Outcome, RepositoryName, Sha256Hex, Verdict};
use crate::platform::CancellationToken;
use crate::repository::journal::{DRILL, Detail, ProvenCopy, RunbookRun};
use crate::repository::{ClockSkew, Unavailable};
use crate::run::RunContext;
use crate::text::{count, format_duration, format_time};

/// The time limit for the clocks of the stores.
const CLOCKS_WITHIN: Duration = Duration::from_secs(10);

/// A drill that has its record.
#[derive(Debug)]
pub struct Concluded {
    pub record: DrillRecord,
    /// As recorded, with what checks found and servers said.
    pub verdict: DrillVerdict,
    pub sha256: Option<Sha256Hex>,
    /// The repositories without the record.
    pub unrecorded: Vec<Unavailable>,
    /// Why no repository has it.
    pub not_recorded: Option<EvidenceError>,
    /// The sandbox, where it was to be kept.
    pub kept: Option<String>,
}

/// Runs a drill. Whatever becomes of it, it is recorded and cleaned up. `keep`: leave the sandbox as it is.
pub async fn run(run: &RunContext, request: &DrillRequest, keep: bool) -> Concluded {
    run.events.emit(&Event::RunBegan { run: run.id.clone(), verb: DRILL });
    let mut course = Course { environment: facts::environment(&request.root), ..Course::default() };
    let leftovers = remove_leftovers(&request.root).await;
    course
        .findings
        .extend(leftovers.left.iter().map(|left| format!("a leftover could not be removed: {left}")));
    course.cleanup.leftovers_removed = leftovers.removed;

    let skewed = match request.sample.scenario.measures_rpo() {
        true => ClockSkew::find(&reading(run, request).repositories, CLOCKS_WITHIN, &*run.clock).await,
        false => vec![],
    };
    for skew in skewed {
        let message = format!(
            "this host's clock differs by {} from that of `{}`: what would be lost is not known",
            format_duration(skew.ahead.abs().to_std().unwrap_or_default()),
            skew.repository
        );
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "clock", message);
    }
    if let Some(earlier) = &request.earlier {
        note_earlier(earlier, request, &mut course);
    }
    let mut stages = Stages::begin();
    let inner = reading(run, request);
    let limit = deadline(&inner.cancel, request);
    let clocks = std::mem::take(&mut course.verdict);
    let (mut sandbox, mut instance, mut resource) = (None, None, None);
    match (&request.rds, &request.resource) {
        (Some(drill), _) => {
            instance = attempt_in_rds(&inner, request, drill, &mut course, &mut stages).await;
        }
        (None, Some(drill)) => {
            resource = attempt_in_aws_backup(&inner, request, drill, &mut course, &mut stages).await;
        }
        (None, None) => sandbox = attempt(&inner, request, &mut course, &mut stages).await,
    }
    course.verdict = Verdict::worst([&course.verdict, &clocks]);
    let is_late = stages.elapsed() >= request.deadline;
    limit.abort();
    if is_late && course.is_interrupted && !run.cancel.is_cancelled() {
        let message = format!("it was given up after {}", format_duration(request.deadline));
        // What was found of the backup until then holds.
        course.verdict.reasons.retain(|reason| reason.cause == Cause::Backup);
        course.verdict.add(Judgement::Fail, Cause::Objective, "deadline", message);
    } else if run.cancel.is_cancelled() {
        course.verdict.add(Judgement::Undetermined, Cause::Tool, "interrupted", "the drill was interrupted");
    }
    let measured = stages.elapsed().as_secs_f64() - stages.uncounted();
    let kept = match (instance, resource) {
        (Some(instance), _) => clean_up_in_rds(run, &instance, keep, &mut course, &mut stages).await,
        (None, Some(resource)) => {
            clean_up_in_aws_backup(run, &resource, keep, &mut course, &mut stages).await
        }
        (None, None) => clean_up(sandbox, keep, &mut course, &mut stages).await,
    };
    // As late as possible: another drill may have ended meanwhile.
    let previous = previous(run).await;
    let runbook = course.runbook.clone();
    let (record, verdict) = record(run, request, course, stages, measured, previous);
    conclude(run, record, runbook, verdict, kept).await
}

/// Notes what the versions of the repositories tell.
fn note_earlier(earlier: &EarlierView, request: &DrillRequest, course: &mut Course) {
    let found = &earlier.found;
    course.findings.extend(found.hidings.iter().map(|hiding| {
        format!(
            "{} were hidden or overwritten in `{}` from {} on",
            count(hiding.objects as u64, "backup"),
            hiding.repository,
            format_time(hiding.since)
        )
    }));
    course.findings.extend(found.unread.iter().cloned());
    let is_read = |name: &&RepositoryName| request.from.as_ref().is_none_or(|from| from == *name);
    if request.sample.scenario == Scenario::Ransomware
        && let Some(name) = found.without_versions.iter().find(is_read)
    {
        let message = format!("`{name}` is not known to keep versions: what is overwritten there is lost");
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "no-versions", message);
    }
}

/// Returns the context to restore in: only what may be read, and a cancellation of its own.
fn reading(run: &RunContext, request: &DrillRequest) -> RunContext {
    let all = request.earlier.as_ref().map_or(&run.repositories, |earlier| &earlier.repositories);
    let repositories = match &request.from {
        Some(name) => all.clone().only(name),
        None => all.clone(),
    };
    RunContext { repositories, cancel: run.cancel.child_token(), ..run.clone() }
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
    let reading = reading(run, request);
    let located = locate(&reading, &request.source).await;
    let choice = match asked(&reading, request, &located).await {
        Ok((asked, _)) => choose(&asked, &located.candidates, &located.windows),
        Err(why) => Err(why),
    };
    let chosen = choice.as_ref().ok().and_then(|choice| choice.restore.backup());
    let plain_bytes =
        chosen.and_then(|id| located.inventory.find(id)).map(|record| record.manifest.plain_size());
    Preview { choice, notes: located.notes(), plain_bytes }
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

async fn conclude(
    run: &RunContext,
    record: DrillRecord,
    runbook: Option<RunbookRun>,
    verdict: DrillVerdict,
    kept: Option<String>,
) -> Concluded {
    let written = evidence::write(&run.repositories, &record).await;
    let (sha256, mut unrecorded, not_recorded) = match written {
        Ok((sha256, lost)) => (Some(sha256), lost, None),
        Err(error) => (None, vec![], Some(error)),
    };
    // Without evidence nothing is proven.
    let proven = proven(&record).filter(|_| sha256.is_some());
    let outcome = match record.verdict.outcome {
        _ if run.cancel.is_cancelled() => Outcome::Interrupted,
        Judgement::Pass if sha256.is_none() => Outcome::Degraded,
        Judgement::Pass => Outcome::Succeeded,
        Judgement::Fail => Outcome::Failed,
        Judgement::Undetermined => Outcome::Degraded,
    };
    let code = record.verdict.code.iter().map(|code| {
        let cause = record.verdict.cause.map_or("", Cause::as_str);
        format!("{}: {code} ({cause})", record.verdict.outcome)
    });
    let detail = Detail {
        method: Some(record.identity.scenario.to_string()),
        backups: record.sample.backup.iter().cloned().collect(),
        phases: record.phases.iter().map(|phase| (phase.phase.clone(), phase.seconds)).collect(),
        reasons: code.collect(),
        evidence: sha256,
        runbook,
        proven: proven.into_iter().collect(),
        ..Detail::default()
    };
    for lost in run.conclude(DRILL, outcome, detail).await {
        if !unrecorded.iter().any(|known| known.name == lost.name) {
            unrecorded.push(lost);
        }
    }
    Concluded { record, verdict, sha256, unrecorded, not_recorded, kept }
}

/// A pass proves the copy that was read.
fn proven(record: &DrillRecord) -> Option<ProvenCopy> {
    let copy: (_, RepositoryName) = (record.sample.backup.clone()?, record.sample.repository.clone()?);
    record.verdict.has_passed().then_some(ProvenCopy { backup: copy.0, repository: copy.1 })
}
