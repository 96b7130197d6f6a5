use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use thiserror::Error;

use super::{BackupPlan, BackupReport, MissingRepository, PlannedSource, SourceOutcome, SourceReport};
use crate::catalog::{BackupEntry, Catalog, CopyEntry, Filter};
use crate::event::{Event, Events};
use crate::model::{
    BackupId, BackupKind, Manifest, Protection, RecipientPrint, RepositoryName, RunId, ToolFacts, parent,
};
use crate::pipeline::{Recipe, RecipeError};
use crate::platform::{CancellationToken, Clock, host_name, seed};
use crate::policy::{Encryption, Policy};
use crate::repository::lease::{self, Acquired, Lease};
use crate::repository::{
    BackupWriter, FormatVersion, MarkerError, Repositories, Unavailable, WriteError, journal, layout,
    write_options,
};
use crate::source::postgres_base::Extent;
use crate::source::{self, Naming, SourceError};
use crate::store::probe::capability::sweep_old;
use crate::text::{error_chain, format_duration};
use crate::wal::cluster::ClusterError;

/// How far this host's clock may be from a store's. S3 itself refuses at 15 minutes; backup ids, object
/// locks and retention go wrong before.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// For the time of a store, at most.
const CLOCK_WITHIN: Duration = Duration::from_secs(15);
/// For each of the small calls around a backup that have no deadline of their own.
pub(super) const SMALL_CALL: Duration = Duration::from_secs(120);

/// A wait that is longer is told of.
const QUIET_WAIT: Duration = Duration::from_secs(3);

/// Why a run did not even begin.
#[derive(Debug, Error)]
pub enum BackupError {
    #[error("failed to open the repositories")]
    Repositories(#[source] MarkerError),
    #[error(
        "this host's clock is {} {} that of repository `{repository}`",
        format_duration(Duration::from_secs(.skew.num_seconds().unsigned_abs())),
        if *.skew > TimeDelta::zero() { "ahead of" } else { "behind" }
    )]
    Clock { repository: RepositoryName, skew: TimeDelta },
    #[error("failed to prepare compression and encryption")]
    Recipe(#[source] RecipeError),
}

/// Everything [`execute`] works with.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) policy: &'a Policy,
    pub(super) repositories: Repositories,
    recipe: Recipe,
    run: RunId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: &'a Events,
    pub(super) cancel: &'a CancellationToken,
    pub(super) catalog: Option<&'a Catalog>,
    pub(super) extent: Extent,
}

/// Takes the planned backups one after the other, writes the journal and the catalog, and reports.
///
/// `repositories`: all of the policy's, as opened. A catalog that cannot be written is a warning: it can be
/// made anew from the repositories.
pub async fn execute(
    plan: BackupPlan,
    policy: &Policy,
    repositories: Repositories,
    catalog: Option<&Catalog>,
    clock: Arc<dyn Clock>,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<BackupReport, BackupError> {
    let begun = clock.now();
    events.emit(&Event::RunBegan { run: plan.run.clone(), verb: "backup" });
    let recipe = Recipe::new(policy.compression, &policy.encryption).map_err(BackupError::Recipe)?;
    check_clocks(&repositories, policy.transfer.stall, &*clock).await?;
    let repositories =
        repositories.for_writing(&policy.system, None, begun).await.map_err(BackupError::Repositories)?;
    for lost in repositories.lost() {
        events.emit(&Event::RepositoryLost { repository: lost.name.clone(), reason: lost.reason() });
    }
    let catalog = catalog.map(|catalog| catalog.clone().of_repository(repositories.id()));
    let catalog = catalog.as_ref();
    tell_what_changed(&repositories, catalog, events, begun).await;
    join_all(repositories.iter().map(|repository| sweep_old(&*repository.store))).await;
    let run = {
        let (run, extent) = (plan.run, plan.extent);
        Run { policy, repositories, recipe, run, clock, events, cancel, catalog, extent }
    };

    let mut sources = Vec::new();
    let mut manifests = Vec::new();
    for planned in plan.sources {
        let (name, kind) = (&planned.source.name, planned.kind);
        for taken in run.take(&planned).await {
            let outcome = match taken {
                Ok((outcome, manifest)) => {
                    manifests.extend(manifest);
                    outcome
                }
                Err(_) if cancel.is_cancelled() => SourceOutcome::Interrupted,
                Err(error) => {
                    let reason = error_chain(&error);
                    events.emit(&Event::SourceFailed { source: name.clone(), reason: reason.clone() });
                    SourceOutcome::Failed { reason }
                }
            };
            sources.push(SourceReport { source: name.clone(), kind, outcome });
        }
    }
    let outcome = BackupReport::judge(&sources);
    let lost = run.repositories.lost().to_vec();
    let report = BackupReport { run: run.run.clone(), begun, ended: run.clock.now(), outcome, sources, lost };
    run.record(&report, catalog, &manifests).await;
    Ok(report)
}

/// Says which repositories were created, and which do not hold any more what they held; and has the catalog remember
/// those that are there.
async fn tell_what_changed(
    repositories: &Repositories,
    catalog: Option<&Catalog>,
    events: &Events,
    now: DateTime<Utc>,
) {
    let others = &repositories.remembered().others;
    for repository in repositories.created() {
        let also = if repositories.remembered().id.is_none() && !others.is_empty() {
            format!("; this host also knows another repository of the system, in {}", others.join(", "))
        } else {
            String::new()
        };
        events.notice(format!(
            "created repository {} in {}{also}",
            repository.name,
            repository.store.location()
        ));
    }
    let Some(catalog) = catalog else { return };
    if let Err(error) = catalog.record_marked(repositories, now).await {
        events.warning(format!("the catalog does not know the repositories yet: {}", error_chain(&error)));
        return;
    }
    let Ok(entries) = catalog.backups(&Filter::default()).await else { return };
    for repository in repositories.marked() {
        let held = |entry: &&BackupEntry| entry.copy(&repository.name).is_some_and(CopyEntry::is_held);
        let Some(newest) = entries.iter().find(held).map(BackupEntry::id) else { continue };
        let key = layout::manifest(catalog.system_name(), newest);
        let found = tokio::time::timeout(SMALL_CALL, repository.store.head(&key)).await;
        if matches!(found, Ok(Ok(None))) {
            events.warning(format!(
                "repository {} does not hold {newest} any more: was an older state of it restored, or was it emptied? `drctl list` shows what is missing, `drctl copies sync` completes it",
                repository.name
            ));
        }
    }
}

/// A manifest and where it stands.
type LeaseContext = (Manifest, Vec<RepositoryName>);

#[derive(Debug, Error)]
enum TakeError {
    #[error("failed to take the lease of the source")]
    Lease(#[source] crate::store::StoreError),
    #[error("another run took over the lease of the source, so this one stopped")]
    LeaseLost,
    #[error(transparent)]
    Source(SourceError),
    #[error("nothing was planned for the source")]
    NothingPlanned,
    #[error(
        "refused, since no repository takes the log it needs (a cluster that took another's place, made anew or upgraded, gets a source of its own in the policy)"
    )]
    OtherCluster(#[source] ClusterError),
    #[error(
        "{backup}, which an earlier run began, is in AWS and cannot be committed: repository {repository} does not let go of what that run left of it ({reason})"
    )]
    Leftovers { backup: BackupId, repository: RepositoryName, reason: String },
    #[error("failed to commit the backup")]
    Commit(#[source] WriteError),
}

/// What became of a backup, and its manifest where that stands.
type CapturedBackup = Result<(SourceOutcome, Option<LeaseContext>), TakeError>;

impl Run<'_> {
    /// Takes the backup that is planned, after those that an earlier run left unfinished in AWS.
    async fn take(&self, planned: &PlannedSource) -> Vec<CapturedBackup> {
        let lost = self.cancel.child_token();
        let (kind, lease) = match self.begin(planned, &lost).await {
            Ok((kind, Acquired::Held(lease))) => (kind, lease),
            Ok((_, Acquired::Busy(holder))) => {
                let (host, run, since) = (holder.host, holder.run, holder.since);
                return vec![Ok((SourceOutcome::Busy { host, run, since }, None))];
            }
            Err(error) => return vec![Err(error)],
        };
        let mut taken = Vec::new();
        match self.due(&planned.source, kind).await {
            Ok(unfinished) => {
                for backup in unfinished.backups {
                    taken.push(self.take_held(planned, backup, true, &lost).await);
                }
                let is_enough = unfinished.is_enough && matches!(taken.last(), Some(Ok(_)));
                if is_enough {
                    self.events.notice(format!(
                        "what was begun of `{}` before is finished; nothing newer was taken: run it again for that",
                        planned.source.name
                    ));
                }
                // Only now: ids sort as backups began, and whoever waited for the lease begins after its
                // holder.
                // An interrupted run has to say so: where nothing was taken yet, this one does.
                if !is_enough && (taken.is_empty() || !lost.is_cancelled()) {
                    let backup = BackupId::new(self.clock.now(), &planned.source.name, kind, seed());
                    taken.push(self.take_held(planned, backup, false, &lost).await);
                }
            }
            Err(error) => taken.push(Err(TakeError::Source(error))),
        }
        let was_lost = lost.is_cancelled() && !self.cancel.is_cancelled();
        Lease::release(lease).await;
        for taken in &mut taken {
            match taken {
                Err(_) if was_lost => *taken = Err(TakeError::LeaseLost),
                // Nobody else has to wait for it.
                Ok((SourceOutcome::Stored { not_restorable, .. }, Some((manifest, repositories)))) => {
                    *not_restorable = self.await_log(manifest, repositories).await;
                }
                _ => {}
            }
        }
        taken
    }

    async fn begin(
        &self,
        planned: &PlannedSource,
        lost: &CancellationToken,
    ) -> Result<(BackupKind, Acquired), TakeError> {
        source::kinds(&planned.source).map_err(TakeError::Source)?;
        let kind = planned.kind.ok_or(TakeError::NothingPlanned)?;
        Ok((kind, self.lease(planned, lost).await.map_err(TakeError::Lease)?))
    }

    async fn lease(
        &self,
        planned: &PlannedSource,
        lost: &CancellationToken,
    ) -> Result<Acquired, crate::store::StoreError> {
        let key = layout::lease(&self.policy.system, planned.source.name.as_str());
        let mut failed = None;
        // The first that can be reached, primary first, is where every host looks.
        for repository in self.repositories.iter() {
            let (store, clock) = (Arc::clone(&repository.store), Arc::clone(&self.clock));
            let taken = lease::acquire(
                store,
                key.clone(),
                &self.run,
                "backup",
                lease::TIME_TO_LIVE,
                clock,
                lost.clone(),
            );
            match self.tell_of_a_wait(planned, taken).await {
                Ok(acquired) => return Ok(acquired),
                Err(error) => {
                    self.events.warning(format!(
                        "the lease of `{}` cannot be taken in repository {}: {}",
                        planned.source.name,
                        repository.name,
                        error_chain(&error)
                    ));
                    failed = Some(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| crate::store::StoreError {
            operation: "write",
            key,
            location: "any repository".to_owned(),
            kind: crate::store::StoreErrorKind::Unreachable,
            detail: None,
        }))
    }

    /// Taking a lease is quick unless its holder may be dead.
    async fn tell_of_a_wait<T>(&self, planned: &PlannedSource, taken: impl Future<Output = T>) -> T {
        tokio::pin!(taken);
        tokio::select! {
            outcome = &mut taken => return outcome,
            () = tokio::time::sleep(QUIET_WAIT) => self.events.notice(format!(
                "another run works on `{}`, or died while it did: waiting for up to {} to see which",
                planned.source.name,
                format_duration(lease::TIME_TO_LIVE),
            )),
        }
        taken.await
    }

    async fn take_held(
        &self,
        planned: &PlannedSource,
        backup: BackupId,
        is_begun: bool,
        cancel: &CancellationToken,
    ) -> CapturedBackup {
        let began = Instant::now();
        let begun = self.clock.now();
        self.events.emit(&Event::SourceBegan { source: planned.source.name.clone(), backup: backup.clone() });
        let source = &planned.source;
        let prepared = source::prepare(source, backup.kind()).await.map_err(TakeError::Source)?;
        if let Some(cluster) = prepared.cluster() {
            self.refuse_without_log(&source.name, cluster).await.map_err(TakeError::OtherCluster)?;
        }
        self.sweep(planned).await;
        let mut writer = BackupWriter::new(
            self.repositories.clone(),
            self.policy.system.clone(),
            backup.clone(),
            self.recipe.clone(),
            self.policy.transfer,
            write_options(&self.policy.repositories, begun),
            self.events.clone(),
            cancel.clone(),
        );
        if is_begun && let Some(kept) = writer.clear().await.first() {
            return Err(TakeError::Leftovers {
                backup,
                repository: kept.name.clone(),
                reason: kept.reason(),
            });
        }
        let ancestry = self.ancestry(&planned.source, &backup).await;
        let naming =
            Naming { system: &self.policy.system, source: &source.name, backup: &backup, run: &self.run };
        let captured = source::capture(prepared, naming, &ancestry, &mut writer, self.events, cancel).await;
        let captured = match captured {
            Ok(captured) => captured,
            Err(error) => {
                for kept in writer.discard().await {
                    self.events.notice(format!(
                        "repository {} keeps objects of {backup} that no manifest names: {}",
                        kept.name,
                        kept.reason()
                    ));
                }
                return Err(TakeError::Source(error));
            }
        };
        let manifest = Manifest {
            format: FormatVersion::CURRENT.to_string(),
            repository_id: self.repositories.id().unwrap_or_default().to_owned(),
            system: self.policy.system.clone(),
            source: planned.source.name.clone(),
            id: backup.clone(),
            kind: backup.kind(),
            run: self.run.clone(),
            recovery_point: captured.recovery_point,
            begun,
            ended: self.clock.now(),
            host: host_name(),
            tool: ToolFacts { drctl: env!("CARGO_PKG_VERSION").to_owned(), producer: captured.producer },
            server: captured.server,
            physical: captured.physical,
            managed: captured.managed,
            protection: protection(&self.policy.encryption),
            artifacts: captured.artifacts,
            by_hand: captured.by_hand,
        };
        let held = writer.commit(&manifest).await.map_err(TakeError::Commit)?;
        self.keep_list(&manifest, &ancestry);
        let repositories: Vec<_> = held.iter().map(|repository| repository.name.clone()).collect();
        self.events.emit(&Event::BackupStored { backup: backup.clone(), repositories: repositories.clone() });
        let outcome = SourceOutcome::Stored {
            parent: parent(&manifest).cloned().map(Box::new),
            backup,
            recovery_point: manifest.recovery_point,
            read_from: manifest.server.as_ref().and_then(|server| server.address.clone()),
            plain_bytes: manifest.plain_size(),
            stored_bytes: manifest.stored_size(),
            seconds: began.elapsed().as_secs_f64(),
            repositories: repositories.clone(),
            missing: held.lost().iter().map(missing).collect(),
            damaged: manifest.physical.as_ref().map(|physical| physical.damaged.clone()).unwrap_or_default(),
            not_restorable: vec![],
            not_held: captured.not_held,
            issues: captured.issues,
            not_included: captured.not_included,
        };
        Ok((outcome, Some((manifest, repositories))))
    }

    /// Uploads that a killed run left behind cost money and are seen by nobody. Whoever holds the lease
    /// knows that no upload of this source is alive.
    async fn sweep(&self, planned: &PlannedSource) {
        let prefix = layout::backups(&self.policy.system, &planned.source.name);
        for repository in self.repositories.iter() {
            let swept = tokio::time::timeout(SMALL_CALL, async {
                let uploads = repository.store.pending_uploads(&prefix).await?;
                for upload in &uploads {
                    repository.store.abort_pending(upload).await?;
                }
                Ok::<_, crate::store::StoreError>(uploads.len())
            });
            match swept.await {
                Ok(Ok(0)) => {}
                Ok(Ok(count)) => self.events.notice(format!(
                    "repository {}: took back {count} unfinished upload(s) that an earlier run left",
                    repository.name
                )),
                Ok(Err(error)) => tracing::info!("{error}"),
                Err(_) => {
                    tracing::info!("looking for unfinished uploads in {} took too long", repository.name)
                }
            }
        }
    }

    async fn record(&self, report: &BackupReport, catalog: Option<&Catalog>, manifests: &[LeaseContext]) {
        let reasons = report.sources.iter().flat_map(|source| {
            let subject = source.subject();
            source.outcome.reasons().into_iter().map(move |reason| format!("{subject}: {reason}"))
        });
        let detail = journal::Detail {
            backups: manifests.iter().map(|(manifest, _)| manifest.id.clone()).collect(),
            reasons: reasons.collect(),
            ..journal::Detail::default()
        };
        let times = (report.begun, report.ended);
        let record =
            journal::JournalRecord::new(&self.run, "backup", times, &host_name(), report.outcome, detail);
        match journal::append(&self.repositories, &self.policy.system, record.clone()).await {
            Ok(lost) => {
                for lost in lost {
                    self.events.warning(format!(
                        "repository {} has no record of this run: {}",
                        lost.name,
                        lost.reason()
                    ));
                }
            }
            Err(error) => self.events.warning(format!("the run was not recorded: {}", error_chain(&error))),
        }
        let Some(catalog) = catalog else { return };
        for (manifest, repositories) in manifests {
            if let Err(error) = catalog.record_backup(manifest, repositories).await {
                self.events.warning(format!(
                    "the catalog does not know {} yet: {}",
                    manifest.id,
                    error_chain(&error)
                ));
            }
        }
        if let Err(error) = catalog.record_run(&record).await {
            self.events.warning(format!("the catalog does not know this run: {}", error_chain(&error)));
        }
    }
}

fn missing(lost: &Unavailable) -> MissingRepository {
    MissingRepository { repository: lost.name.clone(), reason: lost.reason() }
}

fn protection(encryption: &Encryption) -> Protection {
    match encryption {
        Encryption::None => Protection::None,
        Encryption::Age { recipients } => Protection::Age {
            recipients: recipients
                .iter()
                .map(|recipient| RecipientPrint {
                    recipient: recipient.key.clone(),
                    holder: recipient.holder.clone(),
                })
                .collect(),
        },
    }
}

/// Asks all of them at once. A store that does not tell soon is not judged here, and not waited for: opening it
/// will say what is wrong with it, with all its patience.
async fn check_clocks(
    repositories: &Repositories,
    stall: Duration,
    clock: &dyn Clock,
) -> Result<(), BackupError> {
    let within = (stall / 8).min(CLOCK_WITHIN);
    let asked = repositories
        .iter()
        .map(async |repository| (repository, tokio::time::timeout(within, repository.store.now()).await));
    for (repository, answer) in join_all(asked).await {
        let Ok(Ok(theirs)) = answer else { continue };
        let skew = clock.now() - theirs;
        if skew.abs() > CLOCK_TOLERANCE {
            return Err(BackupError::Clock { repository: repository.name.clone(), skew });
        }
    }
    Ok(())
}
