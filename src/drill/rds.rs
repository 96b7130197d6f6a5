//! A drill in RDS: a temporary instance of what RDS keeps, checked and deleted.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::course::{Course, empty_sample};
use super::record::Sample;
use super::request::{DrillRequest, RdsDrill};
use super::restore_sample::NotRestored;
use super::scenario::Scenario;
use super::stages::Stages;
use crate::checks::CheckResult;
use crate::model::{BackupId, Cause, Judgement, Verdict};
use crate::platform::CancellationToken;
use crate::restore::rds::{Lifetime, Overrides, RdsRestoreRequest, RdsTarget};
use crate::restore::{CreatedObject, Restorer as _, TeardownReport, prepare};
use crate::run::RunContext;
use crate::text::error_chain;

/// Whatever becomes of the drill, `drctl rds cleanup` may delete what it made after this long.
const LIFETIME: TimeDelta = TimeDelta::hours(24);
/// The phases that follow the usable instance.
const AFTER: [&str; 2] = ["hydrate", "first backup"];

/// What was restored.
#[derive(Debug)]
pub(super) struct RestoredInstance {
    pub(super) backup: Option<BackupId>,
    pub(super) region: String,
    pub(super) instance: String,
    pub(super) recovery_point: DateTime<Utc>,
    pub(super) server_version: Option<String>,
    /// A login read from it.
    pub(super) is_usable: bool,
    pub(super) checks: Vec<CheckResult>,
    pub(super) verdict: Verdict,
    pub(super) left_out: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// A drill's instance, whether it was restored or not.
#[derive(Debug)]
pub(super) struct RdsAttempt {
    restorer: RdsRestoreRequest,
    created: Vec<CreatedObject>,
    pub(super) restored: Result<RestoredInstance, NotRestored>,
}

impl RdsAttempt {
    /// Deletes what it made, and verifies that it is gone.
    pub(super) async fn teardown(&self, run: &RunContext) -> TeardownReport {
        self.restorer.teardown(run, &self.created).await
    }
}

/// Returns the restore that a drill in RDS is, to show its plan; `None`: it is in none.
pub fn rds_restore(run: &RunContext, request: &DrillRequest) -> Option<RdsRestoreRequest> {
    Some(restorer(run, request, request.rds.as_ref()?))
}

fn restorer(run: &RunContext, request: &DrillRequest, drill: &RdsDrill) -> RdsRestoreRequest {
    let until = run.clock.now() + LIFETIME;
    RdsRestoreRequest {
        system: run.system.clone(),
        source: request.source.clone(),
        config: drill.config.clone(),
        target: target(request),
        region: drill.region.clone(),
        to: identifier(run),
        overrides: Overrides::default(),
        lifetime: Some(Lifetime { until, owner: run.host.clone() }),
        prices: drill.prices.clone(),
        hydrate: true,
        backups_later: false,
    }
}

/// Restores into a temporary instance, and asks the policy's queries.
async fn attempt(
    run: &RunContext,
    request: &DrillRequest,
    drill: &RdsDrill,
    stages: &mut Stages,
) -> RdsAttempt {
    let restorer = restorer(run, request, drill);
    let begun = Instant::now();
    let prepared = prepare(run, &restorer, &request.checks).await;
    stages.end("plan", begun, None);
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            let restored = Err(NotRestored::of(&error, error_chain(&error)));
            return RdsAttempt { restorer, created: vec![], restored };
        }
    };
    let (created, restored) = match prepared.perform(run).await {
        Ok(report) => {
            stages.restored_until(&report.phases, &AFTER, |_| None);
            let restored = RestoredInstance {
                is_usable: report.details.marks.usable.is_some(),
                backup: report.backup,
                region: report.details.region,
                instance: report.details.instance,
                recovery_point: report.recovery_point,
                server_version: report.details.server.map(|server| server.version),
                checks: report.checks,
                verdict: report.verdict,
                left_out: report.left_out,
                notes: report.notes,
            };
            (report.created, Ok(restored))
        }
        Err(failed) => {
            stages.restored_until(&failed.phases, &AFTER, |_| None);
            let not = NotRestored::failed(&failed);
            (failed.created, Err(not))
        }
    };
    RdsAttempt { restorer, created, restored }
}

fn target(request: &DrillRequest) -> RdsTarget {
    match (&request.sample.backup, request.sample.target) {
        (_, Some(time)) => RdsTarget::Time(time),
        (Some(prefix), None) => RdsTarget::Backup(prefix.clone()),
        (None, None) if request.sample.scenario == Scenario::RdsPointInTime => RdsTarget::Latest,
        (None, None) => RdsTarget::Backup("latest".to_owned()),
    }
}

/// Returns the identifier of the instance: it says what it is, and is another for each drill.
fn identifier(run: &RunContext) -> String {
    let id: String = run.id.as_str().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("drctl-drill-{}", id.to_ascii_lowercase())
}

/// Restores into a temporary instance of RDS.
pub(super) async fn attempt_in_rds(
    run: &RunContext,
    request: &DrillRequest,
    drill: &RdsDrill,
    course: &mut Course,
    stages: &mut Stages,
) -> Option<RdsAttempt> {
    course.environment.isolation = Some("unverified".to_owned());
    if !request.allow_unverified {
        let message = "an instance of RDS reaches what its security groups allow, with the jobs, subscriptions and foreign servers of the restored data; `danger_unverified_isolation = true` under `[drill]` accepts that";
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "not-isolated", message);
        return None;
    }
    course.findings.push("the instance was not isolated from the network".to_owned());
    let attempt = attempt(run, request, drill, stages).await;
    match &attempt.restored {
        Ok(restored) => {
            course.verdict = restored.verdict.clone();
            course.checks.clone_from(&restored.checks);
            if !restored.left_out.is_empty() {
                let message =
                    format!("{} of what the original had did not come back", restored.left_out.len());
                course.verdict.add(Judgement::Fail, Cause::Backup, "left-out", message);
            }
            course.findings.extend(restored.notes.iter().cloned());
            course.environment.sandbox = Some(format!("rds {} in {}", restored.instance, restored.region));
            course.environment.postgres.clone_from(&restored.server_version);
            course.restored_until = Some(restored.recovery_point);
            let is_newest = request.sample.backup.is_none() && request.sample.target.is_none();
            course.until = course.restored_until.filter(|_| is_newest);
            course.until_by = Some("from the time whose data RDS restored to the start of the drill");
            course.sample = Some(Sample {
                backup: restored.backup.clone(),
                kind: restored.backup.as_ref().map(BackupId::kind),
                recovery_point: Some(restored.recovery_point),
                age_seconds: Some((run.begun - restored.recovery_point).as_seconds_f64()),
                target: request.sample.target,
                method: "newest".to_owned(),
                ..empty_sample(request, None)
            });
            course.usable = restored.is_usable;
            if !restored.is_usable {
                let message = "no login to the instance succeeded, or the policy has none";
                course.verdict.add(Judgement::Undetermined, Cause::Environment, "no-login", message);
            }
        }
        Err(not) => {
            course.verdict = not.verdict.clone();
            course.is_interrupted = not.is_interruption;
            course.told.clone_from(&not.told);
        }
    }
    Some(attempt)
}

/// Deletes the instance; also after an interruption: it is billed.
pub(super) async fn clean_up_in_rds(
    run: &RunContext,
    attempt: &RdsAttempt,
    keep: bool,
    course: &mut Course,
    stages: &mut Stages,
) -> Option<String> {
    if keep {
        let shown = course.environment.sandbox.clone().unwrap_or_default();
        course
            .cleanup
            .left
            .push(format!("{shown}, as was asked for; `drctl rds cleanup` deletes it when it expires"));
        return Some(shown);
    }
    let begun = Instant::now();
    let whole = RunContext { cancel: CancellationToken::new(), ..run.clone() };
    let report = attempt.teardown(&whole).await;
    course.cleanup.is_complete = report.is_complete();
    course.cleanup.removed.extend(report.removed);
    course.cleanup.left.extend(report.left.iter().map(|left| format!("{}: {}", left.what, left.reason)));
    stages.after("clean up", begun);
    None
}
