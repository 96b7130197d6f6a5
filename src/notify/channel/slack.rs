//! Slack's incoming webhooks.

use serde_json::{Value, json};

use super::web::with_json;
use super::{Means, call, parsed_url, secret};
use crate::notify::message::{Message, shortened};
use crate::notify::refused::Refused;
use crate::platform::SecretRef;

/// Characters of a header's text, and of a section's.
const HEADER: usize = 150;
const SECTION: usize = 3000;
/// Sections together stay well below what Slack takes in one message, about 13,200 characters.
const SECTIONS: usize = 3;

pub(super) async fn send(means: &Means, url: &SecretRef, message: &Message) -> Result<(), Refused> {
    let url = parsed_url(&secret(url).await?)?;
    let answer = call(with_json(means.http()?.post(url), &body(message))).await?;
    // A page of a proxy in between is no answer of Slack's.
    match answer.body.trim() {
        "ok" => Ok(()),
        other if other.starts_with('{') => Ok(()),
        _ => Err(Refused::soon("it answered something else than `ok`")),
    }
}

fn body(message: &Message) -> Value {
    let notice = &message.notice;
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": shortened(&message.title(), HEADER) },
    })];
    let lines = message.lines.iter().map(|line| format!("• {line}")).collect::<Vec<_>>().join("\n");
    let action = match notice.action.is_empty() {
        true => String::new(),
        false => format!("What to do: {}", notice.action),
    };
    // The headline again: a header's text is cut.
    let parts = [notice.headline.clone(), notice.impact.clone(), lines, action];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    // As few sections as parts, and none longer than it may be.
    let (first, rest) = parts.split_at(parts.len().min(SECTIONS - 1));
    let sections = first.iter().cloned().chain(Some(rest.join("\n")).filter(|rest| !rest.is_empty()));
    blocks.extend(sections.map(
        |text| json!({ "type": "section", "text": { "type": "mrkdwn", "text": escaped(&text, SECTION) } }),
    ));
    let link = message.link.as_ref().map(|link| format!(" · <{link}>")).unwrap_or_default();
    let origin = format!("{}{link}", escaped(&message.origin(), SECTION / 2));
    blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": origin }] }));
    json!({ "text": escaped(&message.title(), SECTION), "blocks": blocks })
}

/// Escapes what Slack reads as markup, and shortens it without cutting an escape in two.
fn escaped(text: &str, most: usize) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    for (at, c) in text.char_indices() {
        let piece = match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            other => other.to_string(),
        };
        let is_last = at + c.len_utf8() == text.len();
        length += piece.chars().count();
        if length > most || (length == most && !is_last) {
            escaped.push('…');
            return escaped;
        }
        escaped.push_str(&piece);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::fixtures::{message, notice};
    use crate::policy::Severity;

    #[test]
    fn no_text_is_longer_than_slack_takes_and_markup_is_escaped() {
        let mut message = message(notice("x", Severity::P1));
        message.notice.headline = "<!channel> & ".repeat(400);
        message.notice.impact = ">".repeat(9000);
        message.notice.action = "a".repeat(9000);
        message.lines = vec!["b".repeat(4000); 10];
        let body = body(&message);
        let blocks = body["blocks"].as_array().unwrap();
        let text = |block: &Value| {
            let text = block["text"]["text"].as_str().or_else(|| block["elements"][0]["text"].as_str());
            text.unwrap().to_owned()
        };
        let total: usize = blocks.iter().map(|block| text(block).chars().count()).sum();
        assert!(total < 13_200, "{total}");
        assert!(text(&blocks[0]).chars().count() <= 150);
        assert!(blocks.iter().all(|block| text(block).chars().count() <= 3000));
        assert!(!body["text"].as_str().unwrap().contains('<'));
        assert!(text(&blocks[2]).ends_with("&gt;…"), "{}", text(&blocks[2]));
    }
}
