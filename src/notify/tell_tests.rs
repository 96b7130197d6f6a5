//! Channels are files here, and one that fails is a file in a directory that does not exist.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::fixtures::{noon, notice};
use super::route::repeated_after;
use super::{Findings, MessageState, Over, Teller, Told};
use crate::catalog::{Notice, ToldChange, ToldNotice};
use crate::platform::FixedClock;
use crate::policy::{Channel, Notify, NotifyRoute, Policy, Severity, parse};

const POLICY: &str = include_str!("../../policies/course-companion-fte.toml");
const NAMES: [&str; 3] = ["pager", "team", "mail"];

/// A host with three channels: P1 goes to the first two, P2 to the second, the others to the third.
struct Host {
    folder: tempfile::TempDir,
    policy: Policy,
    told: Vec<ToldNotice>,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut policy = parse(Path::new("shop.toml"), POLICY).unwrap();
        let channel = |name: &&str| Channel {
            name: (*name).to_owned(),
            route: NotifyRoute::File { path: folder.path().join(name) },
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        policy.notify = Notify {
            channels: NAMES.iter().map(channel).collect(),
            routes: [names(&["pager", "team"]), names(&["team"]), names(&["mail"]), names(&["mail"])],
            ..Notify::default()
        };
        Self { folder, policy, told: vec![] }
    }

    /// Lets channels fail, and the others work.
    fn failing(&mut self, failing: &[bool]) {
        for (channel, fails) in self.policy.notify.channels.iter_mut().zip(failing) {
            let folder = self.folder.path();
            let folder = if *fails { folder.join("missing") } else { folder.to_owned() };
            channel.route = NotifyRoute::File { path: folder.join(&channel.name) };
        }
    }

    async fn tell(&mut self, minute: i64, findings: Findings) -> Told {
        let clock = Arc::new(FixedClock::at(at(minute)));
        let outcome = Teller::new(&self.policy, clock).tell(&findings, &self.told).await;
        for change in &outcome.changes {
            let (channel, key) = match change {
                ToldChange::Keep(row) => (&row.channel, &row.notice.key),
                ToldChange::Forget { channel, key } => (channel, key),
            };
            self.told.retain(|row| row.channel != *channel || row.notice.key != *key);
            if let ToldChange::Keep(row) = change {
                self.told.push((**row).clone());
            }
        }
        outcome
    }

    /// Returns what a channel was sent so far: the state, and the headline.
    fn sent(&self, channel: &str) -> Vec<(String, String)> {
        let path: PathBuf = self.folder.path().join(channel);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let line = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            (word(&value["data"]["state"]), word(&value["data"]["headline"]))
        };
        text.lines().map(line).collect()
    }
}

fn at(minute: i64) -> DateTime<Utc> {
    noon() + TimeDelta::minutes(minute)
}

fn firing(notices: &[Notice]) -> Findings {
    Findings { firing: notices.to_vec(), over: vec![] }
}

fn over(keys: &[&str]) -> Findings {
    let over = |key: &&str| Over { key: (*key).to_owned(), headline: format!("{key} is good") };
    Findings { firing: vec![], over: keys.iter().map(over).collect() }
}

fn states(sent: &[(String, String)]) -> Vec<&str> {
    sent.iter().map(|(state, _)| state.as_str()).collect()
}

#[tokio::test]
async fn it_is_told_once_again_after_a_while_and_resolved_once() {
    let mut host = Host::new();
    let failed = notice("backup/database", Severity::P2);
    for minute in [0, 15, 239] {
        host.tell(minute, firing(std::slice::from_ref(&failed))).await;
    }
    assert_eq!(states(&host.sent("team")), ["firing"]);
    assert!(host.sent("pager").is_empty() && host.sent("mail").is_empty());
    // A run that finds nothing of it repeats it, too: nobody said that it is over.
    host.tell(240, Findings::default()).await;
    assert_eq!(states(&host.sent("team")), ["firing", "firing"]);
    for minute in [250, 260] {
        host.tell(minute, over(&["backup/database"])).await;
    }
    assert_eq!(states(&host.sent("team")), ["firing", "firing", "resolved"]);
    assert!(host.told.is_empty());
    // What was never told is not resolved.
    host.tell(270, over(&["verify/database"])).await;
    assert_eq!(host.sent("team").len(), 3);
}

#[tokio::test]
async fn what_gets_worse_is_told_to_those_who_are_told_of_it_and_what_gets_better_is_over_for_them() {
    let mut host = Host::new();
    host.tell(0, firing(&[notice("rpo/database", Severity::P2)])).await;
    host.tell(1, firing(&[notice("rpo/database", Severity::P1)])).await;
    assert_eq!(states(&host.sent("pager")), ["firing"]);
    assert_eq!(states(&host.sent("team")), ["firing", "firing"]);
    host.tell(2, firing(&[notice("rpo/database", Severity::P2)])).await;
    assert_eq!(states(&host.sent("pager")), ["firing", "resolved"]);
    assert_eq!(states(&host.sent("team")), ["firing", "firing"]);
    host.tell(3, over(&["rpo/database"])).await;
    assert_eq!(states(&host.sent("pager")), ["firing", "resolved"]);
    assert_eq!(states(&host.sent("team")), ["firing", "firing", "resolved"]);
}

#[tokio::test]
async fn where_no_channel_takes_it_the_next_is_told_and_the_first_again_by_the_next_run() {
    let mut host = Host::new();
    host.failing(&[true, true, false]);
    let failed = notice("rpo/database", Severity::P1);
    let outcome = host.tell(0, firing(std::slice::from_ref(&failed))).await;
    assert_eq!(outcome.failed.keys().collect::<Vec<_>>(), ["pager", "team"]);
    assert_eq!(outcome.undelivered, []);
    assert_eq!(states(&host.sent("mail")), ["firing"]);
    let concerns = crate::status::undelivered_concerns(&host.policy.notify, &host.told);
    assert_eq!(
        concerns.iter().map(|concern| concern.channel.as_str()).collect::<Vec<_>>(),
        ["pager", "team"]
    );
    assert!(concerns.iter().all(|concern| concern.reached_no_channel.is_empty()));
    // Again in vain: who was told in their place is left in peace.
    host.tell(1, firing(std::slice::from_ref(&failed))).await;
    assert_eq!(host.sent("mail").len(), 1);
    host.failing(&[false, false, false]);
    host.tell(2, firing(std::slice::from_ref(&failed))).await;
    assert_eq!((host.sent("pager").len(), host.sent("team").len(), host.sent("mail").len()), (1, 1, 1));
    assert_eq!(crate::status::undelivered_concerns(&host.policy.notify, &host.told), []);
    host.tell(3, over(&["rpo/database"])).await;
    for name in NAMES {
        assert_eq!(states(&host.sent(name)), ["firing", "resolved"], "{name}");
    }
}

#[tokio::test]
async fn what_nobody_took_is_reported_and_told_by_the_next_run_whatever_that_finds() {
    let mut host = Host::new();
    host.failing(&[true, true, true]);
    let failed = notice("backup/database", Severity::P2);
    let outcome = host.tell(0, firing(std::slice::from_ref(&failed))).await;
    assert_eq!(outcome.undelivered, [failed]);
    let concerns = crate::status::undelivered_concerns(&host.policy.notify, &host.told);
    assert!(concerns.iter().any(|concern| concern.reached_no_channel == ["backup/database"]), "{concerns:?}");
    host.failing(&[false, false, false]);
    host.tell(1, Findings::default()).await;
    assert_eq!(states(&host.sent("team")), ["firing"]);
    // What is over and was not taken is told by a later one, too.
    host.failing(&[true, true, true]);
    host.tell(2, over(&["backup/database"])).await;
    host.failing(&[false, false, false]);
    host.tell(3, Findings::default()).await;
    host.tell(4, Findings::default()).await;
    assert_eq!(states(&host.sent("team")), ["firing", "resolved"]);
}

#[tokio::test]
async fn a_storm_of_500_failures_is_one_message_and_one_when_it_is_over() {
    let mut host = Host::new();
    let all: Vec<Notice> = (0..500).map(|n| notice(&format!("backup/source-{n:03}"), Severity::P1)).collect();
    host.tell(0, firing(&all)).await;
    for name in ["pager", "team"] {
        let sent = host.sent(name);
        assert_eq!(sent.len(), 1, "{name}");
        assert!(sent[0].1.starts_with("500 failures"), "{sent:?}");
    }
    let keys: Vec<&str> = all.iter().map(|notice| notice.key.as_str()).collect();
    host.tell(1, over(&keys[..499])).await;
    assert_eq!(host.sent("pager").len(), 1);
    host.tell(2, over(&keys[499..])).await;
    host.tell(3, over(&keys)).await;
    assert_eq!(states(&host.sent("pager")), ["firing", "resolved"]);
    assert!(host.told.is_empty());
}

#[tokio::test]
async fn a_storm_over_500_runs_is_few_messages_and_none_of_it_is_lost() {
    let mut host = Host::new();
    // One failure each six seconds, in runs of their own.
    for n in 0..500 {
        host.tell(n / 10, firing(&[notice(&format!("backup/source-{n:03}"), Severity::P2)])).await;
    }
    let sent = host.sent("team");
    assert!(sent.len() <= 25, "{} messages", sent.len());
    host.tell(60, Findings::default()).await;
    assert!(host.told.iter().all(|row| row.told.is_some()), "something was never told");
    let keys: Vec<String> = (0..500).map(|n| format!("backup/source-{n:03}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let before = host.sent("team").len();
    host.tell(61, over(&keys)).await;
    assert!(host.sent("team").len() - before <= 2);
    assert!(host.told.is_empty());
}

#[tokio::test]
async fn what_a_person_says_is_told_each_time_and_by_the_next_channel_where_the_first_fails() {
    let mut host = Host::new();
    let said = notice("incident/7", Severity::P2);
    for _ in 0..2 {
        let teller = Teller::new(&host.policy, Arc::new(FixedClock::at(noon())));
        let outcome = teller.announce(&said, MessageState::Firing).await;
        assert!(outcome.changes.is_empty() && outcome.undelivered.is_empty());
    }
    assert_eq!(host.sent("team").len(), 2);
    host.failing(&[false, true, false]);
    let teller = Teller::new(&host.policy, Arc::new(FixedClock::at(noon())));
    teller.announce(&said, MessageState::Resolved).await;
    assert_eq!(states(&host.sent("mail")), ["resolved"]);
}

/// What a run finds of each of a few things: nothing, that it is wrong and how much, that it is good.
fn found() -> impl Strategy<Value = Vec<Option<Option<Severity>>>> {
    let severity = prop::sample::select(Severity::ALL.to_vec());
    prop::collection::vec(prop::option::of(prop::option::of(severity)), 9)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_ever_silent_nor_resolved_before_it_is_told(
        runs in prop::collection::vec((1..300_i64, found(), prop::array::uniform3(any::<bool>())), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut host = Host::new();
            let mut minute = 0;
            for (pause, found, failing) in runs {
                minute += pause;
                host.failing(&failing);
                let mut findings = Findings::default();
                for (n, found) in found.iter().enumerate() {
                    let key = format!("thing/{n}");
                    match found {
                        None => {}
                        Some(None) => findings.over.push(Over { key, headline: "good".to_owned() }),
                        Some(Some(severity)) => findings.firing.push(notice(&key, *severity)),
                    }
                }
                let outcome = host.tell(minute, findings.clone()).await;
                for notice in &findings.firing {
                    let rows: Vec<_> = host.told.iter().filter(|row| row.notice.key == notice.key).collect();
                    let is_recent = |told: DateTime<Utc>| at(minute) - told < repeated_after(notice.severity);
                    let was_told = rows.iter().any(|row| row.told.is_some_and(is_recent));
                    let is_reported = outcome.undelivered.contains(notice);
                    // A summary of many a moment ago, and the next run tells it.
                    let summary = format!("many/{}", notice.severity.as_str());
                    let is_held = rows.iter().any(|row| row.message == summary && row.failed.is_none())
                        && host.told.iter().any(|row| {
                            row.message == summary && row.told.is_some_and(|told| at(minute) - told < TimeDelta::minutes(5))
                        });
                    assert!(was_told || is_reported || is_held, "{notice:?} {rows:?}");
                    assert!(!rows.is_empty());
                }
                for notice in &outcome.undelivered {
                    let concerns = crate::status::undelivered_concerns(&host.policy.notify, &host.told);
                    assert!(concerns.iter().any(|concern| concern.notices.contains(&notice.key)), "{notice:?}");
                }
            }
            // Once all is good and every channel works, nothing is left, and each was resolved.
            host.failing(&[false; 3]);
            let keys: Vec<String> = (0..9).map(|n| format!("thing/{n}")).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            host.tell(minute + 1, over(&keys)).await;
            assert!(host.told.is_empty(), "{:?}", host.told);
            for name in NAMES {
                let sent = host.sent(name);
                if let Some((first, _)) = sent.first() {
                    assert_eq!(first, "firing", "{name}: {sent:?}");
                    assert_eq!(sent.last().unwrap().0, "resolved", "{name}: {sent:?}");
                }
            }
        });
    }
}
