//! A run is killed after any entry, and resumed from the entries alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::chain::Merged;
use super::incident::{Delivery, IncidentEvent, IncidentId, Opening, StoredEntry};
use super::lead::{Led, Means, NoReply, Operator, Question, QuestionKind, Reply, lead};
use super::model::Runbook;
use super::next::{StepState, states};
use super::parse::parse;
use super::store::{Appended, IncidentError, Incidents, Recorder};
use crate::platform::{CancellationToken, SystemClock};
use crate::policy::Severity;
use crate::repository::Repositories;
use crate::repository::fixtures::{repositories, system};
use crate::runbook::Announcer;

const TEXT: &str = r#"# Test

```toml runbook
severity = "p2"
trigger = "x"
takes = "1m"

[parameters]
file = { description = "where steps leave a trace", example = "/tmp/x" }
```

## Recovery

### One

```sh step=one
echo one >>"$FILE"
```

**Expect:** exit 0
**If not:** x

### Way

```text step=way decision=left|right
Which?
```

**Expect:** x

### Left

```sh step=left when=way:left
echo left >>"$FILE"
```

**Expect:** exit 0
**If not:** x

### Right

```sh step=right when=way:right
echo right >>"$FILE"; exit 7
```

**Expect:** exit 0 or 7
**If not:** x

### Production

```sh step=production changes=production
echo production >>"$FILE"
```

**Expect:** exit 0
**If not:** x

### Tell

```text step=tell tell=p2
$SYSTEM went $WAY.
```

**Expect:** x

### Hands

```text step=hands manual
Do it.
```

**Expect:** x

### Bad

```sh step=bad
echo bad >>"$FILE"; echo "password=hunter$((11 + 11))"; exit 3
```

**Expect:** exit 0
**If not:** x
"#;

/// Answers as it is told, and notes what it was asked.
#[derive(Default)]
struct Scripted {
    asked: Vec<String>,
    /// Nothing is answered any more after so many questions.
    leaves_after: Option<usize>,
}

#[async_trait]
impl Operator for Scripted {
    async fn ask(&mut self, question: &Question<'_>) -> Result<Reply, NoReply> {
        if self.leaves_after == Some(self.asked.len()) {
            return Err(NoReply::NoOperator);
        }
        self.asked.push(question.step.name.clone());
        Ok(match (&question.kind, question.step.name.as_str()) {
            (QuestionKind::Do, "way") => Reply::Answer { answer: "right".into(), why: "because".into() },
            (QuestionKind::Do, "hands") => Reply::Done { note: "done".into() },
            (QuestionKind::Do, _) => Reply::Run,
            (QuestionKind::Unfinished { .. }, _) => Reply::Done { note: "it had ended".into() },
            (QuestionKind::Unexpected(_), _) => Reply::Done { note: "it counts".into() },
        })
    }

    fn begins(&mut self, _: &Question<'_>) {}
    fn ended(&mut self, _: &IncidentEvent) {}
    fn not_recorded(&mut self, _: &Appended) {}
}

struct Loud;

#[async_trait]
impl Announcer for Loud {
    async fn announce(&self, _: Severity, subject: &str, _: &str) -> Vec<Delivery> {
        vec![Delivery { channel: subject.to_owned(), is_delivered: true, reason: String::new() }]
    }
}

fn runbook() -> Runbook {
    let (runbook, faults) = parse("test", "test.md", TEXT);
    assert_eq!(faults, []);
    runbook.unwrap()
}

fn means(assume_yes: bool) -> Means<'static> {
    Means {
        announcer: &Loud,
        clock: &SystemClock,
        cancel: CancellationToken::new(),
        assume_yes,
        policy: PathBuf::from("/etc/drctl/policy.toml"),
        drctl: PathBuf::from("/usr/bin/drctl"),
        on_line: Arc::new(|_: &str| {}),
    }
}

fn recorder(set: &Repositories, id: &IncidentId, known: Option<&Merged>, spool: &Path) -> Recorder<'static> {
    Recorder::new(set, &system(), id, known, spool, ("ann", "host"), &SystemClock)
}

fn id() -> IncidentId {
    IncidentId::new("2026-11-30T03:00:00Z".parse().unwrap(), 7)
}

fn opening(runbook: &Runbook, trace: &Path, is_rehearsal: bool) -> IncidentEvent {
    IncidentEvent::Opened(Box::new(Opening {
        system: system(),
        runbook: runbook.name.clone(),
        file: runbook.file.clone(),
        sha256: runbook.sha256,
        text: runbook.text.clone(),
        parameters: [("file".to_owned(), trace.display().to_string())].into(),
        is_rehearsal,
        since: "2026-11-30T03:00:00Z".parse().unwrap(),
        rto_seconds: 60,
        rpo_seconds: 60,
        drctl_version: "0".into(),
    }))
}

fn trace(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

async fn read(set: &Repositories, spool: &Path) -> Merged {
    let incidents = Incidents::read(set, &system(), spool).await;
    assert!(incidents.unread.is_empty(), "{:?}", incidents.unread);
    incidents.all.into_values().next().unwrap()
}

#[tokio::test]
async fn a_run_that_was_killed_after_any_entry_reaches_the_same_end_and_runs_nothing_twice() {
    let root = tempfile::tempdir().unwrap();
    let runbook = runbook();
    let set = repositories(root.path(), &["primary", "west"]).await;
    let (log, spool) = (root.path().join("log"), root.path().join("state"));
    let mut first = recorder(&set, &id(), None, &spool);
    first.append(opening(&runbook, &log, false)).await.unwrap();
    let mut operator = Scripted::default();
    let led = lead(&mut first, &runbook, &mut operator, &means(false)).await.unwrap();
    assert_eq!(led, Led::Closed { skipped: 0 });
    assert_eq!(trace(&log), ["one", "right", "production", "bad"]);
    assert_eq!(operator.asked, ["one", "way", "right", "production", "tell", "hands", "bad", "bad"]);
    let whole = read(&set, &spool).await;
    assert!(whole.damage.is_empty(), "{:?}", whole.damage);
    let end = states(&runbook, &whole.incident(&id()));
    let left: Vec<_> = end.iter().filter(|(_, state)| *state == StepState::NotApplicable).collect();
    assert!(left.len() == 1 && left[0].0.name == "left");
    let text: String = whole.entries.iter().map(|one| String::from_utf8_lossy(&one.bytes)).collect();
    assert!(
        !text.contains("hunter22") && text.contains("password=[hidden]") && text.contains("shop went right.")
    );

    for kept in 1..whole.entries.len() {
        // Another host: the repositories have what there was, and its own directory nothing.
        let folder = root.path().join(format!("after-{kept}"));
        std::fs::create_dir(&folder).unwrap();
        let set = repositories(&folder, &["primary", "west"]).await;
        let (log, spool) = (root.path().join("log"), folder.join("state"));
        let prefix: &[StoredEntry] = &whole.entries[..kept];
        let known = Merged { entries: prefix.to_vec(), damage: vec![] };
        std::fs::remove_file(&log).unwrap();
        let began = |name: &str| {
            prefix.iter().any(|one| {
                matches!(&one.entry.event, IncidentEvent::Began { step, command: Some(_) } if step == name)
            })
        };
        let mut second = recorder(&set, &id(), Some(&known), &spool);
        second.append(IncidentEvent::Resumed { from: None }).await.unwrap();
        let led = lead(&mut second, &runbook, &mut Scripted::default(), &means(false)).await.unwrap();
        assert_eq!(led, Led::Closed { skipped: 0 }, "after {kept}");
        let resumed = read(&set, &spool).await;
        assert!(resumed.damage.is_empty(), "after {kept}: {:?}", resumed.damage);
        assert_eq!(states(&runbook, &resumed.incident(&id())), end, "after {kept}");
        let expected: Vec<&str> =
            ["one", "right", "production", "bad"].into_iter().filter(|name| !began(name)).collect();
        let ran = trace(&log);
        assert_eq!(ran, expected, "after {kept}: what began is not run by itself");
        std::fs::write(&log, "").unwrap();
    }
}

#[tokio::test]
async fn yes_runs_neither_production_nor_what_people_do() {
    let root = tempfile::tempdir().unwrap();
    let runbook = runbook();
    let set = repositories(root.path(), &["primary"]).await;
    let (log, spool) = (root.path().join("log"), root.path().join("state"));
    let mut recorder = recorder(&set, &id(), None, &spool);
    recorder.append(opening(&runbook, &log, false)).await.unwrap();
    let mut operator = Scripted { leaves_after: Some(0), ..Scripted::default() };
    let led = lead(&mut recorder, &runbook, &mut operator, &means(true)).await.unwrap();
    assert_eq!((led, trace(&log)), (Led::NoOperator { step: "way".into() }, vec!["one".to_owned()]));
    let mut operator = Scripted { leaves_after: Some(1), ..Scripted::default() };
    let led = lead(&mut recorder, &runbook, &mut operator, &means(true)).await.unwrap();
    assert_eq!(led, Led::NoOperator { step: "production".into() });
    assert_eq!(trace(&log), ["one", "right"]);
}

#[tokio::test]
async fn a_rehearsal_touches_no_production_and_sends_nothing() {
    let root = tempfile::tempdir().unwrap();
    let runbook = runbook();
    let set = repositories(root.path(), &["primary"]).await;
    let (log, spool) = (root.path().join("log"), root.path().join("state"));
    let mut recorder = recorder(&set, &id(), None, &spool);
    recorder.append(opening(&runbook, &log, true)).await.unwrap();
    let mut operator = Scripted::default();
    lead(&mut recorder, &runbook, &mut operator, &means(true)).await.unwrap();
    assert_eq!(trace(&log), ["one", "right", "bad"]);
    let incident = recorder.incident();
    let rehearsed = incident.entries.iter().filter_map(|entry| match &entry.event {
        IncidentEvent::Rehearsed { step, .. } => Some(step.as_str()),
        IncidentEvent::Told { .. } => Some("told"),
        _ => None,
    });
    assert_eq!(rehearsed.collect::<Vec<_>>(), ["production", "tell"]);
    assert_eq!(operator.asked, ["way", "hands", "bad"]);
}

#[tokio::test]
async fn a_repository_that_is_away_does_not_hold_it_up_and_is_completed() {
    let root = tempfile::tempdir().unwrap();
    let runbook = runbook();
    let set = repositories(root.path(), &["primary", "west"]).await;
    let (log, spool) = (root.path().join("log"), root.path().join("state"));
    let away = root.path().join("away");
    std::fs::rename(root.path().join("west"), &away).unwrap();
    let mut first = recorder(&set, &id(), None, &spool);
    let appended = first.append(opening(&runbook, &log, false)).await.unwrap();
    assert_eq!((appended.stored, appended.missing.len()), (1, 1));
    // All of them: this host has it.
    std::fs::rename(root.path().join("primary"), root.path().join("gone")).unwrap();
    let appended = first.append(IncidentEvent::Paused { why: "x".into() }).await.unwrap();
    assert_eq!(appended.stored, 0);
    std::fs::rename(root.path().join("gone"), root.path().join("primary")).unwrap();
    std::fs::rename(away, root.path().join("west")).unwrap();
    let known = read(&set, &spool).await;
    assert_eq!(known.entries.len(), 2);
    let mut second = recorder(&set, &id(), Some(&known), &spool);
    let appended = second.append(IncidentEvent::Resumed { from: None }).await.unwrap();
    assert_eq!((appended.stored, appended.missing.len()), (2, 0));
    assert_eq!(read(&set, Path::new("/nonexistent")).await.entries.len(), 3);
}

#[tokio::test]
async fn two_leaders_at_once_are_noticed() {
    let root = tempfile::tempdir().unwrap();
    let runbook = runbook();
    let set = repositories(root.path(), &["primary"]).await;
    let (log, spool) = (root.path().join("log"), root.path().join("state"));
    let mut first = recorder(&set, &id(), None, &spool);
    first.append(opening(&runbook, &log, false)).await.unwrap();
    let known = read(&set, &spool).await;
    let mut second = recorder(&set, &id(), Some(&known), &root.path().join("other"));
    second.append(IncidentEvent::Resumed { from: None }).await.unwrap();
    let refused = first.append(IncidentEvent::Paused { why: "x".into() }).await.unwrap_err();
    assert!(matches!(refused, IncidentError::OtherLeader { .. }), "{refused}");
}
