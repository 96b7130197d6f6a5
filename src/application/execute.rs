use std::sync::Mutex;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};

use super::member::PreparedMember;
use super::prepare::PreparedApplication;
use super::references::{RestoredSource, compare};
use super::report::{ApplicationReport, MemberOutcome, MemberReport};
use super::select::PointSelector;
use super::state::{RestoreState, RestoredAt, RestoredMember, StateError, StateLock};
use crate::model::{Outcome, RunId, Verdict};
use crate::platform::{CancellationToken, seed};
use crate::repository::Unavailable;
use crate::repository::journal::Detail;
use crate::run::RunContext;
use crate::text::error_chain;

/// The name of a restore of an application in the journal.
pub const VERB: &str = "restore-application";
const METHOD: &str = "application";

impl PreparedApplication<'_> {
    /// Restores the members, several at a time, compares them with each other, and records the run. Returns the
    /// repositories that did not store a record, too.
    pub async fn run(&self, run: &RunContext) -> Result<(ApplicationReport, Vec<Unavailable>), StateError> {
        let _lock = StateLock::take(&self.request.to.state)?;
        let until = match self.request.selector {
            PointSelector::Time(time) => Some(time),
            _ => None,
        };
        let begun = || RestoreState::new(run.system.clone(), run.begun, self.selection.point.clone(), until);
        let state = self.state.clone().unwrap_or_else(begun);
        state.write(&self.request.to.state)?;
        let first_begun = state.begun;
        let state = Mutex::new(state);
        let group = run.cancel.child_token();
        let works = self.ready.iter().map(|member| self.restore(member, run, &group, &state));
        let restored: Vec<_> = stream::iter(works).buffered(self.request.at_once.max(1)).collect().await;
        let (mut members, mut unrecorded) = (Vec::new(), Vec::new());
        for (report, lost) in restored {
            members.push(report);
            unrecorded.extend(lost);
        }
        let state = state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.add_restored_before(&state, &mut members);
        let compared_from = run.clock.now();
        let (references, mut notes) = self.compare(&members, &state).await;
        let ended = run.clock.now();
        let of_members = members.iter().map(|member| &member.verdict);
        let of_references = references.iter().map(|check| &check.verdict);
        let verdict = Verdict::worst(of_members.chain(of_references));
        notes.splice(0..0, self.plan.notes.iter().cloned());
        let report = ApplicationReport {
            run: run.id.clone(),
            point: self.selection.point.clone(),
            label: self.selection.label.clone(),
            members,
            references,
            verdict,
            rto_seconds: (ended - first_begun).as_seconds_f64().max(0.0),
            notes,
        };
        let seconds = |from: DateTime<Utc>, until: DateTime<Utc>| (until - from).as_seconds_f64().max(0.0);
        let phases = vec![
            ("members".to_owned(), seconds(run.begun, compared_from)),
            ("references".to_owned(), seconds(compared_from, ended)),
        ];
        let detail = Detail { phases, ..detail(&report) };
        unrecorded.extend(run.conclude(VERB, outcome(&report), detail).await);
        unrecorded.dedup_by(|one, other| one.name == other.name);
        Ok((report, unrecorded))
    }

    /// Restores one member, and notes that it is.
    async fn restore(
        &self,
        member: &PreparedMember<'_>,
        run: &RunContext,
        group: &CancellationToken,
        state: &Mutex<RestoreState>,
    ) -> (MemberReport, Vec<Unavailable>) {
        let begun = run.clock.now();
        let (id, cancel) = (RunId::new(begun, seed()), group.child_token());
        let own = RunContext { id, begun, cancel, ..run.clone() };
        if group.is_cancelled() {
            return (not_started(member, &own, run.cancel.is_cancelled()), vec![]);
        }
        let (report, at, unrecorded) = member.run(&own).await;
        match at {
            Some(at) => {
                let noted = state.lock().map(|mut state| {
                    state.members.insert(report.source.clone(), noted(&report, at));
                    state.write(&self.request.to.state)
                });
                if let Ok(Err(error)) = noted {
                    run.events.warning(format!(
                        "`{}` is restored, and a next attempt will not know that: {}",
                        report.source,
                        error_chain(&error)
                    ));
                }
            }
            None if self.request.fail_fast => group.cancel(),
            None => {}
        }
        (report, unrecorded)
    }

    /// Adds the members that an earlier attempt restored, and puts all in the order of the plan.
    fn add_restored_before(&self, state: &RestoreState, members: &mut Vec<MemberReport>) {
        for planned in self.plan.members.iter().filter(|planned| planned.is_restored) {
            let Some(done) = state.members.get(&planned.source) else { continue };
            let outcome = MemberOutcome::RestoredBefore {
                judgement: done.judgement,
                reasons: done.reasons.clone(),
                is_everything: done.is_everything,
            };
            let mut report = MemberReport {
                source: planned.source.clone(),
                run: done.run.clone(),
                backup: done.backup.clone(),
                to: done.to.clone(),
                recovery_point: done.recovery_point,
                verdict: Verdict::default(),
                seconds: done.seconds,
                outcome,
            };
            report.judge();
            members.push(report);
        }
        members.sort_by_key(|report| {
            self.plan.members.iter().position(|planned| planned.source == report.source)
        });
    }

    async fn compare(
        &self,
        members: &[MemberReport],
        state: &RestoreState,
    ) -> (Vec<crate::checks::CheckResult>, Vec<String>) {
        let (mut results, mut notes) = (Vec::new(), Vec::new());
        let restored = |name: &crate::model::SourceName| {
            Some(RestoredSource {
                source: self.sources.iter().find(|source| source.name == *name)?,
                selected: self.selection.members.iter().find(|selected| selected.source == *name)?,
                report: members.iter().find(|report| report.source == *name && report.is_restored())?,
                at: &state.members.get(name)?.at,
            })
        };
        for reference in &self.references {
            let (Some(rows), Some(files)) = (restored(&reference.source), restored(&reference.files)) else {
                notes.push(format!(
                    "rows of `{}` were not compared with files of `{}`: not both are restored",
                    reference.source, reference.files
                ));
                continue;
            };
            let (result, note) = compare(reference, &self.request, &rows, &files).await;
            results.push(result);
            notes.extend(note);
        }
        (results, notes)
    }
}

fn not_started(member: &PreparedMember<'_>, own: &RunContext, is_interrupted: bool) -> MemberReport {
    let plan = member.plan();
    let mut report = MemberReport {
        source: plan.source,
        run: own.id.clone(),
        backup: plan.backup,
        to: plan.to,
        recovery_point: None,
        verdict: Verdict::default(),
        seconds: 0.0,
        outcome: if is_interrupted { MemberOutcome::Interrupted } else { MemberOutcome::NotStarted },
    };
    report.judge();
    report
}

fn noted(report: &MemberReport, at: RestoredAt) -> RestoredMember {
    RestoredMember {
        run: report.run.clone(),
        backup: report.backup.clone(),
        to: report.to.clone(),
        recovery_point: report.recovery_point,
        seconds: report.seconds,
        judgement: report.verdict.outcome,
        reasons: report.verdict.reasons.iter().map(|reason| reason.message.clone()).collect(),
        is_everything: report.is_everything(),
        at,
    }
}

fn outcome(report: &ApplicationReport) -> Outcome {
    match () {
        () if report.is_sound() => Outcome::Succeeded,
        () if report.is_interrupted() => Outcome::Interrupted,
        () if report.members.iter().any(MemberReport::is_restored) => Outcome::Degraded,
        () => Outcome::Failed,
    }
}

/// Returns the details for the journal, which is not encrypted: no paths, no names of tables.
fn detail(report: &ApplicationReport) -> Detail {
    let members = report.members.iter().filter_map(|member| {
        let source = &member.source;
        match &member.outcome {
            MemberOutcome::Failed { recorded, .. } => Some(format!("{source}: {recorded}")),
            MemberOutcome::Interrupted => Some(format!("{source}: interrupted")),
            MemberOutcome::NotStarted => Some(format!("{source}: not started")),
            MemberOutcome::Restored { .. } | MemberOutcome::RestoredBefore { .. } => {
                let judgement = member.verdict.outcome;
                (!member.verdict.has_passed()).then(|| format!("{source}: its checks: {judgement}"))
            }
        }
    });
    let references = report.references.iter().filter(|check| !check.has_passed()).map(|check| {
        let found = check.found.as_deref().map(|found| format!(", {found}")).unwrap_or_default();
        format!("check `{}`: {}{found}", check.check, check.verdict.outcome)
    });
    Detail {
        method: Some(METHOD.to_owned()),
        backups: report.members.iter().filter_map(|member| member.backup.clone()).collect(),
        reasons: members.chain(references).collect(),
        ..Detail::default()
    }
}
