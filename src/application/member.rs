//! One member, restored by its own method.

use std::path::PathBuf;

use serde::Serialize;

use super::destination::MemberDestination;
use super::error::{MemberError, MemberRefused};
use super::plan::MemberPlan;
use super::report::{MemberOutcome, MemberReport};
use super::request::ApplicationRequest;
use super::select::{MemberBackup, SelectedMember};
use super::state::RestoredAt;
use crate::model::{BackupKind, RepositoryName};
use crate::policy::{Check, Source};
use crate::repository::Unavailable;
use crate::restore::content::{ContentRestoreRequest, ContentSelector, ContentTarget};
use crate::restore::logical::{BackupSelector, DumpRestoreRequest, EntrySelection, Exclusion};
use crate::restore::physical::{
    BaseBackupSelector, PhysicalRestoreRequest, RecoveryTarget, RestoreCommand, Start,
};
use crate::restore::{
    Aftermath as _, PreparedRestore, RestoreError as _, RestoreFailed, RestorePlan as _, RestoreReport,
    Restorer, prepare,
};
use crate::run::RunContext;
use crate::text::error_chain;

/// A restore of one member.
#[derive(Debug)]
pub(super) enum MemberRequest {
    Dump(Box<DumpRestoreRequest>),
    Cluster(Box<PhysicalRestoreRequest>),
    Content(Box<ContentRestoreRequest>),
}

/// The plan of a member that was not refused.
#[derive(Debug)]
pub(super) enum PreparedMember<'c> {
    Dump(Box<PreparedRestore<'c, DumpRestoreRequest>>),
    Cluster(Box<PreparedRestore<'c, PhysicalRestoreRequest>>),
    Content(Box<PreparedRestore<'c, ContentRestoreRequest>>),
}

impl MemberRequest {
    /// `resumes`: an earlier attempt may have left something incomplete. `starts`: what is restored is queried afterwards.
    pub(super) fn new(
        request: &ApplicationRequest,
        source: &Source,
        selected: &SelectedMember,
        to: MemberDestination,
        (resumes, starts): (bool, bool),
    ) -> Result<Self, MemberError> {
        let (name, from) = (source.name.clone(), request.from.clone());
        match (to, &selected.backup) {
            (MemberDestination::Database(target), MemberBackup::Whole(backup)) => {
                Ok(Self::Dump(Box::new(DumpRestoreRequest {
                    source: name,
                    backup: BackupSelector::Prefix(backup.to_string()),
                    from,
                    database: target.database.clone(),
                    target: *target,
                    tools: source.login().and_then(|login| login.tools.clone()),
                    jobs: default_jobs(),
                    selection: EntrySelection::default(),
                    exclusion: Exclusion::default(),
                    locale: None,
                    globals: true,
                    owners: true,
                    // A new server has not the directories of the old one.
                    tablespaces: false,
                    keeps_name: false,
                    incomplete: None,
                    active_jobs: false,
                    scratch: request.scratch.clone(),
                    drop_leftovers: resumes,
                    known: request.known.clone(),
                })))
            }
            (MemberDestination::Directory(to), MemberBackup::Cluster { backup, until }) => {
                let login = source.login();
                Ok(Self::Cluster(Box::new(PhysicalRestoreRequest {
                    source: name,
                    target: until.map_or(RecoveryTarget::Latest, RecoveryTarget::Time),
                    exclusive: false,
                    timeline: None,
                    backup: match backup {
                        Some(backup) => BaseBackupSelector::Prefix(backup.to_string()),
                        None => BaseBackupSelector::Fitting,
                    },
                    doubtful: request.known.doubtful.clone(),
                    from,
                    to,
                    tablespaces: vec![],
                    wal_directory: None,
                    repositories: request.wal.repositories.clone(),
                    start: starts.then(Start::default),
                    owner: None,
                    delta: false,
                    preload: None,
                    drop_leftovers: resumes,
                    command: RestoreCommand::clone(&request.wal.command),
                    tools: login.and_then(|login| login.tools.clone()),
                    login: login.cloned().map(Box::new),
                })))
            }
            (MemberDestination::Content(to), MemberBackup::Whole(backup)) => {
                // Only a directory of files can be completed: everything else gets its name when it is complete.
                let is_begun = resumes
                    && backup.kind() == BackupKind::Files
                    && PathBuf::from(&to).symlink_metadata().is_ok();
                Ok(Self::Content(Box::new(ContentRestoreRequest {
                    source: name.clone(),
                    kind: backup.kind(),
                    config: Some(source.config.clone()),
                    backup: ContentSelector::Prefix(backup.to_string()),
                    from,
                    target: ContentTarget {
                        to,
                        paths: vec![],
                        delta: is_begun,
                        owners: true,
                        password: request.to.passwords.get(&name).cloned(),
                    },
                    doubtful: request.known.doubtful.clone(),
                })))
            }
            (to, backup) => Err(MemberError::Refused(crate::restore::Refusal::usage(
                "other-destination",
                format!("`{name}` is not restored like this: {backup:?} to {to:?}"),
            ))),
        }
    }

    /// Surveys and plans. Changes nothing.
    pub(super) async fn prepare<'c>(
        &self,
        run: &RunContext,
        checks: &'c [Check],
    ) -> Result<PreparedMember<'c>, MemberRefused> {
        let (source, prepared) = match self {
            Self::Dump(request) => (
                &request.source,
                prepare(run, &**request, checks)
                    .await
                    .map(Box::new)
                    .map(PreparedMember::Dump)
                    .map_err(MemberError::Dump),
            ),
            Self::Cluster(request) => (
                &request.source,
                prepare(run, &**request, checks)
                    .await
                    .map(Box::new)
                    .map(PreparedMember::Cluster)
                    .map_err(MemberError::Cluster),
            ),
            Self::Content(request) => (
                &request.source,
                prepare(run, &**request, checks)
                    .await
                    .map(Box::new)
                    .map(PreparedMember::Content)
                    .map_err(MemberError::Content),
            ),
        };
        prepared.map_err(|error| MemberRefused { source: source.clone(), error })
    }
}

fn default_jobs() -> u32 {
    std::thread::available_parallelism().map_or(2, |n| u32::try_from(n.get()).unwrap_or(4)).clamp(1, 4)
}

impl PreparedMember<'_> {
    pub(super) fn plan(&self) -> MemberPlan {
        match self {
            Self::Dump(prepared) => {
                let plan = prepared.plan();
                MemberPlan {
                    bytes: plan.plain_bytes,
                    stored_bytes: plan.stored_bytes,
                    estimated_seconds: plan.estimated_seconds,
                    from: plan.repositories.clone(),
                    recovery_point: plan.recovery_point,
                    ..planned(prepared)
                }
            }
            Self::Cluster(prepared) => {
                let plan = prepared.plan();
                MemberPlan {
                    bytes: plan.plain_bytes,
                    stored_bytes: plan.stored_bytes,
                    from: plan.repositories.clone(),
                    recovery_point: match plan.target {
                        RecoveryTarget::Time(time) => time,
                        _ => plan.newest_commit.unwrap_or(plan.recovery_point),
                    },
                    ..planned(prepared)
                }
            }
            Self::Content(prepared) => {
                let plan = prepared.plan();
                MemberPlan {
                    bytes: plan.bytes,
                    stored_bytes: plan.stored_bytes,
                    from: plan.repositories().to_vec(),
                    recovery_point: plan.recovery_point,
                    notes: plan.notes.clone(),
                    ..planned(prepared)
                }
            }
        }
    }

    /// Restores it, with a record of its own in the journal. Returns where it can be queried, too, and the repositories that
    /// did not store the record.
    pub(super) async fn run(&self, run: &RunContext) -> (MemberReport, Option<RestoredAt>, Vec<Unavailable>) {
        match self {
            Self::Dump(prepared) => {
                let (outcome, unrecorded) = prepared.run(run).await;
                let at = outcome.as_ref().ok().map(|report| RestoredAt {
                    database: Some(report.details.database.clone()),
                    ..RestoredAt::default()
                });
                (reported(prepared, run, outcome), at, unrecorded)
            }
            Self::Cluster(prepared) => {
                let (outcome, unrecorded) = prepared.run(run).await;
                let at = outcome.as_ref().ok().map(|report| {
                    let started = report.details.started.as_ref();
                    RestoredAt {
                        socket: started.and_then(|started| started.socket_directory.clone()),
                        port: started.map(|started| started.port),
                        ..RestoredAt::default()
                    }
                });
                (reported(prepared, run, outcome), at, unrecorded)
            }
            Self::Content(prepared) => {
                let (outcome, unrecorded) = prepared.run(run).await;
                let at = outcome.as_ref().ok().map(|_| RestoredAt::default());
                (reported(prepared, run, outcome), at, unrecorded)
            }
        }
    }
}

fn planned<R: Restorer>(prepared: &PreparedRestore<'_, R>) -> MemberPlan {
    let summary = prepared.plan().summary();
    MemberPlan {
        source: summary.source,
        method: R::METHOD,
        backup: summary.backup,
        to: summary.to,
        recovery_point: chrono::DateTime::UNIX_EPOCH,
        bytes: 0,
        stored_bytes: 0,
        estimated_seconds: None,
        from: Vec::<RepositoryName>::new(),
        steps: prepared.steps(),
        notes: vec![],
        is_restored: false,
    }
}

type Outcome<R> = Result<
    RestoreReport<<R as Restorer>::Details>,
    RestoreFailed<<R as Restorer>::Error, <R as Restorer>::Aftermath>,
>;

fn reported<R: Restorer>(
    prepared: &PreparedRestore<'_, R>,
    run: &RunContext,
    outcome: Outcome<R>,
) -> MemberReport
where
    R::Details: Serialize,
{
    let summary = prepared.plan().summary();
    let seconds = (run.clock.now() - run.begun).as_seconds_f64().max(0.0);
    let (recovery_point, to, outcome) = match outcome {
        Ok(report) => (
            Some(report.recovery_point),
            report.to,
            MemberOutcome::Restored {
                checks: report.checks,
                left_out: report.left_out,
                notes: report.notes,
                phases: report.phases,
            },
        ),
        Err(failed) if failed.error.is_interruption() && !failed.aftermath.is_usable() => {
            (None, summary.to, MemberOutcome::Interrupted)
        }
        Err(failed) => {
            let (cause, recorded) = (failed.error.cause_class(), failed.error.journal_reason());
            (None, summary.to, MemberOutcome::Failed { cause, reason: error_chain(&failed), recorded })
        }
    };
    let mut report = MemberReport {
        source: summary.source,
        run: run.id.clone(),
        backup: summary.backup,
        to,
        recovery_point,
        verdict: Default::default(),
        seconds,
        outcome,
    };
    report.judge();
    report
}
