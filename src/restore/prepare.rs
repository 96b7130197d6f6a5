use std::fmt::Debug;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Refusal;
use super::report::{
    Aftermath, Method, PlanSummary, RestoreError, RestoreFailed, RestoreReport, Restored, Stopped, VERB,
};
use super::teardown::{CreatedObject, TeardownReport};
use crate::checks;
use crate::checks::CheckResult;
use crate::event::{Event, Phase, PhaseTimer};
use crate::model::{SourceName, Verdict};
use crate::platform::seed;
use crate::policy::Check;
use crate::postgres::ConnectionParameters;
use crate::repository::Unavailable;
use crate::repository::lease::{Lease, announce_restore};
use crate::run::RunContext;

/// A method to restore data, with its request. Used through [`prepare`] only.
#[expect(async_fn_in_trait, reason = "restores are awaited where they are begun, and never spawned")]
pub trait Restorer: Sized {
    const METHOD: Method;
    type Survey;
    type Plan: RestorePlan;
    type Details: Serialize + Debug;
    type Error: RestoreError;
    type Aftermath: Aftermath;

    /// Reads everything that the decision needs, and changes nothing.
    async fn survey(&self, run: &RunContext) -> Result<Self::Survey, Self::Error>;

    /// Makes the plan, or returns every reason against it at once. Pure. `seed`: any random number.
    fn plan(&self, survey: Self::Survey, now: DateTime<Utc>, seed: u32) -> Result<Self::Plan, Vec<Refusal>>;

    /// Executes the plan, and nothing else: the request is not read again.
    async fn execute(
        run: &RunContext,
        plan: &Self::Plan,
        progress: &mut RestoreProgress<'_>,
    ) -> Executed<Self>;

    /// Removes an object that a restore of this request created, and verifies that it is gone; `Err`: why it
    /// is left.
    async fn remove(&self, run: &RunContext, object: &CreatedObject) -> Result<(), String>;

    /// Removes what a restore of this request created, whether it ended well or not. What does not carry the identity
    /// that the restore gave it, or was there before, is left. May be repeated.
    async fn teardown(&self, run: &RunContext, created: &[CreatedObject]) -> TeardownReport {
        let mut report = TeardownReport::default();
        for object in created {
            let outcome = match object {
                CreatedObject::Shared { reason, .. } => Err(reason.clone()),
                object => self.remove(run, object).await,
            };
            report.record(object, outcome);
        }
        report
    }
}

/// The result of a method's execution.
pub type Executed<R> =
    Result<Restored<<R as Restorer>::Details>, Stopped<<R as Restorer>::Error, <R as Restorer>::Aftermath>>;

/// What will be done.
pub trait RestorePlan: Serialize {
    fn summary(&self) -> PlanSummary;

    /// Returns the phases of the restore, in order. `validates`: there are checks to run.
    fn phases(&self, validates: bool) -> Vec<Phase>;

    /// Returns why the policy's checks cannot be run on what this restores.
    fn without_checks(&self) -> Option<&'static str> {
        None
    }
}

/// The plan of a restore that was not refused.
#[derive(Debug)]
pub struct PreparedRestore<'c, R: Restorer> {
    plan: R::Plan,
    /// The policy's checks that can be run on what is restored.
    checks: &'c [Check],
    /// Why the policy's checks are not run; absent where they are, or where there are none.
    unasked: Option<&'static str>,
}

/// The machine-readable form of a plan.
#[derive(Debug, Serialize)]
pub struct PlanDocument<'p, P> {
    method: Method,
    steps: Vec<Phase>,
    #[serde(flatten)]
    plan: &'p P,
}

/// The result of a restore.
pub type Performed<R> = Result<
    RestoreReport<<R as Restorer>::Details>,
    RestoreFailed<<R as Restorer>::Error, <R as Restorer>::Aftermath>,
>;

/// The result of a restore, and the repositories that did not store its record.
pub type Concluded<R> = (Performed<R>, Vec<Unavailable>);

/// Surveys and plans. `checks`: the policy's, which are run on what was restored.
pub async fn prepare<'c, R: Restorer>(
    run: &RunContext,
    restorer: &R,
    checks: &'c [Check],
) -> Result<PreparedRestore<'c, R>, R::Error> {
    let survey = restorer.survey(run).await?;
    let plan = restorer.plan(survey, run.clock.now(), seed()).map_err(R::Error::refused)?;
    let unasked = plan.without_checks().filter(|_| !checks.is_empty());
    let checks = if unasked.is_some() { &[] } else { checks };
    Ok(PreparedRestore { plan, checks, unasked })
}

impl<R: Restorer> PreparedRestore<'_, R> {
    pub fn plan(&self) -> &R::Plan {
        &self.plan
    }

    pub fn steps(&self) -> Vec<Phase> {
        self.plan.phases(!self.checks.is_empty())
    }

    pub fn document(&self) -> PlanDocument<'_, R::Plan> {
        PlanDocument { method: R::METHOD, steps: self.steps(), plan: &self.plan }
    }

    fn unasked_note(&self) -> Option<String> {
        self.unasked.map(|why| format!("the policy's checks were not run: {why}"))
    }

    /// Executes the plan, runs the checks, and records the run.
    pub async fn run(&self, run: &RunContext) -> Concluded<R> {
        run.events.emit(&Event::RunBegan { run: run.id.clone(), verb: VERB });
        let outcome = self.perform(run).await;
        let summary = self.plan.summary();
        let (word, detail) = match &outcome {
            Ok(report) => (report.outcome(), report.detail(summary.changed)),
            Err(failed) => (failed.outcome(), failed.detail(R::METHOD, &summary)),
        };
        let unrecorded = run.conclude(VERB, word, detail).await;
        (outcome, unrecorded)
    }

    /// Executes the plan and runs the checks, for a caller that records them with what it did besides.
    pub async fn perform(&self, run: &RunContext) -> Performed<R> {
        let begun = run.clock.now();
        let mut progress = RestoreProgress {
            phases: PhaseTimer::new(&run.events),
            checks: vec![],
            created: vec![],
            policy: self.checks,
            run,
        };
        let leases = announce(run, &self.plan.summary().source).await;
        let outcome = R::execute(run, &self.plan, &mut progress).await;
        for lease in leases {
            lease.release().await;
        }
        let phase = progress.phases.current();
        let (phases, checks, created) = (progress.phases.ended(), progress.checks, progress.created);
        let summary = self.plan.summary();
        match outcome {
            Ok(restored) => Ok(RestoreReport {
                run: run.id.clone(),
                method: R::METHOD,
                source: summary.source.clone(),
                backup: summary.backup.clone(),
                to: restored.to,
                recovery_point: restored.recovery_point,
                verdict: Verdict::worst(checks.iter().map(|check| &check.verdict)),
                checks,
                phases,
                seconds: (run.clock.now() - begun).as_seconds_f64().max(0.0),
                left_out: restored.left_out,
                notes: restored.notes.into_iter().chain(self.unasked_note()).collect(),
                created,
                details: restored.details,
            }),
            Err(Stopped { error, aftermath }) => {
                let subject = summary.subject.clone();
                Err(RestoreFailed { subject, phase, phases, created, aftermath, error })
            }
        }
    }
}

/// Says in every repository that backups of the source are read, so that retention leaves them alone.
async fn announce(run: &RunContext, source: &SourceName) -> Vec<Lease> {
    let announced = run.repositories.writable().map(|repository| {
        announce_restore(&repository.store, &run.system, source, &run.id, std::sync::Arc::clone(&run.clock))
    });
    futures_util::future::join_all(announced).await.into_iter().flatten().collect()
}

/// How far a restore is, and what was found out of what it restored.
pub struct RestoreProgress<'r> {
    pub(super) phases: PhaseTimer<'r>,
    pub(super) checks: Vec<CheckResult>,
    /// What teardown removes.
    pub(super) created: Vec<CreatedObject>,
    policy: &'r [Check],
    run: &'r RunContext,
}

impl RestoreProgress<'_> {
    pub(super) fn begin(&mut self, phase: Phase) {
        self.phases.begin(phase);
    }

    /// Returns whether there are checks of the policy to run.
    pub(super) fn validates(&self) -> bool {
        !self.policy.is_empty()
    }

    /// Runs the policy's checks on a restored database as soon as it is usable. Returns their results, which
    /// are in the report, too. `ways`: connections to try, the first that works counts; `until`: the recovery
    /// point.
    pub(super) async fn validate(
        &mut self,
        ways: Result<Vec<ConnectionParameters>, String>,
        until: DateTime<Utc>,
    ) -> Vec<CheckResult> {
        if !self.validates() {
            return vec![];
        }
        self.phases.begin(Phase::Validate);
        let results = checks::run(ways, self.policy, until).await;
        for result in &results {
            match result.verdict.reasons.first() {
                None => self.run.events.notice(format!("check `{}` holds", result.check)),
                Some(reason) => self.run.events.warning(reason.message.clone()),
            }
        }
        self.checks.extend(results.iter().cloned());
        results
    }
}
