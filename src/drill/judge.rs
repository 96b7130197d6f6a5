//! The verdict of a drill. Pure.

use std::time::Duration;

use super::record::{DrillVerdict, VerdictReason};
use crate::model::{Cause, Judgement, Verdict};
use crate::text::format_duration;

/// What the verdict is made from.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// Of the restore and of all checks.
    pub(super) verdict: Verdict,
    /// Absent where the application never was usable.
    pub(super) rto: Option<f64>,
    /// Absent where it is not measured.
    pub(super) rpo: Option<f64>,
    pub(super) rto_objective: f64,
    pub(super) rpo_objective: f64,
    /// How many checks of the policy were run.
    pub(super) checks: usize,
    /// What was restored and where from, to finish "… was restored".
    pub(super) what: String,
}

/// Adds the objectives to the findings, and says the verdict in one sentence.
pub(super) fn judge(mut findings: Findings) -> DrillVerdict {
    objectives(&mut findings);
    let Findings { verdict, what, checks, .. } = &findings;
    let worst = verdict.outcome;
    // The reasons of the outcome come first, and of these the backup's.
    let mut reasons: Vec<_> = verdict.reasons.iter().collect();
    reasons.sort_by_key(|reason| rank(reason.cause));
    let first = reasons.first().copied();
    let time = findings.rto.map(seconds);
    let sentence = match (worst, first) {
        (Judgement::Pass, _) => {
            let asked = match checks {
                0 => "the policy has no checks of its own".to_owned(),
                1 => "its check passed".to_owned(),
                count => format!("all {count} checks passed"),
            };
            let rpo =
                findings.rpo.map(|rpo| format!("; at most {} of data would have been lost", seconds(rpo)));
            format!(
                "{what} was usable after {}, and {asked}{}.",
                time.unwrap_or_default(),
                rpo.unwrap_or_default()
            )
        }
        (Judgement::Fail, Some(reason)) if reason.code == "deadline" => {
            format!("{what} was not usable in time: {}.", reason.message)
        }
        (Judgement::Fail, Some(reason)) if reason.cause == Cause::Objective => {
            format!("{what} came back, but not within the objectives: {}.", reason.message)
        }
        (Judgement::Fail, Some(reason)) if reason.cause == Cause::Runbook => {
            format!("{what} was not brought back by the runbook: {}.", reason.message)
        }
        (Judgement::Fail, Some(reason)) => {
            format!("{what} did not come back as it should: {}.", reason.message)
        }
        (_, Some(reason)) => format!(
            "It is not known whether {what} can be restored: {}. {}",
            reason.message,
            match reason.cause {
                Cause::Environment =>
                    "That is the fault of the host or the settings of the drill, and tells nothing of the backup.",
                _ => "That tells nothing of the backup.",
            }
        ),
        (_, None) => format!("It is not known whether {what} can be restored."),
    };
    let reason = |reason: &crate::model::Reason| VerdictReason {
        cause: cause(reason.cause).to_owned(),
        code: reason.code.to_owned(),
        message: reason.message.clone(),
    };
    DrillVerdict {
        outcome: worst.as_str().to_owned(),
        cause: first.map(|reason| cause(reason.cause).to_owned()),
        code: first.map(|reason| reason.code.to_owned()),
        sentence: capitalized(&one_line(&sentence)),
        reasons: reasons.into_iter().map(reason).collect(),
    }
}

/// A sentence is told by mail, chat and telephone.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("..", ".")
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn objectives(findings: &mut Findings) {
    if let Some(rto) = findings.rto.filter(|rto| *rto > findings.rto_objective) {
        let message = format!(
            "it took {} until the application was usable, and the RTO is {}",
            seconds(rto),
            seconds(findings.rto_objective)
        );
        findings.verdict.add(Judgement::Fail, Cause::Objective, "rto-missed", message);
    }
    if let Some(rpo) = findings.rpo.filter(|rpo| *rpo > findings.rpo_objective) {
        let message = format!(
            "{} of data would have been lost, and the RPO is {}",
            seconds(rpo),
            seconds(findings.rpo_objective)
        );
        findings.verdict.add(Judgement::Fail, Cause::Objective, "rpo-missed", message);
    }
}

fn seconds(seconds: f64) -> String {
    format_duration(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

/// What is told first.
fn rank(cause: Cause) -> u8 {
    match cause {
        Cause::Backup => 0,
        Cause::Runbook => 1,
        Cause::Objective => 2,
        Cause::Environment => 3,
        Cause::Tool => 4,
    }
}

pub(super) fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Backup => "backup",
        Cause::Runbook => "runbook",
        Cause::Objective => "objective",
        Cause::Environment => "environment",
        Cause::Tool => "tool",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        Findings {
            rto: Some(600.0),
            rpo: Some(60.0),
            rto_objective: 14_400.0,
            rpo_objective: 3600.0,
            checks: 2,
            what: "backup x from `west`".to_owned(),
            ..Findings::default()
        }
    }

    #[test]
    fn a_pass_says_what_came_back_and_what_would_have_been_lost() {
        let verdict = judge(findings());
        assert!(verdict.has_passed() && verdict.cause.is_none() && verdict.reasons.is_empty());
        assert_eq!(
            verdict.sentence,
            "Backup x from `west` was usable after 10m, and all 2 checks passed; at most 1m of data would have been lost."
        );
    }

    #[test]
    fn a_missed_objective_is_no_fault_of_the_backup() {
        let verdict = judge(Findings { rto: Some(15_000.0), rpo: Some(7200.0), ..findings() });
        assert_eq!((verdict.outcome.as_str(), verdict.cause.as_deref()), ("fail", Some("objective")));
        assert_eq!(verdict.code.as_deref(), Some("rto-missed"));
        assert_eq!(verdict.reasons.len(), 2);
    }

    #[test]
    fn the_backups_fault_is_told_before_any_other_and_the_hosts_is_never_a_failure() {
        let mut findings = findings();
        findings.verdict.add(Judgement::Undetermined, Cause::Environment, "no-disk", "there is no room");
        let verdict = judge(findings.clone());
        assert_eq!(
            (verdict.outcome.as_str(), verdict.cause.as_deref()),
            ("undetermined", Some("environment"))
        );
        assert!(verdict.sentence.contains("tells nothing of the backup"), "{}", verdict.sentence);
        findings.verdict.add(Judgement::Fail, Cause::Backup, "check-failed", "there are no tasks");
        findings.rto = Some(99_999.0);
        let verdict = judge(findings);
        assert_eq!((verdict.outcome.as_str(), verdict.code.as_deref()), ("fail", Some("check-failed")));
        assert!(verdict.sentence.contains("there are no tasks"), "{}", verdict.sentence);
    }
}
