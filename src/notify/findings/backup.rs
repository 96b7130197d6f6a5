use std::time::Duration;

use super::{Findings, NewestData, Occasion, in_words, joined};
use crate::backup::{BackupReport, SourceOutcome, SourceReport};
use crate::catalog::Notice;
use crate::model::BackupKind;
use crate::policy::{Job, Severity};
use crate::text::{format_duration, format_time};

const PAUSE_KEY: &str = "backup/pause";

/// Returns what a backup run tells. `newest`: what was stored before and by it.
pub fn backup(report: &BackupReport, newest: &NewestData, occasion: Occasion<'_>) -> Findings {
    let findings =
        report.sources.iter().fold(Findings::default().concluded(Job::Backup), |findings, source| {
            of_source(findings, source, newest, occasion)
        });
    match report.still_paused() {
        Some(reason) => findings.firing(still_paused(reason, occasion)),
        None => findings.over(PAUSE_KEY.to_owned(), "the application is no longer paused for a backup"),
    }
}

/// Returns the notice of an application that could not be resumed: everybody who uses it is affected.
fn still_paused(reason: &str, occasion: Occasion<'_>) -> Notice {
    Notice {
        key: PAUSE_KEY.to_owned(),
        event: "backup.still-paused".to_owned(),
        severity: Severity::P1,
        source: None,
        headline: format!("{} IS STILL PAUSED for a backup: {reason}", occasion.policy.system),
        impact: "The application does not write: for its users it is down.".to_owned(),
        action: "resume it manually, by the program that `recovery_point.resume` names; the next `drctl backup` or `drctl run-due` on that host runs it again"
            .to_owned(),
        run: Some(occasion.run.clone()),
    }
}

fn of_source(
    findings: Findings,
    report: &SourceReport,
    newest: &NewestData,
    occasion: Occasion<'_>,
) -> Findings {
    let kind = report.kind.map_or("any", BackupKind::as_str);
    let key = format!("backup/{}/{kind}", report.source);
    let subject = report.subject();
    let reasons = report.outcome.reasons();
    let notice = |event: &str, severity, headline, impact, action| Notice {
        key: key.clone(),
        event: format!("backup.{event}"),
        severity,
        source: Some(report.source.clone()),
        headline,
        impact,
        action,
        run: Some(occasion.run.clone()),
    };
    let again = format!("`drctl doctor` says what is in the way; then `drctl backup {}`", report.source);
    match &report.outcome {
        SourceOutcome::Stored { backup, .. } if reasons.is_empty() => {
            findings.over(key, format!("backup of {subject} is stored: {backup}"))
        }
        SourceOutcome::Stored { backup, damaged, missing_files, repositories, .. } => {
            let is_damaged = !damaged.is_empty() || !missing_files.is_empty();
            let (event, severity, impact, action) = if is_damaged {
                let impact = "Part of the database cannot be read any more, on the server and in this backup; an older backup may have it intact.";
                let action =
                    "expire no backup until the server is repaired; `pg_amcheck` says which tables it is";
                ("damaged", Severity::P1, impact.to_owned(), action.to_owned())
            } else {
                let names = repositories.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" and ");
                let impact = format!(
                    "What is new in this backup can be restored from {names} alone, if from anywhere."
                );
                (
                    "degraded",
                    Severity::P2,
                    impact,
                    "`drctl copies sync` completes copies; `drctl status` shows what is missing".to_owned(),
                )
            };
            let headline = format!(
                "backup {backup} of {subject} is stored, and not as it should be: {}",
                joined(&reasons)
            );
            findings.firing(notice(event, severity, headline, impact, action))
        }
        SourceOutcome::Failed { .. } => {
            let (severity, impact) = lacking(report, newest, occasion);
            let headline = format!("backup of {subject} failed: {}", joined(&reasons));
            findings.firing(notice("failed", severity, headline, impact, again))
        }
        SourceOutcome::Interrupted => {
            let (severity, impact) = lacking(report, newest, occasion);
            let severity = severity.max(Severity::P3);
            findings.firing(notice(
                "interrupted",
                severity,
                format!("backup of {subject} was interrupted"),
                impact,
                again,
            ))
        }
        // The run that works on it tells what comes of it; a backup that is too old is told by `drctl status`.
        SourceOutcome::Busy { .. } => findings,
    }
}

/// Returns what is lost without this backup, and how bad that is.
fn lacking(report: &SourceReport, newest: &NewestData, occasion: Occasion<'_>) -> (Severity, String) {
    let source = &report.source;
    let rpo = occasion.policy.objectives.rpo;
    let is_continuous = occasion.policy.source(source).is_some_and(|source| source.continuous);
    let Some(point) = newest.0.get(source) else {
        return (Severity::P1, format!("There is no backup of {source}: all of its data exists only in it."));
    };
    let age = (occasion.now - *point).to_std().unwrap_or(Duration::ZERO);
    let (old, since) = (in_words(age), format_time(*point));
    if is_continuous {
        let impact = format!(
            "The newest backup of {source} holds its data until {since}, {old} ago; what changed since has to come from its archive, which makes a restore longer."
        );
        return (Severity::P2, impact);
    }
    let impact =
        format!("{old} of {source} exist only in it: the newest backup holds its data until {since}.");
    match age > rpo {
        true => (Severity::P1, format!("{impact} The RPO is {}.", format_duration(rpo))),
        false => (Severity::P2, impact),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono::TimeDelta;

    use super::*;
    use crate::model::{Outcome, RunId};
    use crate::policy::parse;
    use crate::repository::fixtures::noon;

    const POLICY: &str = include_str!("../../../policies/course-companion-fte.toml");

    /// What a failed backup tells, the newest one being so old.
    fn told(minutes: Option<i64>) -> (Severity, String) {
        let policy = parse(Path::new("shop.toml"), POLICY).unwrap();
        let (now, run) = (noon(), RunId::new(noon(), 1));
        let source = policy.sources.iter().find(|source| !source.continuous).unwrap().name.clone();
        let outcome = SourceOutcome::Failed { reason: "no route to host".to_owned() };
        let sources = vec![SourceReport { source: source.clone(), kind: Some(BackupKind::Logical), outcome }];
        let report = BackupReport {
            run: run.clone(),
            begun: now,
            ended: now,
            outcome: Outcome::Failed,
            sources,
            point: None,
            leftover_pause: None,
            lost: vec![],
        };
        let newest = minutes.map(|minutes| (source, now - TimeDelta::minutes(minutes)));
        let newest = NewestData(newest.into_iter().collect());
        let findings = backup(&report, &newest, Occasion { policy: &policy, run: &run, now });
        let [notice] = findings.firing.as_slice() else { panic!("{findings:?}") };
        (notice.severity, notice.impact.clone())
    }

    #[test]
    fn a_failed_backup_is_as_bad_as_the_newest_one_is_old() {
        let (severity, impact) = told(Some(32));
        assert_eq!(severity, Severity::P2);
        assert!(impact.contains("32m of ") && impact.contains("exist only in it"), "{impact}");
        let (severity, impact) = told(Some(61));
        assert_eq!(severity, Severity::P1);
        assert!(impact.contains("The RPO is 1h."), "{impact}");
        assert_eq!(told(None).0, Severity::P1);
    }
}
