//! What each channel is sent, given what it was told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use super::findings::Findings;
use super::message::{Message, MessageState};
use crate::catalog::{Notice, ToldNotice};
use crate::model::SystemName;
use crate::policy::{Channel, Notify, Severity};

/// Messages of one kind to one channel by one run; more become one summary.
const AT_ONCE: usize = 5;
/// Messages to one channel within [`STORM`]; what comes after them becomes a summary.
const IN_A_STORM: usize = 10;
const STORM: TimeDelta = TimeDelta::minutes(10);
/// How soon after a summary another one may follow on a channel that does not replace the one before.
const PAUSE: TimeDelta = TimeDelta::minutes(5);
/// What the keys of summaries begin with.
const SUMMARY: &str = "many/";
/// The lines of a summary; `drctl status` shows all.
const LINES: usize = 10;

/// A message to a channel, and the notices that it tells.
#[derive(Clone, Debug)]
pub struct Delivery<'p> {
    pub channel: &'p Channel,
    /// `None`: a summary told a moment ago that there are many, and the next run tells these.
    pub message: Option<Message>,
    pub notices: Vec<Notice>,
    pub is_over: bool,
}

/// Who tells, and when.
#[derive(Clone, Debug)]
pub struct Sender {
    pub system: SystemName,
    pub host: String,
    pub link: Option<Url>,
    pub now: DateTime<Utc>,
}

/// Returns after how long something that is not over is told again.
pub fn repeated_after(severity: Severity) -> TimeDelta {
    match severity {
        Severity::P1 => TimeDelta::hours(1),
        Severity::P2 => TimeDelta::hours(4),
        Severity::P3 => TimeDelta::days(1),
        Severity::P4 => TimeDelta::days(7),
    }
}

/// Returns what is sent to each channel: what was found, and what earlier runs found that is not over and is due again.
pub fn route<'p>(
    notify: &'p Notify,
    sender: &Sender,
    findings: &Findings,
    told: &[ToldNotice],
) -> Vec<Delivery<'p>> {
    let firing = not_over(findings, told);
    let of_channel = |channel: &'p Channel| {
        let rows = rows(told, channel);
        let due: Vec<&Notice> = firing
            .values()
            .copied()
            .filter(|notice| {
                is_due(notify, channel, notice, rows.get(notice.key.as_str()).copied(), sender.now)
            })
            .collect();
        let over = over(notify, channel, findings, &firing, &rows);
        let mut deliveries = resolved(channel, sender, over, &rows);
        deliveries.extend(messages(channel, sender, due, &rows));
        deliveries
    };
    notify.channels.iter().flat_map(of_channel).collect()
}

/// Returns all that is not over: what was found now, and what earlier runs found.
fn not_over<'n>(findings: &'n Findings, told: &'n [ToldNotice]) -> BTreeMap<&'n str, &'n Notice> {
    let over: BTreeSet<&str> = findings.over.iter().map(|over| over.key.as_str()).collect();
    let known = told.iter().filter(|row| !row.is_over && !over.contains(row.notice.key.as_str()));
    let mut firing: BTreeMap<&str, &Notice> =
        known.map(|row| (row.notice.key.as_str(), &row.notice)).collect();
    firing.extend(findings.firing.iter().map(|notice| (notice.key.as_str(), notice)));
    firing
}

fn rows<'t>(told: &'t [ToldNotice], channel: &Channel) -> BTreeMap<&'t str, &'t ToldNotice> {
    let own = told.iter().filter(|row| row.channel == channel.name);
    own.map(|row| (row.notice.key.as_str(), row)).collect()
}

/// Returns whether a channel was told of a notice, as it is now, so recently that it is not told again.
pub(super) fn is_quiet(row: &ToldNotice, notice: &Notice, now: DateTime<Utc>) -> bool {
    let Some(told) = row.told else { return false };
    let is_recent = told <= now && now - told < repeated_after(notice.severity);
    is_recent && row.notice.event == notice.event && row.notice.severity <= notice.severity
}

fn is_due(
    notify: &Notify,
    channel: &Channel,
    notice: &Notice,
    row: Option<&ToldNotice>,
    now: DateTime<Utc>,
) -> bool {
    let is_routed = notify.channels(notice.severity).any(|routed| routed.name == channel.name);
    is_routed && row.is_none_or(|row| !is_quiet(row, notice, now))
}

/// Returns the rows whose channel is to be told that it is over: it is, or it is less bad now and another channel's.
fn over<'t>(
    notify: &Notify,
    channel: &Channel,
    findings: &Findings,
    firing: &BTreeMap<&str, &Notice>,
    rows: &BTreeMap<&str, &'t ToldNotice>,
) -> Vec<(&'t ToldNotice, String)> {
    let said = |key: &str| findings.over.iter().find(|over| over.key == key);
    let over = rows.iter().filter_map(|(key, row)| match (firing.get(key), said(key)) {
        (Some(now), _) => {
            let is_routed = notify.channels(now.severity).any(|routed| routed.name == channel.name);
            // One that was tried in place of others, in vain, is not waited for.
            let is_left = !is_routed && (now.severity != row.notice.severity || row.told.is_none());
            is_left.then(|| (*row, format!("{} now: {}", now.severity, now.headline)))
        }
        (None, Some(over)) => Some((*row, over.headline.clone())),
        // It was over before, and the channel did not take that.
        (None, None) => row.is_over.then(|| (*row, format!("over: {}", row.notice.headline))),
    });
    over.collect()
}

/// Returns the messages that something is over. A summary is over when all is that it told.
fn resolved<'p>(
    channel: &'p Channel,
    sender: &Sender,
    over: Vec<(&ToldNotice, String)>,
    rows: &BTreeMap<&str, &ToldNotice>,
) -> Vec<Delivery<'p>> {
    let is_over = |row: &ToldNotice| over.iter().any(|(over, _)| over.notice.key == row.notice.key);
    let mut by_message: BTreeMap<&str, Vec<&(&ToldNotice, String)>> = BTreeMap::new();
    for one in &over {
        by_message.entry(one.0.message.as_str()).or_default().push(one);
    }
    let mut deliveries = Vec::new();
    for (key, told) in by_message {
        let notices: Vec<Notice> = told.iter().map(|(row, _)| row.notice.clone()).collect();
        let was_told = told.iter().any(|(row, _)| row.told.is_some());
        let all_are =
            rows.values().filter(|row| row.message == key && row.told.is_some()).all(|row| is_over(row));
        let first = notices.first().cloned();
        let message = first.filter(|_| was_told && all_are).map(|first| {
            let headline = told.first().map(|(_, headline)| headline.clone()).unwrap_or_default();
            let headline = match told.len() {
                1 => headline,
                many => format!("{many} failures are over"),
            };
            let notice = Notice {
                key: key.to_owned(),
                headline,
                impact: String::new(),
                action: String::new(),
                ..first
            };
            let lines = if told.len() == 1 { vec![] } else { lines(&notices) };
            sender.message(MessageState::Resolved, notice, lines)
        });
        deliveries.push(Delivery { channel, message, notices, is_over: true });
    }
    together(channel, sender, deliveries)
}

/// Makes one message of many that something is over, for a channel that does not know them by their keys.
fn together<'p>(channel: &'p Channel, sender: &Sender, deliveries: Vec<Delivery<'p>>) -> Vec<Delivery<'p>> {
    let (said, silent): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(|one| one.message.is_some());
    if channel.route.keeps_state() || said.len() <= AT_ONCE {
        return said.into_iter().chain(silent).collect();
    }
    let messages: Vec<&Message> = said.iter().filter_map(|one| one.message.as_ref()).collect();
    let all: Vec<Notice> = messages.iter().map(|message| message.notice.clone()).collect();
    let lines = lines(&all);
    let message = all.iter().min_by_key(|notice| notice.severity).cloned().map(|worst| {
        let headline = format!("{} failures are over", all.len());
        let notice = Notice { key: summary_key(worst.severity), headline, source: None, ..worst };
        sender.message(MessageState::Resolved, notice, lines)
    });
    let notices = said.iter().flat_map(|one| one.notices.clone()).collect();
    let one = Delivery { channel, message, notices, is_over: true };
    std::iter::once(one).chain(silent).collect()
}

/// Returns the messages that tell a channel of notices: one for each, or one for many.
pub(super) fn messages<'p>(
    channel: &'p Channel,
    sender: &Sender,
    due: Vec<&Notice>,
    rows: &BTreeMap<&str, &ToldNotice>,
) -> Vec<Delivery<'p>> {
    let recent = recently_told(rows, sender.now);
    // One that has begun goes on until it is calm again.
    let is_still = |row: &&ToldNotice| {
        row.message.starts_with(SUMMARY)
            && row.told.is_some_and(|told| told <= sender.now && sender.now - told < STORM)
    };
    let is_storm = due.len() > AT_ONCE
        || recent + due.len() > IN_A_STORM
        || rows.values().copied().any(|row| is_still(&row));
    let mut deliveries = Vec::new();
    for severity in Severity::ALL {
        let of_severity = due.iter().copied().filter(|notice| notice.severity == severity);
        let summary = summary_key(severity);
        // What a summary told is told again by one, so that it is over with it.
        let is_of_summary =
            |notice: &&Notice| rows.get(notice.key.as_str()).is_some_and(|row| row.message == summary);
        // What a channel knows by its own key must be resolved by that.
        let is_known = |notice: &Notice| {
            let row = rows.get(notice.key.as_str());
            channel.route.keeps_state()
                && row.is_some_and(|row| row.told.is_some() && row.message == notice.key)
        };
        let (many, single): (Vec<&Notice>, Vec<&Notice>) =
            of_severity.partition(|notice| (is_storm && !is_known(notice)) || is_of_summary(notice));
        let (many, single) = match many.as_slice() {
            [only] if !is_of_summary(only) && due.len() > AT_ONCE && recent < AT_ONCE => {
                (vec![], [single.as_slice(), &[*only]].concat())
            }
            _ => (many, single),
        };
        deliveries.extend(single.into_iter().map(|notice| Delivery {
            channel,
            message: Some(sender.message(MessageState::Firing, notice.clone(), vec![])),
            notices: vec![notice.clone()],
            is_over: false,
        }));
        if many.is_empty() {
            continue;
        }
        let last = rows.values().filter(|row| row.message == summary).filter_map(|row| row.told).max();
        let is_pausing = !channel.route.keeps_state()
            && last.is_some_and(|last| last <= sender.now && sender.now - last < PAUSE);
        let notices: Vec<Notice> = many.into_iter().cloned().collect();
        let message = (!is_pausing).then(|| summarise(sender, severity, &notices, rows));
        deliveries.push(Delivery { channel, message, notices, is_over: false });
    }
    deliveries
}

/// The number of messages that a channel took a moment ago.
fn recently_told(rows: &BTreeMap<&str, &ToldNotice>, now: DateTime<Utc>) -> usize {
    let is_recent = |row: &&&ToldNotice| row.told.is_some_and(|told| told <= now && now - told < STORM);
    rows.values().filter(is_recent).map(|row| row.message.as_str()).collect::<BTreeSet<_>>().len()
}

pub(super) fn summary_key(severity: Severity) -> String {
    format!("{SUMMARY}{}", severity.as_str())
}

fn summarise(
    sender: &Sender,
    severity: Severity,
    notices: &[Notice],
    rows: &BTreeMap<&str, &ToldNotice>,
) -> Message {
    let key = summary_key(severity);
    let is_new = |row: &&&ToldNotice| !notices.iter().any(|notice| notice.key == row.notice.key);
    let before = rows.values().filter(|row| row.message == key && !row.is_over).filter(is_new).count();
    let first = notices.first();
    let headline = match before {
        0 => format!("{} failures at once", notices.len()),
        before => format!("{} more failures, {} in all", notices.len(), notices.len() + before),
    };
    let notice = Notice {
        key,
        event: "many.failed".to_owned(),
        severity,
        source: None,
        headline,
        impact: first.map(|first| first.impact.clone()).unwrap_or_default(),
        action: "`drctl status` shows where each source stands".to_owned(),
        run: first.and_then(|first| first.run.clone()),
    };
    sender.message(MessageState::Firing, notice, lines(notices))
}

fn lines(notices: &[Notice]) -> Vec<String> {
    let first = notices.iter().take(LINES).map(|notice| notice.headline.clone());
    let more = notices.len().saturating_sub(LINES);
    first.chain((more > 0).then(|| format!("and {more} more"))).collect()
}

impl Sender {
    pub(super) fn message(&self, state: MessageState, notice: Notice, lines: Vec<String>) -> Message {
        Message {
            state,
            system: self.system.clone(),
            host: self.host.clone(),
            at: self.now,
            notice,
            lines,
            link: self.link.clone(),
        }
    }
}
