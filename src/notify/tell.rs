//! Sends what [`super::route`] decided, each channel by itself, and says what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;

use super::channel::Means;
use super::deliver::{Limits, deliver};
use super::findings::Findings;
use super::message::MessageState;
use super::refused::Refused;
use super::route::{Delivery, Sender, is_quiet, messages, route};
use crate::catalog::{FailedDelivery, Notice, ToldChange, ToldNotice};
use crate::platform::{Clock, host_name};
use crate::policy::{Channel, Notify, Policy, Severity};

/// Tells the people of a policy.
#[derive(Debug)]
pub struct Teller<'p> {
    notify: &'p Notify,
    means: Means,
    limits: Limits,
    sender: Sender,
}

/// What became of the messages of one run.
#[derive(Debug, Default)]
pub struct Told {
    /// The channels that took their messages, and how many.
    pub taken: BTreeMap<String, usize>,
    /// The channels that did not, and why.
    pub failed: BTreeMap<String, String>,
    /// What nobody was told of.
    pub undelivered: Vec<Notice>,
    pub changes: Vec<ToldChange>,
}

impl<'p> Teller<'p> {
    pub fn new(policy: &'p Policy, clock: Arc<dyn Clock>) -> Self {
        let notify = &policy.notify;
        let sender = Sender {
            system: policy.system.clone(),
            host: host_name(),
            link: notify.link.clone(),
            now: clock.now(),
        };
        Self { notify, means: Means::new(notify, clock), limits: Limits::new(notify.timeout), sender }
    }

    /// Tries each channel once only.
    pub fn once(self) -> Self {
        Self { limits: self.limits.once(), ..self }
    }

    pub fn means(&self) -> &Means {
        &self.means
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Tells what was found. `told`: what was told before and is not over; empty where that is not known.
    pub async fn tell(&self, findings: &Findings, told: &[ToldNotice]) -> Told {
        let known = |row: &&ToldNotice| self.notify.channel(&row.channel).is_some();
        let gone = told.iter().filter(|row| !known(row));
        let mut outcome = Told {
            changes: gone
                .map(|row| ToldChange::Forget { channel: row.channel.clone(), key: row.notice.key.clone() })
                .collect(),
            ..Told::default()
        };
        let told: Vec<ToldNotice> = told.iter().filter(known).cloned().collect();
        let mut waiting: BTreeMap<String, Vec<Delivery<'p>>> = BTreeMap::new();
        for delivery in route(self.notify, &self.sender, findings, &told) {
            waiting.entry(delivery.channel.name.clone()).or_default().push(delivery);
        }
        let sent = join_all(waiting.into_values().map(|deliveries| self.send_all(deliveries))).await;
        let mut untold = Vec::new();
        for (delivery, result) in sent.into_iter().flatten() {
            if result.is_err() && !delivery.is_over {
                untold.extend(delivery.notices.iter().cloned());
            }
            outcome.note(&delivery, result, &told, &self.sender);
        }
        let untold =
            distinct(untold).into_iter().filter(|notice| !outcome.was_told(notice, &told, &self.sender));
        self.tell_others(untold.collect(), &told, &mut outcome).await;
        outcome
    }

    /// Tells the channels of a severity something once, whatever they were told before, and remembers nothing of it: for
    /// what a person says, as during an incident. Where none takes it, those of other severities are told.
    pub async fn announce(&self, notice: &Notice, state: MessageState) -> Told {
        let delivery = |channel: &'p Channel| Delivery {
            channel,
            message: Some(self.sender.message(state, notice.clone(), vec![])),
            notices: vec![notice.clone()],
            is_over: state == MessageState::Resolved,
        };
        let mut outcome = Told::default();
        let own = self.notify.channels(notice.severity);
        let sent = join_all(own.map(|channel| self.send_all(vec![delivery(channel)]))).await;
        for (delivery, result) in sent.into_iter().flatten() {
            outcome.note(&delivery, result, &[], &self.sender);
        }
        for channel in others(self.notify, notice.severity) {
            if !outcome.taken.is_empty() {
                break;
            }
            for (delivery, result) in self.send_all(vec![delivery(channel)]).await {
                outcome.note(&delivery, result, &[], &self.sender);
            }
        }
        if outcome.taken.is_empty() {
            outcome.undelivered.push(notice.clone());
        }
        Told { changes: vec![], ..outcome }
    }

    /// Sends the messages to one channel, in order. One that does not answer is not waited for again.
    async fn send_all(&self, deliveries: Vec<Delivery<'p>>) -> Vec<(Delivery<'p>, Result<(), Refused>)> {
        let mut sent = Vec::new();
        let mut given_up: Option<Refused> = None;
        for delivery in deliveries {
            let result = match (&delivery.message, &given_up) {
                (None, _) => Ok(()),
                (Some(_), Some(refused)) => Err(refused.clone()),
                (Some(message), None) => deliver(&self.means, delivery.channel, message, self.limits).await,
            };
            given_up = result.as_ref().err().cloned();
            sent.push((delivery, result));
        }
        sent
    }

    /// Tells the channels of other severities what no channel of its own took, one after the other until one does.
    async fn tell_others(&self, untold: Vec<Notice>, told: &[ToldNotice], outcome: &mut Told) {
        for severity in Severity::ALL {
            let mut left: Vec<Notice> =
                untold.iter().filter(|notice| notice.severity == severity).cloned().collect();
            for channel in others(self.notify, severity) {
                if left.is_empty() {
                    break;
                }
                if outcome.failed.contains_key(&channel.name) {
                    continue;
                }
                let rows = told.iter().filter(|row| row.channel == channel.name);
                let rows: BTreeMap<&str, &ToldNotice> =
                    rows.map(|row| (row.notice.key.as_str(), row)).collect();
                let deliveries = messages(channel, &self.sender, left.iter().collect(), &rows);
                for (delivery, result) in self.send_all(deliveries).await {
                    if result.is_ok() {
                        left.retain(|notice| !delivery.notices.contains(notice));
                    }
                    outcome.note(&delivery, result, told, &self.sender);
                }
            }
            outcome.undelivered.extend(left);
        }
    }
}

/// Returns the channels that are told of something this bad where its own cannot be: those of what is less bad, then of
/// what is worse.
fn others(notify: &Notify, severity: Severity) -> Vec<&Channel> {
    let at = severity as usize;
    let order = Severity::ALL[at + 1..].iter().chain(Severity::ALL[..at].iter().rev());
    let mut found: Vec<&Channel> = Vec::new();
    for channel in order.flat_map(|other| notify.channels(*other)) {
        let is_own = notify.channels(severity).any(|own| own.name == channel.name);
        if !is_own && !found.iter().any(|known| known.name == channel.name) {
            found.push(channel);
        }
    }
    found
}

fn distinct(notices: Vec<Notice>) -> Vec<Notice> {
    let mut seen = BTreeSet::new();
    notices.into_iter().filter(|notice| seen.insert(notice.key.clone())).collect()
}

impl Told {
    /// Records the result of a delivery.
    fn note(
        &mut self,
        delivery: &Delivery<'_>,
        result: Result<(), Refused>,
        told: &[ToldNotice],
        sender: &Sender,
    ) {
        let channel = &delivery.channel.name;
        match &result {
            Ok(()) if delivery.message.is_some() => *self.taken.entry(channel.clone()).or_default() += 1,
            Ok(()) => {}
            Err(refused) => {
                self.failed.entry(channel.clone()).or_insert_with(|| refused.reason.clone());
            }
        }
        for notice in &delivery.notices {
            let before = told.iter().find(|row| row.channel == *channel && row.notice.key == notice.key);
            self.changes.push(change(delivery, notice, before, &result, sender));
        }
    }

    /// Returns whether any channel took a notice, now or so recently that it is not told again, or will be told of it by
    /// the next run, having been told of many a moment ago.
    fn was_told(&self, notice: &Notice, told: &[ToldNotice], sender: &Sender) -> bool {
        let is_changed = |channel: &str| {
            self.changes.iter().any(|change| match change {
                ToldChange::Keep(row) => row.channel == channel && row.notice.key == notice.key,
                ToldChange::Forget { channel: of, key } => of == channel && *key == notice.key,
            })
        };
        let now = self.changes.iter().any(|change| match change {
            ToldChange::Keep(row) => row.notice.key == notice.key && row.failed.is_none(),
            ToldChange::Forget { .. } => false,
        });
        now || told.iter().any(|row| {
            row.notice.key == notice.key && !is_changed(&row.channel) && is_quiet(row, notice, sender.now)
        })
    }
}

fn change(
    delivery: &Delivery<'_>,
    notice: &Notice,
    before: Option<&ToldNotice>,
    result: &Result<(), Refused>,
    sender: &Sender,
) -> ToldChange {
    let channel = delivery.channel.name.clone();
    let key = delivery.message.as_ref().map(|message| message.notice.key.clone());
    let was_told = before.and_then(|row| row.told);
    let message = match (key, before) {
        // What told it last is what has to be resolved.
        (Some(_), Some(row)) if result.is_err() && row.told.is_some() => row.message.clone(),
        (Some(key), _) => key,
        (None, _) => super::route::summary_key(notice.severity),
    };
    let failed = result.as_ref().err();
    let failed = failed.map(|refused| FailedDelivery { at: sender.now, reason: refused.reason.clone() });
    match (delivery.is_over, &delivery.message, &failed) {
        (true, _, None) => ToldChange::Forget { channel, key: notice.key.clone() },
        (true, _, Some(_)) => {
            let (notice, told) = (notice.clone(), was_told);
            let message = before.map_or(message, |row| row.message.clone());
            ToldChange::Keep(Box::new(ToldNotice { channel, notice, message, told, is_over: true, failed }))
        }
        (false, sent, _) => {
            let took_it = sent.is_some() && failed.is_none();
            let told = if took_it { Some(sender.now) } else { was_told };
            let notice = notice.clone();
            ToldChange::Keep(Box::new(ToldNotice { channel, notice, message, told, is_over: false, failed }))
        }
    }
}

/// Sends a test to one channel.
///
/// # Errors
/// Why the channel did not take it.
pub async fn test(teller: &Teller<'_>, channel: &Channel, severity: Severity) -> Result<(), Refused> {
    let notice = Notice {
        key: format!("test/{}", channel.name),
        event: "test".to_owned(),
        severity,
        source: None,
        headline: format!("test of channel `{}`", channel.name),
        impact: "Nothing happened: this is `drctl notify test`.".to_owned(),
        action: "nothing".to_owned(),
        run: None,
    };
    let message = teller.sender.message(MessageState::Test, notice, vec![]);
    deliver(&teller.means, channel, &message, teller.limits).await?;
    if channel.route.keeps_state() {
        // A test must not leave an open incident.
        let over = super::Message { state: MessageState::Resolved, ..message };
        deliver(&teller.means, channel, &over, teller.limits).await?;
    }
    Ok(())
}
