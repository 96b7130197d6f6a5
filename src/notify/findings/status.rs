use std::time::Duration;

use super::{Findings, drill, in_words, joined, retention};
use crate::catalog::Notice;
use crate::policy::{Job, Policy, Severity};
use crate::status::{DrillConcern, ObjectiveVerdict, RetentionConcern, SourceStatus};
use crate::text::format_duration;

/// Where a source stands, and the verdict in words.
#[derive(Clone, Debug)]
pub struct Standing<'s> {
    pub status: &'s SourceStatus,
    pub words: String,
}

/// Where a system stands.
#[derive(Clone, Debug)]
pub struct Judged<'s> {
    pub sources: Vec<Standing<'s>>,
    pub retention: Option<&'s RetentionConcern>,
    pub drill: Option<&'s DrillConcern>,
    /// Recoveries that come near their RTO, by what drills took.
    pub forecasts: Vec<String>,
    /// Repositories that deleted what they are to lock.
    pub unlocked: Vec<String>,
}

/// Returns what is told of where a system stands. All of it was judged: what is not wrong is over.
pub fn status(policy: &Policy, judged: &Judged<'_>) -> Findings {
    let findings = Findings::default().concluded(Job::Status);
    let findings =
        judged.sources.iter().fold(findings, |findings, standing| of_source(findings, policy, standing));
    let findings = match judged.retention {
        None => findings.over(retention::KEY.to_owned(), "retention runs as it should"),
        Some(concern) => findings.firing(Notice {
            key: retention::KEY.to_owned(),
            event: retention::EVENT.to_owned(),
            severity: Severity::P3,
            source: None,
            headline: concern.message.clone(),
            impact: retention::IMPACT.to_owned(),
            action: retention::ACTION.to_owned(),
            run: None,
        }),
    };
    let findings = of_system(
        findings,
        &judged.forecasts,
        Notice {
            key: "rto".to_owned(),
            event: "rto.near".to_owned(),
            severity: Severity::P3,
            source: None,
            headline: format!("a recovery comes near its RTO: {}", joined(&judged.forecasts)),
            impact: format!("The RTO is {}.", format_duration(policy.objectives.rto)),
            action: "`drctl drill report` shows which phase takes how long".to_owned(),
            run: None,
        },
    );
    let findings = of_system(
        findings,
        &judged.unlocked,
        Notice {
            key: "lock".to_owned(),
            event: "lock.refuted".to_owned(),
            severity: Severity::P2,
            source: None,
            headline: joined(&judged.unlocked),
            impact: "An intruder with this host's credentials can delete the backups there.".to_owned(),
            action: "`drctl doctor` tries the lock; set object lock in the store".to_owned(),
            run: None,
        },
    );
    let Some(source) = policy.drill.as_ref().map(|drill| &drill.source) else { return findings };
    let key = drill::key(source);
    match judged.drill {
        // One that is not scheduled is never overdue, and what it found stands until the next one passes.
        None if policy.drill.as_ref().is_none_or(|drill| drill.schedule.is_empty()) => findings,
        None => findings.over(key, format!("drills of {source} take place and pass")),
        Some(concern) => findings.firing(Notice {
            key,
            event: if concern.is_overdue { "drill.overdue".to_owned() } else { drill::FAILED.to_owned() },
            severity: Severity::P2,
            source: Some(source.clone()),
            headline: format!("{source}: {}", concern.message),
            impact: "Whether a restore works inside the RTO is not proven.".to_owned(),
            action: "`drctl drill list` shows what was due; `drctl drill run` runs one".to_owned(),
            run: None,
        }),
    }
}

/// Adds a notice where there is a reason for it.
fn of_system(findings: Findings, reasons: &[String], notice: Notice) -> Findings {
    match reasons.is_empty() {
        true => findings.over(notice.key, "not so any more"),
        false => findings.firing(notice),
    }
}

fn of_source(findings: Findings, policy: &Policy, standing: &Standing<'_>) -> Findings {
    let status = standing.status;
    let source = &status.source;
    let key = format!("rpo/{source}");
    let Some(severity) = severity(status.verdict) else {
        return findings.over(key, format!("{source}: {}", standing.words));
    };
    findings.firing(Notice {
        key,
        event: format!("status.{}", status.verdict.as_str().replace(' ', "-")),
        severity,
        source: Some(source.clone()),
        headline: format!("{source}: {}: {}", status.verdict.as_str(), standing.words),
        impact: impact(policy, status),
        action: action(status.verdict).to_owned(),
        run: None,
    })
}

/// Returns how bad a verdict is; `None`: nothing is wrong. Data that is nearly as old as the RPO allows is normal before each
/// backup of a schedule that just meets it: `drctl status` ends with 0 then, too.
fn severity(verdict: ObjectiveVerdict) -> Option<Severity> {
    use ObjectiveVerdict as V;
    Some(match verdict {
        V::Ok | V::Late => return None,
        V::Behind
        | V::MissingCopy
        | V::BadCopy
        | V::NoMarker
        | V::Stalled
        | V::NotReached
        | V::WrongClock => Severity::P2,
        V::Gap
        | V::BadLog
        | V::Lost
        | V::DamagedPages
        | V::NoBase
        | V::ObjectiveMissed
        | V::OtherCluster
        | V::Nothing => Severity::P1,
    })
}

/// Returns what would be lost: with the source alone, and with each place where its backups are.
fn impact(policy: &Policy, status: &SourceStatus) -> String {
    let source = &status.source;
    let words = |seconds: u64| in_words(Duration::from_secs(seconds));
    let newest = status
        .places
        .iter()
        .filter_map(|place| Some((place.loses_seconds?, &place.location)))
        .min_by_key(|(loses, _)| *loses);
    let mut sentences = vec![match newest {
        None => format!("Nothing of {source} can be restored from anywhere that could be queried."),
        Some((loses, location)) => {
            format!("{} of {source} exist only in it: a restore now comes from {location}.", words(loses))
        }
    }];
    for lost in &status.if_lost {
        let place = &lost.location;
        match (lost.loses_seconds, &lost.left) {
            (Some(seconds), Some(left)) if newest.is_some_and(|(loses, _)| seconds > loses) => {
                let (all, more) = (words(seconds), newest.map_or(seconds, |(loses, _)| seconds - loses));
                sentences.push(format!(
                    "{} more exist only in {place}: lost with it, {left} is {all} behind.",
                    words(more)
                ));
            }
            (None, _) if newest.is_some() && lost.unknown.is_empty() => {
                sentences.push(format!("If {place} is lost, too, everything is."));
            }
            _ => {}
        }
    }
    sentences.push(format!("The RPO is {}.", format_duration(policy.objectives.rpo)));
    sentences.join(" ")
}

fn action(verdict: ObjectiveVerdict) -> &'static str {
    use ObjectiveVerdict as V;
    match verdict {
        V::Ok | V::Late | V::ObjectiveMissed | V::Nothing => {
            "`drctl status` shows what is behind; `drctl backup` takes a new backup, `drctl wal status` says what holds WAL up"
        }
        V::Behind | V::MissingCopy | V::BadCopy => {
            "`drctl copies sync` completes and repairs copies; `drctl verify` reads them again"
        }
        V::NoMarker | V::NotReached => "`drctl doctor` looks into each repository",
        V::WrongClock => "correct the clock that `drctl status` names",
        V::Stalled => {
            "`drctl wal status` shows what holds the WAL up, before the disk of the server is full of it"
        }
        V::Gap | V::BadLog | V::Lost => {
            "`drctl copies sync` takes the WAL from a copy that has it; where none has, take a new base backup now: `drctl backup --kind base`"
        }
        V::DamagedPages => {
            "take another base backup, `drctl backup --kind base`, and let `pg_amcheck` check the server"
        }
        V::NoBase => "`drctl backup --kind base` takes a base backup; `drctl doctor` checks what it needs",
        V::OtherCluster => {
            "`drctl status` says which cluster is which; `drctl backup` protects the one that is there now"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono::TimeDelta;

    use super::*;
    use crate::catalog::{BackupEntry, CopyEntry};
    use crate::model::AssuranceLevel;
    use crate::policy::parse;
    use crate::recoverability::assess::KnownRepository;
    use crate::repository::fixtures::{backup, noon};
    use crate::status::{StatusSurvey, assess};

    const POLICY: &str = include_str!("../../../policies/course-companion-fte.toml");

    /// Backups of these minutes after noon and the repositories that have them, 40 minutes after.
    fn told(backups: &[(i64, &[&str])]) -> Findings {
        let policy = parse(Path::new("shop.toml"), POLICY).unwrap();
        let copy = |name: &&str| CopyEntry {
            repository: name.parse().unwrap(),
            state: AssuranceLevel::Stored,
            vanished: None,
            last_check: None,
        };
        let entries = backups.iter().map(|(minutes, names)| BackupEntry {
            manifest: backup(*minutes).0,
            copies: names.iter().map(copy).collect(),
        });
        let entries: Vec<_> = entries.collect();
        let places =
            ["primary", "west"].map(|name| KnownRepository { name: name.parse().unwrap(), reached: true });
        let (source, now) = ("database".parse().unwrap(), noon() + TimeDelta::minutes(40));
        let rpo = policy.objectives.rpo;
        let standings = assess(&[source], &places, &entries, &StatusSurvey::default(), rpo, now);
        let sources = standings.iter().map(|status| Standing { status, words: "words".to_owned() });
        status(
            &policy,
            &Judged {
                sources: sources.collect(),
                retention: None,
                drill: None,
                forecasts: vec![],
                unlocked: vec![],
            },
        )
    }

    #[test]
    fn a_notice_says_what_exists_only_where() {
        let both: &[&str] = &["primary", "west"];
        let findings = told(&[(8, both)]);
        assert_eq!(findings.firing, []);
        assert!(findings.over.iter().any(|over| over.key == "rpo/database"));
        let findings = told(&[(0, both), (8, &["primary"])]);
        let [notice] = findings.firing.as_slice() else { panic!("{findings:?}") };
        assert_eq!((notice.key.as_str(), notice.severity), ("rpo/database", Severity::P2));
        assert_eq!(notice.event, "status.behind");
        assert_eq!(
            notice.impact,
            "32m of database exist only in it: a restore now comes from primary. \
             8m more exist only in primary: lost with it, west is 40m behind. The RPO is 1h."
        );
        let findings = told(&[]);
        let [notice] = findings.firing.as_slice() else { panic!("{findings:?}") };
        assert_eq!(notice.severity, Severity::P1);
        assert!(notice.impact.starts_with("Nothing of database can be restored"), "{}", notice.impact);
    }
}
