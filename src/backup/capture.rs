use std::time::Instant;

use chrono::{DateTime, Utc};

use super::error::TakeError;
use super::incremental::PlannedBase;
use super::lineage::Lineage;
use super::record::CommittedBackup;
use super::run::Run;
use super::{MissingRepository, PlannedSource, SourceOutcome};
use crate::catalog::{CopyEntry, Filter};
use crate::event::Event;
use crate::model::{BackupId, Manifest, Protection, RecipientPrint, RepositoryName, ToolFacts, parent};
use crate::platform::{CancellationToken, host_name};
use crate::policy::{Encryption, LockTerm, RepositoryConfig, RuleTerms};
use crate::repository::{BackupWriter, FormatVersion, Unavailable, write_options};
use crate::source::{Capture, CaptureContext, Captured, Naming, Requirements};

/// The result of a backup, and its manifest where that was committed.
pub(super) type CaptureResult = Result<(SourceOutcome, Option<CommittedBackup>), TakeError>;

impl Run<'_> {
    /// Takes one backup of a source whose lease is held. `is_resumed`: an interrupted run started it, and may
    /// have left objects.
    pub(super) async fn capture(
        &self,
        planned: &PlannedSource,
        backup: BackupId,
        is_resumed: bool,
        cancel: &CancellationToken,
    ) -> CaptureResult {
        let (began, begun) = (Instant::now(), self.clock.now());
        let source = &planned.source.name;
        self.events.emit(&Event::SourceBegan { source: source.clone(), backup: backup.clone() });
        let (prepared, base, lineage) = self.prepare(planned, &backup).await?;
        let Requirements { wal, segment_size, .. } = prepared.requirements();
        if let (true, Some((cluster, size))) = (self.accepts_new_cluster, wal.zip(segment_size)) {
            self.accept_wal(source, cluster, size).await.map_err(TakeError::AcceptWal)?;
        }
        self.abort_orphaned_uploads(source).await;
        let archiving_fails = self.archiving_fails(&planned.source, prepared.requirements().wal).await;
        let writer = self.writer(&backup, begun, cancel).await;
        if is_resumed && let Some(kept) = writer.clear().await.first() {
            let (repository, reason) = (kept.name.clone(), kept.reason());
            return Err(TakeError::Leftovers { backup, repository, reason });
        }
        let (writer, mut captured) =
            self.capture_into(writer, prepared, &backup, (&base, archiving_fails.as_deref()), cancel).await?;
        // A resumed one has data from before this run.
        let point = self.point.as_ref().filter(|_| !is_resumed);
        let facts = point.and_then(|point| point.facts(source));
        if let Some(point) = point {
            point.captured(source, backup.kind()).await;
        }
        captured.warnings.extend(lineage.divergence.map(|divergence| divergence.to_string()));
        if let Some(server) = &mut captured.server {
            server.replaces = lineage.replaces;
        }
        let (missing_copies, warnings, excluded) =
            (captured.missing_copies.clone(), captured.warnings.clone(), captured.excluded.clone());
        let manifest = Manifest { point: facts, ..self.manifest(&backup, begun, captured) };
        let held = writer.commit(&manifest).await.map_err(TakeError::Commit)?;
        self.keep_list(&manifest, &base);
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
            missing_files: manifest
                .physical
                .as_ref()
                .map(|physical| physical.missing_files.clone())
                .unwrap_or_default(),
            not_restorable: vec![],
            not_held: missing_copies,
            issues: warnings,
            not_included: excluded,
        };
        Ok((outcome, Some((manifest, repositories))))
    }

    /// Connects to the source, rejects what could never be restored, and selects the parent. Nothing is
    /// stored.
    pub(super) async fn prepare<'s>(
        &self,
        planned: &'s PlannedSource,
        backup: &BackupId,
    ) -> Result<(Box<dyn Capture + 's>, PlannedBase, Lineage), TakeError> {
        let prepared = planned.opened.prepare(backup.kind()).await.map_err(TakeError::Source)?;
        let requirements = prepared.requirements();
        if let Some(cluster) = requirements.wal.filter(|_| !self.accepts_new_cluster) {
            self.reject_without_wal(&planned.source.name, cluster).await.map_err(TakeError::OtherCluster)?;
        }
        let lineage = match &requirements.server {
            Some(server) => self.lineage(&planned.source.name, server, requirements.timeline).await,
            None => Ok(Lineage::default()),
        };
        let lineage = lineage.map_err(TakeError::Lineage)?;
        let base = self.plan_base(&planned.source, &requirements, backup).await;
        Ok((prepared, base.map_err(TakeError::Source)?, lineage))
    }

    async fn writer(
        &self,
        backup: &BackupId,
        begun: DateTime<Utc>,
        cancel: &CancellationToken,
    ) -> BackupWriter {
        let terms = RuleTerms::new(self.policy, backup.source());
        let earlier = self.good_backups(backup).await;
        let kept = |name: &RepositoryName| match &earlier {
            Some(earlier) => {
                let of_it = earlier.iter().filter(|(repository, _)| repository == name);
                let of_it: Vec<_> = of_it.map(|(_, at)| *at).collect();
                terms.of_backup(name, backup.kind(), begun, &of_it)
            }
            None => terms.at_least(name, begun),
        };
        BackupWriter::new(
            self.repositories.clone(),
            self.policy.system.clone(),
            backup.clone(),
            self.recipe.clone(),
            self.policy.transfer,
            write_options(&self.policy.repositories, begun, kept),
            self.events.clone(),
            cancel.clone(),
        )
    }

    /// Returns when the good backups of its kind were taken, by repository, where a lock depends on it; `None`: not known.
    async fn good_backups(&self, backup: &BackupId) -> Option<Vec<(RepositoryName, DateTime<Utc>)>> {
        let follows = |config: &RepositoryConfig| {
            config.place.object_lock().is_some_and(|lock| lock.retain == LockTerm::Rules)
        };
        if !self.policy.repositories.iter().any(follows) {
            return Some(vec![]);
        }
        let filter = Filter { source: Some(backup.source().clone()), ..Filter::default() };
        let entries = self.catalog.as_ref()?.backups(&filter).await.ok()?;
        let of_kind = entries.iter().filter(|entry| entry.manifest.kind == backup.kind());
        let copies = of_kind.flat_map(|entry| {
            let good = entry.copies.iter().filter(|copy| copy.is_held() && CopyEntry::is_good(copy));
            good.map(|copy| (copy.repository.clone(), entry.manifest.recovery_point))
        });
        Some(copies.collect())
    }

    /// Stores the artifacts; on a failure, what was stored is removed.
    async fn capture_into(
        &self,
        mut writer: BackupWriter,
        prepared: Box<dyn Capture + '_>,
        backup: &BackupId,
        (base, archiving_fails): (&PlannedBase, Option<&str>),
        cancel: &CancellationToken,
    ) -> Result<(BackupWriter, Captured), TakeError> {
        let naming = Naming { system: &self.policy.system, source: backup.source(), backup, run: &self.id };
        let context = CaptureContext {
            naming,
            base: &base.plan,
            archiving_fails,
            clock: &*self.clock,
            events: self.events,
            cancel,
        };
        match prepared.run(&context, &mut writer).await {
            Ok(captured) => Ok((writer, captured)),
            Err(error) => {
                for kept in writer.discard().await {
                    self.events.notice(format!(
                        "repository {} keeps objects of {backup} that no manifest names: {}",
                        kept.name,
                        kept.reason()
                    ));
                }
                Err(TakeError::Source(error))
            }
        }
    }

    fn manifest(&self, backup: &BackupId, begun: DateTime<Utc>, captured: Captured) -> Manifest {
        Manifest {
            format: FormatVersion::CURRENT.to_string(),
            repository_id: self.repositories.id().unwrap_or_default().to_owned(),
            system: self.policy.system.clone(),
            source: backup.source().clone(),
            id: backup.clone(),
            kind: backup.kind(),
            run: self.id.clone(),
            recovery_point: captured.recovery_point,
            begun,
            ended: self.clock.now(),
            host: host_name(),
            tool: ToolFacts { drctl: env!("CARGO_PKG_VERSION").to_owned(), producer: captured.producer },
            server: captured.server,
            physical: captured.physical,
            parent: captured.parent,
            point: None,
            managed: captured.managed,
            protection: protection(&self.policy.encryption),
            artifacts: captured.artifacts,
            by_hand: captured.manual_restore,
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
