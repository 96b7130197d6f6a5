//! Prometheus's Alertmanager, API v2. It knows an alert by its labels.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use url::Url;

use super::web::with_json;
use super::webhook::headers;
use super::{Means, call};
use crate::notify::message::{Message, MessageState};
use crate::notify::refused::Refused;
use crate::platform::SecretRef;

/// An alert that nobody ends is over by itself after this; none is while its cause may be there still.
const LASTS: TimeDelta = TimeDelta::days(30);
/// A test is over by itself soon.
const TEST_LASTS: TimeDelta = TimeDelta::minutes(5);

pub(super) async fn send(
    means: &Means,
    url: &Url,
    given: &[(String, SecretRef)],
    message: &Message,
) -> Result<(), Refused> {
    let base = url.as_str().trim_end_matches('/');
    let headers = headers(given).await?;
    let now = means.clock.now();
    let request = means.http()?.post(format!("{base}/api/v2/alerts")).headers(headers);
    call(with_json(request, &body(message, now))).await.map(drop)
}

fn body(message: &Message, now: DateTime<Utc>) -> Value {
    let notice = &message.notice;
    let mut labels = Map::new();
    let mut label = |name: &str, value: String| {
        // An empty label is none.
        if !value.is_empty() {
            labels.insert(name.to_owned(), Value::String(value));
        }
    };
    // Neither severity nor event is among them: an alert that gets worse is the same one.
    label("alertname", "drctl".to_owned());
    label("system", message.system.to_string());
    label("source", message.source().map(ToString::to_string).unwrap_or_default());
    label("key", message.key());
    let starts = message.at.min(now);
    let ends = match message.state {
        MessageState::Firing => now + LASTS,
        MessageState::Test => now + TEST_LASTS,
        MessageState::Resolved => now,
    };
    let mut alert = json!({
        "labels": labels,
        "annotations": {
            "summary": message.title(),
            "description": message.text(),
            "severity": notice.severity,
            "event": notice.event,
        },
        "endsAt": ends,
    });
    // When it began is not told again, and Alertmanager keeps it.
    if message.state != MessageState::Resolved {
        alert["startsAt"] = json!(starts);
    }
    if let Some(link) = &message.link {
        alert["generatorURL"] = json!(link);
    }
    Value::Array(vec![alert])
}
