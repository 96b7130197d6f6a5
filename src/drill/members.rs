//! What belongs to the database: the other members of its recovery point, restored beside it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::course::Course;
use super::locate::Located;
use super::request::{ApplicationDrill, DrillRequest};
use super::restore_sample::{NotRestored, RestoredSample};
use super::sample::SampleRequest;
use super::sandbox::Sandbox;
use super::stages::Stages;
use crate::application::{MemberBackup, MemberSource, PointSelector, Prefers, Selection, select};
use crate::checks::check_reference;
use crate::model::{BackupId, BackupKind, Cause, Judgement, SourceName, Verdict};
use crate::policy::Source;
use crate::repository::{Inventory, Listing};
use crate::restore::content::{ContentRestoreRequest, ContentSelector, ContentTarget};
use crate::restore::prepare;
use crate::run::RunContext;
use crate::text::{error_chain, format_time};

/// Where members are restored to, in the sandbox.
const MEMBERS: &str = "members";

/// Chooses the recovery point, and has the drill restore its backup of the database.
///
/// # Errors
/// Why there is nothing to restore.
pub(super) async fn choose_point(
    run: &RunContext,
    request: &DrillRequest,
    drill: &ApplicationDrill,
    located: &Located,
) -> Result<(SampleRequest, Selection), String> {
    let listing = Listing::of_system(&run.repositories, &run.system).await;
    let mut inventory = Inventory::load(&listing, &run.system, &BackupKind::ALL).await;
    for record in &mut inventory.backups {
        let id = record.manifest.id.clone();
        record.holders.retain(|name| !located.doubtful.contains(&(id.clone(), name.clone())));
    }
    let members: Vec<_> = drill.members.iter().map(member).collect();
    let selector = match &request.sample.backup {
        // `--backup` of a drill of the application names the point.
        Some(prefix) => PointSelector::Prefix(prefix.clone()),
        None => PointSelector::Latest,
    };
    let selection = select(&inventory, &members, &selector, None, run.clock.now());
    let selection = selection.map_err(|refusals| {
        refusals.iter().map(|refusal| refusal.message.clone()).collect::<Vec<_>>().join("; ")
    })?;
    let own = selection.members.iter().find(|member| member.source == request.source);
    let backup = own.and_then(|own| backup_of(&own.backup));
    let backup = backup.ok_or_else(|| format!("the recovery point has no backup of `{}`", request.source))?;
    Ok((SampleRequest { backup: Some(backup.to_string()), ..request.sample.clone() }, selection))
}

fn member(source: &Source) -> MemberSource {
    MemberSource { name: source.name.clone(), has_wal: false, prefers: Prefers::Either }
}

fn backup_of(backup: &MemberBackup) -> Option<&BackupId> {
    match backup {
        MemberBackup::Whole(backup) => Some(backup),
        MemberBackup::Cluster { backup, .. } => backup.as_ref(),
    }
}

/// Restores the members beside the database, and compares them with it. Returns the time of the oldest of their data.
pub(super) async fn restore_members(
    run: &RunContext,
    request: &DrillRequest,
    (sandbox, located): (&Sandbox, &Located),
    (drill, selection): (&ApplicationDrill, &Selection),
    restored: &RestoredSample,
    course: &mut Course,
    stages: &mut Stages,
) -> Option<DateTime<Utc>> {
    let begun = Instant::now();
    course.findings.push(format!(
        "recovery point {}: {}",
        selection.point.as_ref().map(ToString::to_string).unwrap_or_default(),
        selection.label
    ));
    let directory = sandbox.directory.join(MEMBERS);
    if let Err(error) = DirBuilder::new().mode(0o700).create(&directory) {
        let message = format!("failed to make `{}`: {error}", directory.display());
        course.verdict.add(Judgement::Undetermined, Cause::Environment, "sandbox-failed", message);
        return None;
    }
    let mut oldest: Option<DateTime<Utc>> = None;
    for selected in selection.members.iter().filter(|member| member.source != request.source) {
        let Some(source) = drill.members.iter().find(|source| source.name == selected.source) else {
            continue;
        };
        let (Some(backup), None) = (backup_of(&selected.backup), source.login()) else {
            let message = format!("a drill restores one database, and `{}` is another", source.name);
            course.verdict.add(Judgement::Undetermined, Cause::Environment, "member-not-drilled", message);
            continue;
        };
        let to = directory.join(source.name.as_str());
        match restore_member(run, request, (source, backup), &to, located).await {
            Ok((verdict, point)) => {
                oldest = Some(oldest.map_or(point, |oldest| oldest.min(point)));
                course.verdict = Verdict::worst([&course.verdict, &verdict]);
                course.findings.push(format!("{backup} came back, as of {}", format_time(point)));
            }
            Err(not) => {
                course.is_interrupted |= not.is_interruption;
                course.told = course.told.take().or(not.told);
                course.verdict = Verdict::worst([&course.verdict, &not.verdict]);
            }
        }
    }
    stages.end("members", begun, None);
    if course.is_interrupted {
        return oldest;
    }
    let begun = Instant::now();
    for reference in drill.references.iter().filter(|reference| reference.source == request.source) {
        let files: PathBuf = directory.join(reference.files.as_str());
        let checked = check_reference(reference, Ok(vec![restored.login.clone()]), &files).await;
        // The record is not encrypted, and the note names files.
        checked.note.iter().for_each(|note| run.events.notice(note));
        course.verdict = Verdict::worst([&course.verdict, &checked.result.verdict]);
        course.checks.push(checked.result);
    }
    stages.end("references", begun, None);
    oldest
}

async fn restore_member(
    run: &RunContext,
    request: &DrillRequest,
    (source, backup): (&Source, &BackupId),
    to: &std::path::Path,
    located: &Located,
) -> Result<(Verdict, DateTime<Utc>), NotRestored> {
    let restorer = ContentRestoreRequest {
        source: SourceName::clone(&source.name),
        kind: backup.kind(),
        config: Some(source.config.clone()),
        backup: ContentSelector::Prefix(backup.to_string()),
        from: request.from.clone(),
        target: ContentTarget {
            to: to.display().to_string(),
            paths: vec![],
            delta: false,
            owners: false,
            password: None,
        },
        doubtful: located.doubtful.clone(),
    };
    let prepared = prepare(run, &restorer, &[]).await;
    let prepared = prepared.map_err(|error| NotRestored::of(&error, error_chain(&error)))?;
    let report = prepared.perform(run).await.map_err(|failed| NotRestored::failed(&failed))?;
    let mut verdict = report.verdict;
    if !report.left_out.is_empty() {
        let message = format!("{} of what `{}` had did not come back", report.left_out.len(), source.name);
        verdict.add(Judgement::Fail, Cause::Backup, "left-out", message);
    }
    Ok((verdict, report.recovery_point))
}
