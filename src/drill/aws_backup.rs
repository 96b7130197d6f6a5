//! A drill of AWS Backup: a restore job makes a temporary database of a recovery point, programs of the policy check it,
//! and it is deleted.

use std::time::Instant;

use chrono::DateTime;

use super::checking;
use super::course::{Course, empty_sample};
use super::record::Sample;
use super::request::{DrillRequest, ResourceDrill};
use super::restore_sample::NotRestored;
use super::stages::Stages;
use crate::checks::{CheckResult, NOT_ASKED};
use crate::model::{BackupKind, Cause, Judgement, Verdict};
use crate::platform::CancellationToken;
use crate::policy::Probe;
use crate::repository::{Inventory, Listing};
use crate::restore::aws_backup::{ResourceDetails, ResourceRestoreRequest};
use crate::restore::{CreatedObject, RestoreReport, Restorer as _, prepare};
use crate::run::RunContext;
use crate::text::{error_chain, format_duration};

/// The variable that names what was restored, by ARN.
const RESOURCE: &str = "DRCTL_RESOURCE";

/// A drill's resource, whether it was restored or not.
#[derive(Debug)]
pub(super) struct ResourceAttempt {
    restorer: ResourceRestoreRequest,
    created: Vec<CreatedObject>,
}

/// Restores into a temporary database, and has the policy's programs check it.
pub(super) async fn attempt_in_aws_backup(
    run: &RunContext,
    request: &DrillRequest,
    drill: &ResourceDrill,
    course: &mut Course,
    stages: &mut Stages,
) -> Option<ResourceAttempt> {
    course.environment.isolation = Some("unverified".to_owned());
    if !request.allow_unverified {
        let message = "what AWS Backup restores reaches what its security groups allow, with the jobs, subscriptions and foreign servers of the restored data; `danger_unverified_isolation = true` under `[drill]` accepts that";
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "not-isolated", message);
        return None;
    }
    let Some(key) = naming_key(&drill.config.resource) else {
        let message = "drctl can delete what a restore job made only where that is a database of RDS or Aurora, and leaves nothing behind";
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "not-removable", message);
        return None;
    };
    course.findings.push("what was restored was not isolated from the network".to_owned());
    let mut changes = vec![(key.to_owned(), identifier(run))];
    if let Some(time) = request.sample.target {
        changes.push(("RestoreTime".to_owned(), time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)));
    }
    let restorer = ResourceRestoreRequest {
        system: run.system.clone(),
        source: request.source.clone(),
        config: drill.config.clone(),
        backup: request.sample.backup.clone(),
        region: drill.region.clone(),
        changes,
        again: true,
        known: known(run, request, course).await,
    };
    let begun = Instant::now();
    let prepared = prepare(run, &restorer, &[]).await;
    stages.end("plan", begun, None);
    let not_restored = |not: NotRestored, course: &mut Course| {
        course.verdict = Verdict::worst([&course.verdict, &not.verdict]);
        course.is_interrupted = not.is_interruption;
        course.told = not.told;
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            not_restored(NotRestored::of(&error, error_chain(&error)), course);
            return None;
        }
    };
    match prepared.perform(run).await {
        Ok(report) => {
            stages.restored(&report.phases, |_| None);
            restored(run, request, &report, course, stages).await;
            Some(ResourceAttempt { restorer, created: report.created })
        }
        Err(failed) => {
            stages.restored(&failed.phases, |_| None);
            not_restored(NotRestored::failed(&failed), course);
            Some(ResourceAttempt { restorer, created: failed.created })
        }
    }
}

/// Returns the recovery points that the repositories know of.
async fn known(
    run: &RunContext,
    request: &DrillRequest,
    course: &mut Course,
) -> Vec<(crate::model::Manifest, Vec<crate::model::RepositoryName>)> {
    let listing = Listing::of_source(&run.repositories, &run.system, &request.source).await;
    let unread = listing.unlisted.iter().chain(run.repositories.lost());
    course.findings.extend(unread.map(|lost| format!("`{}` was not read: {}", lost.name, lost.reason())));
    let inventory = Inventory::load(&listing, &run.system, &[BackupKind::RecoveryPoint]).await;
    let records = inventory.backups_of(&request.source);
    records.map(|record| (record.manifest.clone(), record.holders.clone())).collect()
}

async fn restored(
    run: &RunContext,
    request: &DrillRequest,
    report: &RestoreReport<ResourceDetails>,
    course: &mut Course,
    stages: &mut Stages,
) {
    let details = &report.details;
    course.verdict = Verdict::worst([&course.verdict, &report.verdict]);
    course.checks.clone_from(&report.checks);
    course.findings.extend(report.notes.iter().cloned());
    for issue in &report.left_out {
        course.verdict.add(Judgement::Fail, Cause::Backup, "left-out", issue.clone());
    }
    if let Some(seconds) = details.job_seconds {
        let lasted = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
        course.findings.push(format!("the job took {} by AWS's clock", format_duration(lasted)));
    }
    course
        .deviations
        .push("blocks that come from S3 when they are first read (hydration) were not waited for".to_owned());
    let made = details.created.clone();
    course.environment.sandbox = Some(format!("aws-backup in {}", details.region));
    course.restored_until = Some(report.recovery_point);
    let is_newest = request.sample.backup.is_none() && request.sample.target.is_none();
    course.until = Some(report.recovery_point).filter(|_| is_newest);
    course.until_by = Some("from the time of the recovery point to the start of the drill");
    course.sample = Some(Sample {
        backup: report.backup.clone(),
        kind: Some(BackupKind::RecoveryPoint),
        recovery_point: Some(report.recovery_point).filter(|at| *at > DateTime::UNIX_EPOCH),
        age_seconds: Some((run.begun - report.recovery_point).as_seconds_f64()),
        target: request.sample.target,
        method: "newest".to_owned(),
        ..empty_sample(request, None)
    });
    let Some(made) = made else {
        let message = "AWS Backup does not name what it made, and so nothing checked it";
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "no-login", message);
        return;
    };
    let begun = Instant::now();
    let results = check(run, request, &made).await;
    stages.end("checks", begun, None);
    let asked = request.checks.iter().any(|check| matches!(check.probe, Probe::Command(_)));
    if !asked {
        let message = format!(
            "nothing used what was restored: drctl does not log in to it, and the policy has no `command` under `[drill]`, which gets its ARN as {RESOURCE}"
        );
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "no-login", message);
    }
    let all = Verdict::worst(results.iter().map(|result| &result.verdict));
    course.verdict = Verdict::worst([&course.verdict, &all]);
    course.is_interrupted = run.cancel.is_cancelled();
    course.usable = asked && !course.is_interrupted && course.verdict.outcome == Judgement::Pass;
    course.checks.extend(results);
}

async fn check(run: &RunContext, request: &DrillRequest, made: &str) -> Vec<CheckResult> {
    let mut results = Vec::new();
    for check in &request.checks {
        results.push(match &check.probe {
            Probe::Command(words) => checking::command(run, check, words, (RESOURCE, made)).await,
            Probe::Sql { .. } | Probe::Http(_) => CheckResult::undetermined(
                &check.name,
                Cause::Environment,
                NOT_ASKED,
                format!(
                    "failed to run check `{}`: drctl does not log in to what AWS Backup restores",
                    check.name
                ),
            ),
        });
    }
    results
}

/// Returns the setting that names what is made, of resources that drctl can delete again.
fn naming_key(resource: &str) -> Option<&'static str> {
    let mut parts = resource.splitn(7, ':').skip(2);
    let (service, kind) = (parts.next()?, parts.nth(2)?);
    match (service, kind) {
        ("rds", "db") => Some("DBInstanceIdentifier"),
        ("rds", "cluster") => Some("DBClusterIdentifier"),
        _ => None,
    }
}

fn identifier(run: &RunContext) -> String {
    let id: String = run.id.as_str().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("drctl-drill-{}", id.to_ascii_lowercase())
}

/// Deletes what the job made; also after an interruption: it is billed.
pub(super) async fn clean_up_in_aws_backup(
    run: &RunContext,
    attempt: &ResourceAttempt,
    keep: bool,
    course: &mut Course,
    stages: &mut Stages,
) -> Option<String> {
    if keep {
        let shown = course.environment.sandbox.clone().unwrap_or_default();
        course.cleanup.left.push(format!("{shown}, as was asked for; delete it there"));
        return Some(shown);
    }
    let begun = Instant::now();
    let whole = RunContext { cancel: CancellationToken::new(), ..run.clone() };
    let report = attempt.restorer.teardown(&whole, &attempt.created).await;
    course.cleanup.is_complete = report.is_complete();
    course.cleanup.removed.extend(report.removed);
    course.cleanup.left.extend(report.left.iter().map(|left| format!("{}: {}", left.what, left.reason)));
    stages.after("clean up", begun);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_deleted_again_is_made() {
        let of = |resource: &str| naming_key(&format!("arn:aws:{resource}"));
        assert_eq!(of("rds:us-east-1:123456789012:db:shop"), Some("DBInstanceIdentifier"));
        assert_eq!(of("rds:us-east-1:123456789012:cluster:shop"), Some("DBClusterIdentifier"));
        for other in ["s3:::shop-files", "elasticfilesystem:us-east-1:123456789012:file-system/fs-1", "rds:x"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
