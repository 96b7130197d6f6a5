//! A topic of Amazon SNS.

use std::time::Duration;

use url::Url;

use crate::aws::sns::{Publication, publish};
use crate::notify::message::{Message, shortened};
use crate::notify::refused::Refused;
use crate::policy::{AwsLocation, Credentials};
use crate::text::error_chain;

/// Characters of a subject.
const SUBJECT: usize = 100;
/// Characters of a message: 256 KiB are taken, and a text message is cut far before.
const TEXT: usize = 32 * 1024;

pub(super) async fn send(
    topic: &str,
    region: &str,
    endpoint: Option<&Url>,
    credentials: &Credentials,
    message: &Message,
    within: Duration,
) -> Result<(), Refused> {
    let place = AwsLocation {
        region: region.to_owned(),
        endpoint: endpoint.cloned(),
        credentials: credentials.clone(),
        poll: Duration::from_secs(1),
        deadline: within,
        patience: within,
    };
    let notice = &message.notice;
    let publication = Publication {
        subject: subject(&message.title()),
        text: shortened(&format!("{}\n\n{}", notice.headline, message.text()), TEXT),
        attributes: vec![
            ("severity", notice.severity.as_str().to_owned()),
            ("state", message.state.as_str().to_owned()),
            ("event", notice.event.clone()),
            ("system", message.system.to_string()),
        ],
        group: message.system.to_string(),
        id: message.key(),
    };
    // The SDK tries again by itself.
    publish(&place, topic, publication).await.map_err(|error| Refused::soon(error_chain(&error)))
}

/// Returns a subject that SNS takes: ASCII, one line, beginning with a letter or a bracket.
fn subject(title: &str) -> String {
    let ascii: String = title.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
    ascii.chars().take(SUBJECT).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_short_line_of_ascii() {
        let made = subject(&format!("[P1] shop: größer {}", "x".repeat(200)));
        assert!(made.len() <= 100 && made.is_ascii() && made.starts_with("[P1] shop: gr??er"), "{made}");
    }
}
