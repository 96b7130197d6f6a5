use async_trait::async_trait;

use crate::cli::output::Output;
use crate::policy::Severity;
use crate::report::plain;
use crate::runbook::{Announcer, Delivery};

/// Shows messages to the operator, who sends them: there is no channel.
pub(super) struct Unsent {
    pub(super) output: Output,
}

#[async_trait]
impl Announcer for Unsent {
    async fn announce(&self, _severity: Severity, _subject: &str, text: &str) -> Vec<Delivery> {
        self.output.note(plain(text));
        let reason = "not sent: no channel".to_owned();
        vec![Delivery { channel: "terminal".to_owned(), is_delivered: false, reason }]
    }
}
