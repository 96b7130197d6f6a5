use std::path::Path;

use chrono::{DateTime, Utc};

use super::{DrillReport, Page, SystemDrills, drill_page, html_page, markdown, population_page};
use crate::drill::evidence::{DrillHistory, StoredDrill};
use crate::drill::forecast::{DrillPath, forecast};
use crate::drill::integrity::{RepositoryDrills, combine};
use crate::drill::passed;
use crate::drill::population::{DrillSchedule, GRACE_IN_WORDS, PopulationQuery, population};
use crate::drill::{Acknowledgement, DrillRecord, Period, PreviousDrill, Trigger, VerdictReason};
use crate::model::{Cause, Judgement, RunId, Sha256Hex};
use crate::policy::{Policy, parse};

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn made_at() -> DateTime<Utc> {
    time("2026-11-20T09:30:00Z")
}

/// A drill that began then, of the schedule's time or of none, with so many MiB.
fn drill(begun: &str, occurrence: Option<&str>, mib: u64) -> DrillRecord {
    let mut record = passed();
    let by = time(begun) - record.begun;
    record.begun += by;
    record.ended += by;
    record.sample.recovery_point = record.sample.recovery_point.map(|at| at + by);
    record.results.reference = record.results.reference.map(|at| at + by);
    record.results.restored_until = record.results.restored_until.map(|at| at + by);
    record.identity.drill = RunId::new(record.begun, 7);
    record.identity.occurrence = occurrence.map(time);
    let trigger = if occurrence.is_some() { Trigger::Schedule } else { Trigger::Manual };
    record.identity.trigger = trigger;
    record.sample.artifacts[0].bytes = mib << 20;
    let scale = mib as f64 / 5_120.0;
    for phase in record.phases.iter_mut().filter(|phase| phase.bytes.is_some()) {
        phase.seconds *= scale;
        phase.bytes = phase.bytes.map(|bytes| (bytes as f64 * scale) as u64);
    }
    let counted = record.phases.iter().filter(|phase| phase.counts);
    record.results.rto_seconds = Some(counted.map(|phase| phase.seconds).sum());
    record
}

/// A drill whose backup could not be loaded.
fn failed(begun: &str, occurrence: &str) -> DrillRecord {
    let mut record = drill(begun, Some(occurrence), 4_500);
    record.verdict.outcome = Judgement::Fail;
    record.verdict.cause = Some(Cause::Backup);
    record.verdict.code = Some("not-loaded".to_owned());
    record.verdict.sentence = "The backup cannot be loaded: table `a|b` is <broken>.".to_owned();
    record.verdict.reasons = vec![VerdictReason {
        cause: Cause::Backup,
        code: "not-loaded".to_owned(),
        message: "pg_restore: error: <b>table</b> `a|b`\nis broken".to_owned(),
    }];
    record.results.rto_seconds = None;
    record.results.rpo_seconds = None;
    record.results.checks.clear();
    record.phases.retain(|phase| !matches!(phase.phase.as_str(), "checks" | "cut-over"));
    record.cleanup.is_complete = false;
    record.cleanup.left = vec!["directory `/var/lib/drctl/drills/x`".to_owned()];
    record.deviations = vec!["No one had to decide.".to_owned()];
    record.findings = vec!["The backup of 2026-09-01 is the newest and does not load.".to_owned()];
    record.environment.isolation = Some("unverified".to_owned());
    record
}

/// July in time, August late and once more, September failed, October missed, November in time and seen.
fn history() -> DrillHistory {
    let records = [
        drill("2026-07-01T05:00:10Z", Some("2026-07-01T05:00:00Z"), 4_000),
        drill("2026-08-03T07:00:00Z", Some("2026-08-01T05:00:00Z"), 4_300),
        drill("2026-08-20T14:00:00Z", None, 4_400),
        failed("2026-09-01T05:00:10Z", "2026-09-01T05:00:00Z"),
        drill("2026-11-01T05:00:10Z", Some("2026-11-01T05:00:00Z"), 5_120),
    ];
    let mut history = DrillHistory::default();
    for mut record in records {
        record.identity.previous = history
            .drills
            .last()
            .map(|last| PreviousDrill { drill: last.record.identity.drill.clone(), sha256: last.sha256 });
        let bytes: bytes::Bytes = serde_json::to_vec(&record).unwrap().into();
        let sha256 = Sha256Hex::digest(&bytes);
        history.drills.push(StoredDrill {
            record,
            bytes,
            sha256,
            matches_digest: true,
            acknowledgement: None,
        });
    }
    let last = history.drills.last_mut().unwrap();
    last.acknowledgement = Some(Acknowledgement {
        drill: last.record.identity.drill.clone(),
        sha256: last.sha256,
        by: "Ann Smith".to_owned(),
        note: "OPS-1204: forecast is fine".to_owned(),
        at: time("2026-11-02T08:00:00Z"),
    });
    history
}

fn page_of(history: &DrillHistory, n: usize, damage: Vec<String>) -> Page {
    let drill = &history.drills[n];
    let path = DrillPath::of(&drill.record).unwrap();
    let records = history.drills.iter().map(|drill| &drill.record);
    drill_page(&DrillReport {
        drill,
        damage,
        key: format!("shop/journal/drills/{}.json", drill.record.identity.drill),
        repositories: vec!["primary".parse().unwrap(), "us-west-2".parse().unwrap()],
        past: history.drills[..=n].iter().collect(),
        forecast: Some(forecast(records, &path, 14_400.0, made_at())),
        made_at: made_at(),
    })
}

fn policy() -> Policy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/template.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let monthly = text.replace("schedule = \"0 5 * * 0\"", "schedule = \"0 5 1 * *\"");
    assert_ne!(text, monthly);
    parse(Path::new("shop.toml"), &monthly).unwrap()
}

fn system(name: &str, history: DrillHistory, unread: &[(&str, &str)]) -> SystemDrills {
    let policy = policy();
    let drill = policy.drill.as_ref().unwrap();
    let zone = policy.schedule.timezone;
    let schedule = DrillSchedule { source: &drill.source, lines: &drill.schedule, zone };
    let period = Period::of_months("2026-07".parse().unwrap(), "2026-12".parse().unwrap(), zone).unwrap();
    let query = PopulationQuery {
        system: name.parse().unwrap(),
        source: drill.source.clone(),
        policy: "shop.toml".to_owned(),
        policy_sha256: Some(Sha256Hex::digest(b"policy")),
        schedule: drill.schedule.iter().map(|line| line.as_str().to_owned()).collect(),
        timezone: zone.name().to_owned(),
        period,
        grace: GRACE_IN_WORDS,
        asked_at: made_at(),
        first_backup: None,
        repositories: vec![("primary".parse().unwrap(), history.drills.len())],
        unread: unread.iter().map(|(name, reason)| (name.parse().unwrap(), (*reason).to_owned())).collect(),
    };
    let read = RepositoryDrills { repository: "primary".parse().unwrap(), history, unreadable: vec![] };
    let evidence = combine(&[read], &[], unread.is_empty());
    let records: Vec<&DrillRecord> = evidence.history.drills.iter().map(|drill| &drill.record).collect();
    let path = records.first().and_then(|record| DrillPath::of(record));
    let forecasts = path
        .into_iter()
        .map(|path| (path.clone(), forecast(records.iter().copied(), &path, 14_400.0, made_at())))
        .collect();
    SystemDrills {
        population: population(query, &schedule, &evidence.history, made_at()),
        history: evidence.history,
        damage: evidence.damage,
        forecasts,
    }
}

/// HTML with its elements on lines of their own, and without the style, which is not data.
fn source(page: &Page) -> String {
    let html = html_page(page);
    let (head, rest) = html.split_once("<style>").unwrap();
    let (_, tail) = rest.split_once("</style>").unwrap();
    format!("{head}<style></style>{tail}").replace("><", ">\n<")
}

fn assert_both(name: &str, page: &Page) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"Made by drctl \S+", "Made by drctl [version]");
    settings.bind(|| {
        insta::assert_snapshot!(format!("{name}.md"), markdown(page));
        insta::assert_snapshot!(format!("{name}.html"), source(page));
    });
}

#[test]
fn a_drill_that_passed() {
    assert_both("passed", &page_of(&history(), 4, vec![]));
}

#[test]
fn a_drill_that_failed() {
    assert_both("failed", &page_of(&history(), 3, vec![]));
}

#[test]
fn a_record_that_does_not_hold_is_not_taken_for_one_that_passed() {
    let page = page_of(&history(), 4, vec!["the record of drill x does not match its digest".to_owned()]);
    assert_eq!(page.verdict.word, "Not evidence");
    assert!(
        markdown(&page).contains("**Not evidence.** This page cannot be relied on: the record of drill x")
    );
}

#[test]
fn what_was_due() {
    assert_both("population", &population_page(&[system("shop", history(), &[])], made_at()));
}

#[test]
fn several_systems_are_on_one_page() {
    let quiet = system("blog", DrillHistory::default(), &[("us-west-2", "timed out")]);
    let page = population_page(&[system("shop", history(), &[]), quiet], made_at());
    let text = markdown(&page);
    for words in [
        "2 systems · July to December 2026",
        "| shop | 2 | 1 | 1 | 0 | 1 | 0 |",
        "| blog | 0 | 0 | 0 | 0 | 5 | 0 |",
        "## blog: What was due",
        "Not every repository was read",
        "**Not read: us-west-2:** timed out",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn records_that_were_changed_come_first() {
    let mut changed = history();
    changed.drills[0].matches_digest = false;
    changed.drills.remove(1);
    let page = population_page(&[system("shop", changed, &[])], made_at());
    assert_eq!(page.verdict.word, "Evidence damaged");
    assert_eq!(page.sections[1].title, "Records that do not hold");
    let text = markdown(&page);
    assert!(
        text.contains("does not match its digest") && text.contains("there is no record of drill"),
        "{text}"
    );
}

#[test]
fn no_page_claims_more_than_was_done() {
    let pages =
        [page_of(&history(), 4, vec![]), population_page(&[system("shop", history(), &[])], made_at())];
    for page in pages {
        let text = format!("{}{}", markdown(&page), html_page(&page)).to_lowercase();
        for word in ["continuous", "compliant", "compliance", "certif", "soc 2", "iso 27001", "guarantee"] {
            assert!(!text.contains(word), "{word}");
        }
        assert!(page.verdict.sentence.ends_with(['.', ';']));
    }
}
