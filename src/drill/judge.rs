//! The verdict of a drill. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::record::{DrillVerdict, VerdictReason};
use crate::model::{BackupKind, Cause, Judgement, Verdict};
use crate::repository::CLOCK_TOLERANCE;
use crate::text::{format_duration, format_size};

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
        cause: reason.cause,
        code: reason.code.to_owned(),
        message: reason.message.clone(),
    };
    DrillVerdict {
        outcome: worst,
        cause: first.map(|reason| reason.cause),
        code: first.map(|reason| reason.code.to_owned()),
        sentence: capitalized(&one_line(&sentence)),
        reasons: reasons.into_iter().map(reason).collect(),
    }
}

/// Returns whether a dump may fit, and adds that it does not. `size`: the bytes of the database where it was dumped, of
/// which a reload may need half, without dead rows and half-empty pages. The dump's own bytes say little: they are text,
/// and a database compresses long values.
pub(super) fn judge_room(verdict: &mut Verdict, size: u64, free: Option<u64>) -> bool {
    let Some(free) = free.filter(|free| size / 2 > *free) else { return true };
    let (size, free) = (format_size(size), format_size(free));
    let message = format!("the database had {size}, and {free} is free where the sandbox is");
    verdict.add(Judgement::Undetermined, Cause::Environment, "no-disk", message);
    false
}

/// Returns a note that a dump may not fit whose database is of unknown size. `plain`: its bytes; as text, data is at most
/// about twice as large as in a database.
pub(super) fn note_room(plain: Option<u64>, free: Option<u64>) -> Option<String> {
    let (plain, free) = plain.zip(free).filter(|(plain, free)| plain / 2 > *free)?;
    let (plain, free) = (format_size(plain), format_size(free));
    Some(format!("the dump has {plain} as text, and {free} was free where the sandbox is: it may not fit"))
}

/// Adds that nobody could log in, and returns whether the application can use what was restored: somebody could, and no
/// check found it wanting.
pub(super) fn judge_usable(verdict: &mut Verdict, role: &str, has_login: bool, is_interrupted: bool) -> bool {
    if !has_login && !is_interrupted {
        let message = format!("no login as role `{role}` succeeded");
        verdict.add(Judgement::Undetermined, Cause::Environment, "no-login", message);
    }
    has_login && !is_interrupted && verdict.outcome != Judgement::Fail
}

/// How far the data goes that came back, and what that is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct RestoredReach<'a> {
    pub(super) kind: BackupKind,
    /// Everything committed before it came back; `None`: unknown.
    pub(super) until: Option<DateTime<Utc>>,
    /// The moment of the disaster that is assumed.
    pub(super) begun: DateTime<Utc>,
    /// Why a repository's WAL was not listed, where one was not.
    pub(super) wal_unread: Option<&'a str>,
}

/// Returns until when the data goes, and how that is known; adds why what would have been lost cannot be known.
pub(super) fn judge_loss(
    verdict: &mut Verdict,
    reach: &RestoredReach<'_>,
) -> (Option<DateTime<Utc>>, Option<&'static str>) {
    let mut unknown = |code, message: String| {
        verdict.add(Judgement::Undetermined, Cause::Environment, code, message);
    };
    match (reach.until, reach.wal_unread) {
        // A clock that is behind makes every loss look smaller.
        (Some(until), _) if until > reach.begun + CLOCK_TOLERANCE => {
            let message = "this host's clock is behind that of the database: what would be lost is not known";
            unknown("clock", message.to_owned());
            return (None, None);
        }
        // Its WAL may lead farther than the dump.
        (_, Some(why)) if reach.kind == BackupKind::Logical => {
            unknown("wal-not-listed", format!("what would be lost is not known: {why}"));
            return (None, None);
        }
        (None, _) => {
            let message = "it is not known until when the data goes, and so not what would be lost";
            unknown("rpo-unknown", message.to_owned());
        }
        (Some(_), _) => {}
    }
    let method = match reach.kind {
        BackupKind::Logical => "from the snapshot of the dump to the start of the drill",
        _ => {
            "from the newest commit that base backup and WAL give back, or the time before which all are there, to the start of the drill"
        }
    };
    (reach.until, Some(method))
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
        assert_eq!((verdict.outcome, verdict.cause), (Judgement::Fail, Some(Cause::Objective)));
        assert_eq!(verdict.code.as_deref(), Some("rto-missed"));
        assert_eq!(verdict.reasons.len(), 2);
    }

    #[test]
    fn the_backups_fault_is_told_before_any_other_and_the_hosts_is_never_a_failure() {
        let mut findings = findings();
        findings.verdict.add(Judgement::Undetermined, Cause::Environment, "no-disk", "there is no room");
        let verdict = judge(findings.clone());
        assert_eq!((verdict.outcome, verdict.cause), (Judgement::Undetermined, Some(Cause::Environment)));
        assert!(verdict.sentence.contains("tells nothing of the backup"), "{}", verdict.sentence);
        findings.verdict.add(Judgement::Fail, Cause::Backup, "check-failed", "there are no tasks");
        findings.rto = Some(99_999.0);
        let verdict = judge(findings);
        assert_eq!((verdict.outcome, verdict.code.as_deref()), (Judgement::Fail, Some("check-failed")));
        assert!(verdict.sentence.contains("there are no tasks"), "{}", verdict.sentence);
    }

    #[test]
    fn a_dump_that_cannot_fit_is_not_tried_and_not_blamed() {
        let judged = |size, free| {
            let mut verdict = Verdict::default();
            (judge_room(&mut verdict, size, free), verdict)
        };
        // The room is not known, it fits, and without dead rows it may.
        for (size, free) in [(9 << 30, None), (40 << 30, Some(100 << 30)), (200, Some(100))] {
            assert_eq!(judged(size, free), (true, Verdict::default()));
        }
        // The text alone refuses nothing.
        assert!(note_room(Some(300 << 30), Some(100 << 30)).is_some_and(|note| note.contains("300.0 GiB")));
        for (plain, free) in [(None, Some(0)), (Some(9), None), (Some(200), Some(100))] {
            assert_eq!(note_room(plain, free), None);
        }
        let (fits, verdict) = judged(300 << 30, Some(100 << 30));
        let judged = judge(Findings { verdict, rto: None, rpo: None, ..findings() });
        assert_eq!(
            (fits, judged.outcome, judged.cause),
            (false, Judgement::Undetermined, Some(Cause::Environment))
        );
        assert_eq!(judged.code.as_deref(), Some("no-disk"));
        assert!(
            judged.sentence.contains("300.0 GiB") && judged.sentence.contains("100.0 GiB"),
            "{}",
            judged.sentence
        );
    }

    #[test]
    fn what_nobody_logs_in_to_is_not_usable_and_not_the_backups_fault() {
        let mut verdict = Verdict::default();
        assert!(judge_usable(&mut verdict, "app", true, false) && verdict.has_passed());
        assert!(!judge_usable(&mut verdict, "app", false, true) && verdict.has_passed());
        assert!(!judge_usable(&mut verdict, "app", false, false));
        // Without an RTO, since nothing was usable.
        let judged = judge(Findings { verdict, rto: None, ..findings() });
        assert_eq!((judged.outcome, judged.cause), (Judgement::Undetermined, Some(Cause::Environment)));
        assert_eq!(judged.code.as_deref(), Some("no-login"));
        assert!(judged.sentence.contains("role `app`"), "{}", judged.sentence);
        let mut failed = Verdict::default();
        failed.add(Judgement::Fail, Cause::Backup, "check-failed", "there are no tasks");
        assert!(!judge_usable(&mut failed, "app", true, false));
    }

    #[test]
    fn a_loss_that_is_not_known_is_never_a_pass() {
        let begun: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
        let reach = RestoredReach { kind: BackupKind::Base, until: Some(begun), begun, wal_unread: None };
        let judged = |reach: RestoredReach<'_>| {
            let mut verdict = Verdict::default();
            let (until, method) = judge_loss(&mut verdict, &reach);
            let rpo = until.map(|_| 0.0);
            let judged = judge(Findings { verdict, rpo, ..findings() });
            (judged.outcome, judged.code.unwrap_or_default(), until.is_some(), method.is_some())
        };
        assert_eq!(judged(reach), (Judgement::Pass, String::new(), true, true));
        let unknown = |code: &str, has_method| (Judgement::Undetermined, code.to_owned(), false, has_method);
        assert_eq!(judged(RestoredReach { until: None, ..reach }), unknown("rpo-unknown", true));
        let later = begun + CLOCK_TOLERANCE + chrono::TimeDelta::seconds(1);
        assert_eq!(judged(RestoredReach { until: Some(later), ..reach }), unknown("clock", false));
        let dump =
            RestoredReach { kind: BackupKind::Logical, wal_unread: Some("the WAL was not read"), ..reach };
        assert_eq!(judged(dump), unknown("wal-not-listed", false));
        // Of a base backup, what was replayed tells.
        let base = RestoredReach { kind: BackupKind::Base, ..dump };
        assert_eq!(judged(base).0, Judgement::Pass);
    }
}
