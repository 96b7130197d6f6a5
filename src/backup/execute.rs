use futures_util::future::join_all;

use super::capture::CaptureResult;
use super::error::{BackupError, TakeError};
use super::plan::BackupPlan;
use super::planned_source::PlannedSource;
use super::point::{PlannedPoint, PointRun, point_not_taken};
use super::record::CommittedBackup;
use super::report::{BackupReport, PointReport, SourceOutcome, SourceReport};
use super::run::{BackupContext, Run};
use crate::event::Event;
use crate::model::{BackupId, BackupKind, Outcome};
use crate::platform::{CancellationToken, seed};
use crate::repository::lease::{Acquired, Lease};
use crate::repository::store_probe::capability::sweep_old;
use crate::run::pause::{LeftoverPause, PauseFacts, resume_leftover};
use crate::text::error_chain;

/// Takes the planned backups one after the other, writes the journal and the catalog, and reports.
pub async fn execute(plan: BackupPlan, context: BackupContext<'_>) -> Result<BackupReport, BackupError> {
    let begun = context.clock.now();
    context.events.emit(&Event::RunBegan { run: plan.run.clone(), verb: "backup" });
    let mut run = Run::begin(&plan, context).await?;
    for lost in run.repositories.lost() {
        run.events.emit(&Event::RepositoryLost { repository: lost.name.clone(), reason: lost.reason() });
    }
    run.report_changes(begun).await;
    join_all(run.repositories.iter().map(|repository| sweep_old(&*repository.store))).await;

    let leftover_pause = run.resume_leftover().await;
    let (mut sources, mut committed, mut point) = (Vec::new(), Vec::new(), None);
    let of_point = plan.sources.iter().filter(|planned| is_member(&plan, planned)).count();
    let (members, others) = plan.sources.split_at(of_point);
    if let Some(planned) = &plan.point {
        point = run.take_point(planned, members, &mut sources, &mut committed).await;
    }
    for planned in others {
        let mut taken = run.take(planned).await;
        run.wait_for_all_wal(&mut taken).await;
        run.report_taken(planned, taken, &mut sources, &mut committed);
    }
    let (lost, ended) = (run.repositories.lost().to_vec(), run.clock.now());
    let outcome = BackupReport::judge(&sources);
    let mut report =
        BackupReport { run: run.id.clone(), begun, ended, outcome, sources, point, leftover_pause, lost };
    if report.outcome == Outcome::Succeeded && !report.reasons().is_empty() {
        report.outcome = Outcome::Degraded;
    }
    run.record(&report, &committed).await;
    Ok(report)
}

fn is_member(plan: &BackupPlan, planned: &PlannedSource) -> bool {
    plan.point.as_ref().is_some_and(|point| point.has(&planned.source.name))
}

impl Run<'_> {
    /// Takes the members of a recovery point one after the other, while the application is paused. `None`: nothing of it
    /// was taken.
    async fn take_point(
        &mut self,
        planned: &PlannedPoint,
        members: &[PlannedSource],
        sources: &mut Vec<SourceReport>,
        committed: &mut Vec<CommittedBackup>,
    ) -> Option<PointReport> {
        let (id, since) = (self.id.clone(), self.clock.now());
        let facts = PauseFacts { state: &self.state, system: &self.policy.system, run: &id, since };
        let point = PointRun::begin(planned, members, facts, self.events, self.cancel).await;
        match point {
            Ok(point) => self.point = Some(point),
            Err(error) => {
                let reason = format!("{}; nothing of the recovery point was backed up", error_chain(&error));
                for member in members {
                    let failed = Err(TakeError::Pause(reason.clone()));
                    self.report_taken(member, vec![failed], sources, committed);
                }
                return point_not_taken(planned, error);
            }
        }
        let mut taken = Vec::new();
        for member in members {
            taken.push(self.take(member).await);
        }
        if let Some(point) = &self.point {
            point.resume().await;
        }
        // The application need not be paused for this.
        for (member, mut taken) in members.iter().zip(taken) {
            self.wait_for_all_wal(&mut taken).await;
            self.report_taken(member, taken, sources, committed);
        }
        let reached: Vec<_> = committed.iter().filter_map(|(manifest, _)| manifest.point.clone()).collect();
        Some(self.point.take()?.conclude(planned, sources, &reached).await)
    }

    /// Resumes an application that a killed run left paused.
    async fn resume_leftover(&self) -> Option<LeftoverPause> {
        match resume_leftover(&self.state, &self.policy.system, self.events).await {
            Ok(leftover) => leftover,
            Err(error) => {
                self.events.warning(format!("it is not known whether the application is paused: {error}"));
                None
            }
        }
    }

    /// Adds what came of a source to the report.
    fn report_taken(
        &self,
        planned: &PlannedSource,
        taken: Vec<CaptureResult>,
        sources: &mut Vec<SourceReport>,
        committed: &mut Vec<CommittedBackup>,
    ) {
        let (name, kind) = (&planned.source.name, planned.kind);
        for taken in taken {
            let outcome = match taken {
                Ok((outcome, manifest)) => {
                    committed.extend(manifest);
                    outcome
                }
                Err(_) if self.cancel.is_cancelled() => SourceOutcome::Interrupted,
                Err(error) => {
                    let reason = error_chain(&error);
                    self.events.emit(&Event::SourceFailed { source: name.clone(), reason: reason.clone() });
                    SourceOutcome::Failed { reason }
                }
            };
            sources.push(SourceReport { source: name.clone(), kind, outcome });
        }
    }

    /// Waits for the WAL that stored backups need.
    async fn wait_for_all_wal(&self, taken: &mut [CaptureResult]) {
        for taken in taken {
            if let Ok((SourceOutcome::Stored { not_restorable, .. }, Some((manifest, repositories)))) = taken
            {
                *not_restorable = self.wait_for_wal(manifest, repositories).await;
            }
        }
    }

    /// Takes the due backups of one source under its lease.
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
        if was_lost {
            taken
                .iter_mut()
                .filter(|taken| taken.is_err())
                .for_each(|taken| *taken = Err(TakeError::LeaseLost));
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
