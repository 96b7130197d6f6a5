//! Restores the sample into the sandbox, by the same code as `drctl restore`.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::by_runbook::{Bound, restore_by_runbook};
use super::judge::judge_room;
use super::locate::Located;
use super::request::DrillRequest;
use super::sample::SampledRestore;
use super::sandbox::{PORT, Sandbox, SandboxError, SandboxServer};
use super::stages::Stages;
use crate::checks::CheckResult;
use crate::model::{BackupId, Cause, Judgement, Manifest, RepositoryName, Verdict};
use crate::platform::free_space;
use crate::postgres::ConnectionParameters;
use crate::repository::journal::RunbookRun;
use crate::restore::logical::{BackupSelector, CatalogHints, DumpRestoreRequest, EntrySelection, Exclusion};
use crate::restore::physical::{
    BaseBackupSelector, PhysicalRestoreError, PhysicalRestoreRequest, RecoveryTarget, RestoreCommand, Start,
};
use crate::restore::{Aftermath, RestoreError, RestoreFailed, prepare};
use crate::run::RunContext;
use crate::text::error_chain;
use crate::wal::Fetcher;
use crate::wal::relay::WalRelay;

/// What the sessions of a drill call themselves.
const NAME: &str = "drctl drill";
const OF_EVERY_SERVER: [&str; 3] = ["postgres", "template0", "template1"];

/// What was restored.
#[derive(Debug)]
pub(super) struct RestoredSample {
    pub(super) backup: BackupId,
    /// `None`: the runbook did not report it.
    pub(super) repository: Option<RepositoryName>,
    /// Everything committed before it came back; `None`: unknown.
    pub(super) until: Option<DateTime<Utc>>,
    /// The time whose data it has.
    pub(super) recovery_point: DateTime<Utc>,
    /// The way to log in.
    pub(super) login: ConnectionParameters,
    /// Whether that is a superuser's.
    pub(super) is_superuser: bool,
    pub(super) server_version: Option<String>,
    pub(super) checks: Vec<CheckResult>,
    pub(super) verdict: Verdict,
    pub(super) left_out: Vec<String>,
    /// The runbook that restored it.
    pub(super) runbook: Option<RunbookRun>,
}

/// Why nothing was restored.
#[derive(Debug, Default)]
pub(super) struct NotRestored {
    pub(super) verdict: Verdict,
    /// The reason without any of the data: for the record, which is not encrypted.
    pub(super) told: Option<String>,
    /// The backup that was to be restored, where the plan chose it.
    pub(super) backup: Option<BackupId>,
    /// The runbook that did not restore it.
    pub(super) runbook: Option<RunbookRun>,
    pub(super) is_interruption: bool,
}

impl NotRestored {
    pub(super) fn of(error: &(impl RestoreError + 'static), message: String) -> Self {
        let mut verdict = Verdict::default();
        for refusal in error.refusals() {
            let cause = refusal.class.cause();
            verdict.add(judgement(cause), cause, refusal.code, refusal.message.clone());
        }
        if error.refusals().is_empty() {
            verdict.add(judgement(error.cause_class()), error.cause_class(), "restore-failed", message);
        }
        let told = Some(error.journal_reason());
        Self { verdict, told, is_interruption: error.is_interruption(), ..Self::default() }
    }

    pub(super) fn failed<E: RestoreError, A: Aftermath>(failed: &RestoreFailed<E, A>) -> Self {
        let phase = failed.phase.as_str();
        let not = Self::of(&failed.error, format!("{} ({phase})", error_chain(&failed.error)));
        let told = not.told.map(|told| format!("{told} ({phase})"));
        Self { told, ..not }
    }

    /// A sandbox that does not work tells nothing of the backup.
    pub(super) fn of_sandbox(error: &SandboxError) -> Self {
        let mut verdict = Verdict::default();
        verdict.add(Judgement::Undetermined, Cause::Environment, "sandbox-failed", error_chain(error));
        let is_interruption = matches!(error, SandboxError::Interrupted);
        Self { verdict, is_interruption, ..Self::default() }
    }
}

/// Only the backup's fault makes a drill fail.
fn judgement(cause: Cause) -> Judgement {
    match cause {
        Cause::Backup | Cause::Runbook | Cause::Objective => Judgement::Fail,
        Cause::Environment | Cause::Tool => Judgement::Undetermined,
    }
}

/// Restores what was chosen.
pub(super) async fn restore(
    run: &RunContext,
    request: &DrillRequest,
    sandbox: &Sandbox,
    located: &Located,
    sampled: &SampledRestore,
    stages: &mut Stages,
) -> Result<RestoredSample, NotRestored> {
    match sampled {
        SampledRestore::Dump(backup) => dump(run, request, sandbox, located, backup, stages).await,
        SampledRestore::Cluster { backup, target } => {
            cluster(run, request, sandbox, located, backup.as_ref(), target, stages).await
        }
    }
}

async fn dump(
    run: &RunContext,
    request: &DrillRequest,
    sandbox: &Sandbox,
    located: &Located,
    backup: &BackupId,
    stages: &mut Stages,
) -> Result<RestoredSample, NotRestored> {
    let manifest = located.inventory.find(backup).map(|record| &record.manifest);
    let major = manifest.and_then(|manifest| manifest.server.as_ref()).map_or(0, |server| server.major);
    let begun = Instant::now();
    let server = SandboxServer::start(sandbox, request.tools.as_deref(), major, &run.cancel).await;
    stages.end("provision", begun, None);
    let server = server.map_err(|error| NotRestored::of_sandbox(&error))?;
    let database = database(request, manifest);
    let mut target = server.login.with_database(&database);
    target.application_name = NAME.to_owned();
    if let Some(drill) = &request.runbook {
        let bound = Bound { target: target.to_socket_url(), backup, from: request.from.as_ref() };
        let (restored, record) = restore_by_runbook(run, request, drill, &bound, stages).await;
        let facts = restored.map_err(|failure| NotRestored {
            verdict: failure.verdict,
            is_interruption: failure.is_interruption,
            runbook: Some(record.clone()),
            ..NotRestored::default()
        })?;
        let known = facts.as_ref();
        let backup = known.and_then(|facts| facts.backup.clone()).unwrap_or_else(|| backup.clone());
        let of_manifest = located.inventory.find(&backup).map(|record| record.manifest.recovery_point);
        let point = known.map(|facts| facts.recovery_point).or(of_manifest);
        return Ok(RestoredSample {
            repository: known.and_then(|facts| facts.repository.clone()),
            until: point,
            recovery_point: point.unwrap_or_else(|| backup.begun()),
            backup,
            login: target,
            is_superuser: true,
            server_version: Some(server.version),
            checks: vec![],
            verdict: Verdict::default(),
            left_out: vec![],
            runbook: Some(record),
        });
    }
    let restorer = DumpRestoreRequest {
        source: request.source.clone(),
        backup: BackupSelector::Prefix(backup.to_string()),
        from: request.from.clone(),
        target: target.clone(),
        tools: request.tools.clone(),
        database,
        jobs: jobs(),
        selection: EntrySelection::default(),
        exclusion: Exclusion::default(),
        locale: None,
        globals: true,
        owners: true,
        tablespaces: false,
        keeps_name: false,
        incomplete: None,
        scratch: sandbox.spool(),
        drop_leftovers: false,
        active_jobs: false,
        known: CatalogHints { doubtful: located.doubtful.clone(), ..CatalogHints::default() },
    };
    let begun = Instant::now();
    let prepared = prepare(run, &restorer, &[]).await;
    stages.end("plan", begun, None);
    let prepared = prepared.map_err(|error| NotRestored::of(&error, error_chain(&error)))?;
    let mut verdict = Verdict::default();
    if !judge_room(&mut verdict, prepared.plan().database_bytes, free_space(&request.root).ok()) {
        return Err(NotRestored { verdict, ..NotRestored::default() });
    }
    match prepared.perform(run).await {
        Ok(report) => {
            let (stored, plain) = (report.details.stored_bytes, report.details.plain_bytes);
            stages.restored(&report.phases, |phase| match phase {
                "fetch" => Some(stored),
                "load" | "analyze" | "compare" => Some(plain),
                _ => None,
            });
            Ok(RestoredSample {
                backup: backup.clone(),
                repository: Some(report.details.repository.clone()),
                until: Some(report.recovery_point),
                recovery_point: report.recovery_point,
                login: target,
                is_superuser: true,
                server_version: Some(server.version),
                checks: report.checks,
                verdict: report.verdict,
                left_out: report.left_out,
                runbook: None,
            })
        }
        Err(failed) => {
            stages.restored(&failed.phases, |_| None);
            Err(NotRestored::failed(&failed))
        }
    }
}

async fn cluster(
    run: &RunContext,
    request: &DrillRequest,
    sandbox: &Sandbox,
    located: &Located,
    backup: Option<&BackupId>,
    target: &RecoveryTarget,
    stages: &mut Stages,
) -> Result<RestoredSample, NotRestored> {
    let fetcher = Fetcher {
        system: run.system.clone(),
        source: request.source.clone(),
        repositories: run.repositories.clone(),
        identities: run.identities.clone(),
        until: None,
        mapped_tablespaces: None,
        prefetch: request.prefetch,
        parallel: request.parallel,
        cancel: run.cancel.clone(),
    };
    let ids = sandbox.owner.as_ref().map(|owner| (owner.user, owner.group));
    let relay = WalRelay::start(fetcher, &sandbox.relay(), &sandbox.spool(), ids)
        .map_err(|source| NotRestored::of_sandbox(&SandboxError::Make { path: sandbox.relay(), source }))?;
    let restorer = PhysicalRestoreRequest {
        source: request.source.clone(),
        target: target.clone(),
        exclusive: false,
        timeline: None,
        backup: backup.map_or(BaseBackupSelector::Fitting, |id| BaseBackupSelector::Prefix(id.to_string())),
        doubtful: located.doubtful.clone(),
        from: request.from.clone(),
        to: sandbox.data(),
        tablespaces: vec![],
        wal_directory: None,
        repositories: vec![],
        start: Some(Start { port: Some(PORT), confined: Some(sandbox.confined()) }),
        owner: sandbox.owner.clone(),
        delta: false,
        preload: None,
        drop_leftovers: false,
        command: RestoreCommand {
            drctl: request.drctl.clone(),
            relay: Some(sandbox.relay()),
            ..RestoreCommand::default()
        },
        tools: request.tools.clone(),
        login: None,
    };
    let begun = Instant::now();
    let prepared = prepare(run, &restorer, &[]).await;
    stages.end("plan", begun, None);
    let prepared = prepared.map_err(|error| NotRestored::of(&error, error_chain(&error)))?;
    let plan = prepared.plan();
    let (chosen, complete, newest) = (plan.backup.clone(), plan.complete_until, plan.newest_commit);
    let point = plan.recovery_point;
    match prepared.perform(run).await {
        Ok(report) => {
            let (stored, replayed) = (report.details.stored_bytes, relay.served());
            stages.restored(&report.phases, |phase| match phase {
                "fetch" | "combine" => Some(stored),
                "recover" => Some(replayed),
                _ => None,
            });
            let last = report.details.started.as_ref().and_then(|started| started.last_commit);
            let until = match target {
                RecoveryTarget::Latest => complete.max(newest).max(last).max(Some(point)),
                _ => Some(report.recovery_point),
            };
            let database = request.database.clone().unwrap_or_else(|| "postgres".to_owned());
            let role = request.role.clone().or_else(|| request.login_role.clone());
            let role = role.unwrap_or_else(|| "postgres".to_owned());
            let directory = sandbox.socket_directory();
            let mut login = ConnectionParameters::by_socket(&directory, PORT, &role, &database)
                .map_err(|error| NotRestored::of_sandbox(&SandboxError::Reach(error)))?;
            login.application_name = NAME.to_owned();
            Ok(RestoredSample {
                backup: chosen,
                repository: Some(report.details.repository.clone()),
                until,
                recovery_point: report.recovery_point,
                login,
                is_superuser: false,
                server_version: None,
                checks: report.checks,
                verdict: report.verdict,
                left_out: report.left_out,
                runbook: None,
            })
        }
        Err(failed) => {
            stages.restored(&failed.phases, |_| None);
            let mut not = NotRestored::failed(&failed);
            // The server says only that it got no file.
            if let (PhysicalRestoreError::Start { .. }, Some(failure)) = (&failed.error, relay.failure()) {
                let cause = if failure.is_of_wal { Cause::Backup } else { Cause::Environment };
                not.verdict = Verdict::default();
                not.verdict.add(judgement(cause), cause, "wal-not-read", failure.reason);
            }
            Err(NotRestored { backup: Some(chosen), ..not })
        }
    }
}

/// Returns the name that the database of a dump had; another one where a new server has a database of that name.
fn database(request: &DrillRequest, manifest: Option<&Manifest>) -> String {
    let address = manifest.and_then(|manifest| manifest.server.as_ref()?.address.as_deref());
    let own = address.and_then(database_in).map(str::to_owned);
    let own = own.or_else(|| request.database.clone());
    own.filter(|name| !OF_EVERY_SERVER.contains(&&**name)).unwrap_or_else(|| "restored".to_owned())
}

/// Returns the database of `host:port/database`; the host may be a directory.
fn database_in(address: &str) -> Option<&str> {
    address.match_indices(':').find_map(|(at, _)| {
        let (port, database) = address[at + 1..].split_once('/')?;
        (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(database)
    })
}

fn jobs() -> u32 {
    std::thread::available_parallelism().map_or(2, |n| u32::try_from(n.get()).unwrap_or(4)).clamp(1, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_what_follows_the_port() {
        for (address, database) in [
            ("db.internal:5432/shop", "shop"),
            ("/run/postgresql:5432/a/b", "a/b"),
            ("[::1]:5432/100%", "100%"),
        ] {
            assert_eq!(database_in(address), Some(database));
        }
        assert_eq!(database_in("db.internal:5432"), None);
    }

    #[test]
    fn a_sandbox_that_does_not_work_tells_nothing_of_the_backup() {
        let path = || std::path::PathBuf::from("/var/tmp/drills");
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        for error in [
            SandboxError::Make { path: path(), source: full },
            SandboxError::Foreign { path: path() },
            SandboxError::TooLong { path: path() },
            SandboxError::NoUser,
            // Of the major version of the backup, or a newer one.
            SandboxError::NoServer { major: 99 },
        ] {
            let not = NotRestored::of_sandbox(&error);
            let reason = &not.verdict.reasons[0];
            assert_eq!(not.verdict.outcome, Judgement::Undetermined, "{error}");
            assert_eq!((reason.cause, reason.code), (Cause::Environment, "sandbox-failed"), "{error}");
            assert!(!not.is_interruption, "{error}");
        }
        assert!(NotRestored::of_sandbox(&SandboxError::Interrupted).is_interruption);
    }
}
