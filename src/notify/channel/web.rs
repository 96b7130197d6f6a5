//! Requests by HTTP, whose errors hold no URL.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

use crate::notify::refused::{Refused, Retry};
use crate::platform::{ExposeSecret as _, SecretString};
use crate::text::error_chain;

/// How much of an answer is read.
const LONGEST_ANSWER: usize = 16 * 1024;

/// An answer with a status of 200 to 299.
#[derive(Debug)]
pub(in crate::notify) struct Answer {
    pub(in crate::notify) body: String,
}

/// Returns the URL in a secret, and nothing of it in the error.
pub(in crate::notify) fn parsed_url(secret: &SecretString) -> Result<Url, Refused> {
    let url = Url::parse(secret.expose_secret().trim()).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    url.ok_or_else(|| Refused::for_good("its URL is not an `http://` or `https://` URL"))
}

/// Gives a request its body.
pub(super) fn with_json(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/json").body(body.to_string())
}

/// Sends a request, and takes only a status of 200 to 299 for success: a redirect is none.
pub(in crate::notify) async fn call(request: RequestBuilder) -> Result<Answer, Refused> {
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            body.truncate(LONGEST_ANSWER);
            break;
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        return Ok(Answer { body });
    }
    // Not what it said: that may repeat the URL.
    let reason = match status.canonical_reason() {
        Some(words) => format!("it answered {} {words}", status.as_u16()),
        None => format!("it answered {}", status.as_u16()),
    };
    let is_passing = status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY
        );
    let retry = match asked {
        _ if !is_passing => Retry::Never,
        Some(pause) => Retry::After(pause),
        None => Retry::Soon,
    };
    Err(Refused { reason, retry })
}

fn failed(error: reqwest::Error) -> Refused {
    let is_request = error.is_builder();
    let timed_out = error.is_timeout();
    let reason = match timed_out {
        true => "no answer in time".to_owned(),
        false => error_chain(&error.without_url()),
    };
    if is_request { Refused::for_good(reason) } else { Refused::soon(reason) }
}
