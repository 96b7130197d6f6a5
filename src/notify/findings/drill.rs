use super::Findings;
use crate::catalog::Notice;
use crate::drill::Concluded;
use crate::model::{Cause, Judgement, SourceName};
use crate::policy::{Job, Severity};
use crate::text::{count, error_chain};

pub(super) const FAILED: &str = "drill.failed";

/// Returns the key of what is told of the drills of a source, by them and by `drctl status`.
pub(super) fn key(source: &SourceName) -> String {
    format!("drill/{source}")
}

/// Returns what a drill tells.
pub fn drill(concluded: &Concluded, is_interrupted: bool) -> Findings {
    let mut findings = Findings::default();
    if is_interrupted {
        return findings;
    }
    let (record, verdict) = (&concluded.record, &concluded.verdict);
    let identity = &record.identity;
    let source = &identity.source;
    let notice = |key: String, event: &str, severity, headline, impact: &str, action: String| Notice {
        key,
        event: event.to_owned(),
        severity,
        source: Some(source.clone()),
        headline,
        impact: impact.to_owned(),
        action,
        run: Some(identity.drill.clone()),
    };
    findings = findings.concluded(Job::Drill);
    let key = key(source);
    let evidence = format!("`drctl drill show {}` has the evidence", identity.drill);
    findings = if record.verdict.has_passed() {
        findings.over(key.clone(), format!("the drill {} of {source} passed", identity.drill))
    } else {
        let impact = match (record.verdict.outcome, record.verdict.cause) {
            (Judgement::Fail, Some(Cause::Objective)) => {
                "A restore works, and misses its objective: on the day it would take too long, or lose too much."
            }
            (Judgement::Fail, _) => {
                "What was restored is not what it should be: on the day this backup would not bring the application back."
            }
            _ => "Whether a restore works is not known.",
        };
        let headline =
            format!("the drill of {source} ({}) did not pass: {}", identity.scenario, verdict.sentence);
        findings.firing(notice(key.clone(), FAILED, Severity::P2, headline, impact, evidence.clone()))
    };
    findings = match &concluded.not_recorded {
        None => findings.over(format!("{key}/record"), format!("the drill of {source} left evidence")),
        Some(error) => findings.firing(notice(
            format!("{key}/record"),
            "drill.unrecorded",
            Severity::P2,
            format!("the drill of {source} left no evidence: {}", error_chain(error)),
            "It proves nothing to others.",
            "repeat it when a repository takes records".to_owned(),
        )),
    };
    let is_left = !record.cleanup.is_complete && concluded.kept.is_none();
    match is_left {
        false => findings.over(format!("{key}/leftovers"), format!("the drill of {source} left no orphans")),
        true => {
            let left = count(record.cleanup.left.len() as u64, "orphan");
            findings.firing(notice(
                format!("{key}/leftovers"),
                "drill.leftovers",
                Severity::P4,
                format!("the drill of {source} left {left}: {}", super::joined(&record.cleanup.left)),
                "Nothing of production; it takes up space, or costs, until it is removed.",
                "the next drill removes what it can; `drctl rds cleanup` removes instances".to_owned(),
            ))
        }
    }
}
