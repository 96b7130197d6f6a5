use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use super::hosts::AllowedHosts;
use crate::monitor::{Watched, metrics_text, overview_page, system_page};
use crate::platform::Clock;
use crate::report::{content_policy, html_page};

/// A page is rendered again when it is older: its ages are those of when it was rendered.
const WRITTEN_FOR: TimeDelta = TimeDelta::seconds(5);

/// What the server shows: the snapshots that were collected last, and the pages that were written of them.
pub struct Site {
    pub(super) hosts: AllowedHosts,
    pub(super) content_policy: String,
    fresh_for: Duration,
    clock: Arc<dyn Clock>,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    /// By the position of its policy.
    watched: Vec<Watched>,
    /// No more than there are systems, and two.
    written: BTreeMap<SitePage, (DateTime<Utc>, Bytes)>,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SitePage {
    Start,
    Metrics,
    System(String),
}

impl Site {
    /// `names`: of the policies, before they are read. `fresh_for`: how long after a collection the next one is expected.
    pub fn new(names: &[String], hosts: AllowedHosts, fresh_for: Duration, clock: Arc<dyn Clock>) -> Self {
        let watched = |name: &String| Watched { name: name.clone(), snapshot: None, failed: None };
        let shown = Shown { watched: names.iter().map(watched).collect(), written: BTreeMap::new() };
        let content_policy =
            format!("{}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", content_policy());
        Self { hosts, content_policy, fresh_for, clock, shown: Mutex::new(shown) }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters what the collection of a policy came to. One that failed leaves the snapshot before it.
    pub fn enter(&self, position: usize, collected: Watched) {
        let mut shown = self.shown();
        let Some(known) = shown.watched.get_mut(position) else { return };
        match collected.snapshot {
            Some(_) => *known = collected,
            None => {
                // What is known by its system keeps that name.
                if known.snapshot.is_none() {
                    known.name = collected.name;
                }
                known.failed = collected.failed;
            }
        }
        shown.written.clear();
    }

    /// Returns a page; `None`: there is no such system.
    pub(super) fn page(&self, page: &SitePage) -> Option<Bytes> {
        let now = self.clock.now();
        let mut shown = self.shown();
        if let Some((at, bytes)) = shown.written.get(page)
            && (now - *at).abs() < WRITTEN_FOR
        {
            return Some(bytes.clone());
        }
        let bytes = Bytes::from(self.written(page, Watched::unique(shown.watched.clone()), now)?);
        shown.written.insert(page.clone(), (now, bytes.clone()));
        Some(bytes)
    }

    fn written(&self, page: &SitePage, watched: Vec<Watched>, now: DateTime<Utc>) -> Option<String> {
        match page {
            SitePage::Metrics => Some(metrics_text(&watched, self.fresh_for)),
            SitePage::Start => match watched.as_slice() {
                [only] => Some(html_page(&system_page(only, now))),
                all => {
                    Some(html_page(&overview_page(all, now, |name| format!("/systems/{}", encoded(name)))))
                }
            },
            SitePage::System(name) => {
                let one = watched.iter().find(|one| encoded(&one.name) == *name)?;
                Some(html_page(&system_page(one, now)))
            }
        }
    }
}

/// Returns a name as a segment of a path. That of a system is one already; that of a file may be anything.
fn encoded(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => segment.push(char::from(byte)),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}
