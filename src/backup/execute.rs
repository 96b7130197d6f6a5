use futures_util::future::join_all;

use super::capture::CaptureResult;
use super::error::{BackupError, TakeError};
use super::run::{BackupContext, Run};
use super::{BackupPlan, BackupReport, PlannedSource, SourceOutcome, SourceReport};
use crate::event::Event;
use crate::model::{BackupId, BackupKind};
use crate::platform::{CancellationToken, seed};
use crate::repository::lease::{Acquired, Lease};
use crate::repository::store_probe::capability::sweep_old;
use crate::text::error_chain;

/// Takes the planned backups one after the other, writes the journal and the catalog, and reports.
pub async fn execute(plan: BackupPlan, context: BackupContext<'_>) -> Result<BackupReport, BackupError> {
    let begun = context.clock.now();
    context.events.emit(&Event::RunBegan { run: plan.run.clone(), verb: "backup" });
    let run = Run::begin(&plan, context).await?;
    for lost in run.repositories.lost() {
        run.events.emit(&Event::RepositoryLost { repository: lost.name.clone(), reason: lost.reason() });
    }
    run.report_changes(begun).await;
    join_all(run.repositories.iter().map(|repository| sweep_old(&*repository.store))).await;

    let mut sources = Vec::new();
    let mut committed = Vec::new();
    for planned in plan.sources {
        let (name, kind) = (&planned.source.name, planned.kind);
        for taken in run.take(&planned).await {
            let outcome = match taken {
                Ok((outcome, manifest)) => {
                    committed.extend(manifest);
                    outcome
                }
                Err(_) if run.cancel.is_cancelled() => SourceOutcome::Interrupted,
                Err(error) => {
                    let reason = error_chain(&error);
                    run.events.emit(&Event::SourceFailed { source: name.clone(), reason: reason.clone() });
                    SourceOutcome::Failed { reason }
                }
            };
            sources.push(SourceReport { source: name.clone(), kind, outcome });
        }
    }
    let outcome = BackupReport::judge(&sources);
    let lost = run.repositories.lost().to_vec();
    let report = BackupReport { run: run.id.clone(), begun, ended: run.clock.now(), outcome, sources, lost };
    run.record(&report, &committed).await;
    Ok(report)
}

impl Run<'_> {
    /// Takes the due backups of one source under its lease, then waits for the WAL that they need.
    async fn take(&self, planned: &PlannedSource) -> Vec<CaptureResult> {
        let lost = self.cancel.child_token();
        let (kind, lease) = match self.begin_source(planned, &lost).await {
            Ok((kind, Acquired::Held(lease))) => (kind, lease),
            Ok((_, Acquired::Busy(holder))) => {
                let (host, run, since) = (holder.host, holder.run, holder.since);
                return vec![Ok((SourceOutcome::Busy { host, run, since }, None))];
            }
            Err(error) => return vec![Err(error)],
        };
        let mut taken = self.take_with_lease(planned, kind, &lost).await;
        let was_lost = lost.is_cancelled() && !self.cancel.is_cancelled();
        Lease::release(lease).await;
        for taken in &mut taken {
            match taken {
                Err(_) if was_lost => *taken = Err(TakeError::LeaseLost),
                // The lease is not needed any more while waiting.
                Ok((SourceOutcome::Stored { not_restorable, .. }, Some((manifest, repositories)))) => {
                    *not_restorable = self.wait_for_wal(manifest, repositories).await;
                }
                _ => {}
            }
        }
        taken
    }

    async fn begin_source(
        &self,
        planned: &PlannedSource,
        lost: &CancellationToken,
    ) -> Result<(BackupKind, Acquired), TakeError> {
        planned.opened.kinds().map_err(TakeError::Source)?;
        let kind = planned.kind.ok_or(TakeError::NothingPlanned)?;
        Ok((kind, self.lease(planned, lost).await.map_err(TakeError::Lease)?))
    }

    /// Resumes the backups that interrupted runs started, then takes a new one where that is due.
    async fn take_with_lease(
        &self,
        planned: &PlannedSource,
        kind: BackupKind,
        lost: &CancellationToken,
    ) -> Vec<CaptureResult> {
        let source = &planned.source.name;
        let plan = match self.plan_source(planned, kind).await {
            Ok(plan) => plan,
            Err(error) => return vec![Err(TakeError::Source(error))],
        };
        let mut taken = Vec::new();
        for backup in plan.resumed {
            taken.push(self.capture(planned, backup, true, lost).await);
        }
        if plan.is_enough && matches!(taken.last(), Some(Ok(_))) {
            self.events.notice(format!(
                "what an interrupted run began of `{source}` is complete; nothing newer was taken: run it again for that"
            ));
            return taken;
        }
        // An interrupted run has to be reported: where nothing was taken yet, by this outcome.
        if taken.is_empty() || !lost.is_cancelled() {
            // Created only now: ids sort by start time, and a run that waited for the lease starts after its
            // holder.
            let backup = BackupId::new(self.clock.now(), source, kind, seed());
            taken.push(self.capture(planned, backup, false, lost).await);
        }
        taken
    }
}
