//! PagerDuty's Events API v2.

use serde_json::{Value, json};
use url::Url;

use super::web::with_json;
use super::{Means, call, secret};
use crate::notify::message::{Message, MessageState, shortened};
use crate::notify::refused::Refused;
use crate::platform::{ExposeSecret as _, SecretRef};
use crate::policy::Severity;

const ENDPOINT: &str = "https://events.pagerduty.com";
/// Characters of a summary.
const SUMMARY: usize = 1024;
/// Characters of each detail: an event is refused above 512 KiB.
const DETAIL: usize = 8 * 1024;

pub(super) async fn send(
    means: &Means,
    routing_key: &SecretRef,
    endpoint: Option<&Url>,
    message: &Message,
) -> Result<(), Refused> {
    let key = secret(routing_key).await?;
    let base = endpoint.map_or(ENDPOINT, Url::as_str).trim_end_matches('/');
    let request = means.http()?.post(format!("{base}/v2/enqueue"));
    let answer = call(with_json(request, &body(message, key.expose_secret()))).await?;
    match serde_json::from_str::<Value>(&answer.body) {
        Ok(Value::Object(said)) if said.get("status").is_none_or(|status| status == "success") => Ok(()),
        _ => Err(Refused::soon("it answered something else than an event that was accepted")),
    }
}

fn body(message: &Message, routing_key: &str) -> Value {
    let notice = &message.notice;
    let action = match message.state {
        MessageState::Resolved => "resolve",
        MessageState::Firing | MessageState::Test => "trigger",
    };
    let severity = match notice.severity {
        Severity::P1 => "critical",
        Severity::P2 => "error",
        Severity::P3 => "warning",
        Severity::P4 => "info",
    };
    let mut links = Vec::new();
    links.extend(message.link.as_ref().map(|link| json!({ "href": link, "text": "Where to look" })));
    json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": message.key(),
        "client": "drctl",
        "links": links,
        "payload": {
            "summary": shortened(&message.title(), SUMMARY),
            "source": message.host,
            "severity": severity,
            "timestamp": message.at,
            "component": message.source(),
            "group": message.system,
            "class": notice.event,
            "custom_details": {
                "impact": shortened(&notice.impact, DETAIL),
                "what to do": shortened(&notice.action, DETAIL),
                "failures": shortened(&message.lines.join("\n"), DETAIL),
                "run": notice.run,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::fixtures::{message, notice};

    #[test]
    fn an_event_fits_and_is_resolved_by_the_key_it_was_triggered_with() {
        let mut message = message(notice("backup/database", Severity::P1));
        message.notice.headline = "x".repeat(5000);
        let triggered = body(&message, "key");
        assert_eq!(triggered["event_action"], "trigger");
        assert_eq!(triggered["payload"]["severity"], "critical");
        assert_eq!(triggered["payload"]["summary"].as_str().unwrap().chars().count(), SUMMARY);
        message.state = MessageState::Resolved;
        let resolved = body(&message, "key");
        assert_eq!(resolved["event_action"], "resolve");
        assert_eq!(resolved["dedup_key"], triggered["dedup_key"]);
    }
}
