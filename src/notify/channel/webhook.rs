//! A POST of JSON, signed by the Standard Webhooks specification where the policy has a secret for that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use super::{Means, call, parsed_url, secret};
use crate::model::Sha256Hex;
use crate::notify::message::Message;
use crate::notify::refused::Refused;
use crate::platform::{ExposeSecret as _, SecretRef, SecretString};
use crate::policy::{Webhook, fill_in};

const PREFIX: &str = "whsec_";

pub(super) async fn send(means: &Means, webhook: &Webhook, message: &Message) -> Result<(), Refused> {
    let url = parsed_url(&secret(&webhook.url).await?)?;
    let body = match &webhook.body {
        Some(template) => fill_in(template, |name| message.placeholder(name)),
        None => message.document().to_string(),
    };
    let mut headers = headers(&webhook.headers).await?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let id = id(message);
    let timestamp = means.clock.now().timestamp();
    set(&mut headers, "webhook-id", &id)?;
    set(&mut headers, "webhook-timestamp", &timestamp.to_string())?;
    if let Some(reference) = &webhook.signing_secret {
        let key = signing_key(&secret(reference).await?)?;
        set(&mut headers, "webhook-signature", &signature(&key, &id, timestamp, &body)?)?;
    }
    call(means.http()?.post(url).headers(headers).body(body)).await.map(drop)
}

/// Returns the id of a message: the same whenever it is tried.
fn id(message: &Message) -> String {
    let at = message.at.timestamp_micros();
    let what = format!("{}\n{}\n{}\n{at}", message.key(), message.state.as_str(), message.host);
    format!("msg_{}", &Sha256Hex::digest(what.as_bytes()).to_string()[..32])
}

fn signing_key(secret: &SecretString) -> Result<Vec<u8>, Refused> {
    let text = secret.expose_secret().trim();
    let key = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).ok();
    let key = key.filter(|key| (24..=64).contains(&key.len()));
    key.ok_or_else(|| Refused::for_good("its `signing_secret` is not `whsec_` and 24 to 64 bytes in base64"))
}

fn signature(key: &[u8], id: &str, timestamp: i64, body: &str) -> Result<String, Refused> {
    let mac = Hmac::<Sha256>::new_from_slice(key);
    let mut mac = mac.map_err(|_| Refused::for_good("its `signing_secret` cannot sign"))?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// Returns the headers of the policy, none of which is ever shown.
pub(super) async fn headers(given: &[(String, SecretRef)]) -> Result<HeaderMap, Refused> {
    let mut headers = HeaderMap::new();
    for (name, reference) in given {
        let value = secret(reference).await?;
        set(&mut headers, name, value.expose_secret())?;
    }
    Ok(headers)
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Refused> {
    let unfit = || Refused::for_good(format!("its header `{name}` has a value that no header can have"));
    let header = HeaderName::try_from(name).map_err(|_| unfit())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| unfit())?;
    value.set_sensitive(true);
    headers.insert(header, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the Standard Webhooks libraries.
        let key =
            signing_key(&SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())).unwrap();
        let body = "{\"test\": 2432232314}";
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_none_is_refused_and_not_repeated() {
        let refused = signing_key(&SecretString::from("whsec_hunter2".to_owned())).unwrap_err();
        assert!(!refused.reason.contains("hunter2"));
    }
}
