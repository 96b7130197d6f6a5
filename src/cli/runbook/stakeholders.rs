use std::sync::Arc;

use async_trait::async_trait;

use crate::catalog::Notice;
use crate::cli::output::Output;
use crate::notify::{MessageState, Teller};
use crate::platform::Clock;
use crate::policy::{Policy, Severity};
use crate::report::plain;
use crate::runbook::{Announcer, Delivery};

/// Sends messages by the policy's channels. Where it has none, the operator sees them, and sends them.
pub(super) struct Stakeholders<'p> {
    pub(super) policy: &'p Policy,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) output: Output,
}

#[async_trait]
impl Announcer for Stakeholders<'_> {
    async fn announce(&self, severity: Severity, subject: &str, text: &str) -> Vec<Delivery> {
        if self.policy.notify.channels.is_empty() {
            self.output.note(plain(text));
            let reason = "not sent: the policy has no channel".to_owned();
            return vec![Delivery { channel: "terminal".to_owned(), is_delivered: false, reason }];
        }
        let notice = Notice {
            key: format!("incident/{subject}"),
            event: "incident.message".to_owned(),
            severity,
            source: None,
            headline: subject.to_owned(),
            // Its first line is the subject.
            impact: text.split_once('\n').map(|(_, rest)| rest.trim().to_owned()).unwrap_or_default(),
            action: String::new(),
            run: None,
        };
        let told =
            Teller::new(self.policy, Arc::clone(&self.clock)).announce(&notice, MessageState::Firing).await;
        let taken = told.taken.keys();
        let taken = taken.map(|channel| Delivery {
            channel: channel.clone(),
            is_delivered: true,
            reason: String::new(),
        });
        let failed = told.failed.iter().map(|(channel, reason)| Delivery {
            channel: channel.clone(),
            is_delivered: false,
            reason: reason.clone(),
        });
        let deliveries: Vec<Delivery> = taken.chain(failed).collect();
        if told.taken.is_empty() {
            // Somebody has to say it.
            self.output.note(plain(text));
        }
        deliveries
    }
}
