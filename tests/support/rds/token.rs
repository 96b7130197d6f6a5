//! What IAM makes of a token: the signature is computed again, from the secret that both know.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The one key of the account.
pub(crate) const KEY_ID: &str = "AKIDEXAMPLE";
pub(crate) const SECRET: &str = "secret";

/// AWS lets a signature be of a little later than now.
const AHEAD: Duration = Duration::minutes(5);
const LONGEST: i64 = 900;

/// What a token has to be for.
#[derive(Clone, Debug)]
pub(super) struct Expected<'e> {
    pub(super) host: &'e str,
    pub(super) port: u16,
    pub(super) region: &'e str,
    pub(super) user: &'e str,
    pub(super) now: DateTime<Utc>,
}

/// Or why it is refused; nobody outside is told.
pub(super) fn verify(token: &str, expected: &Expected<'_>) -> Result<(), String> {
    let (authority, query) = token.split_once("/?").ok_or("it is no token")?;
    let own = format!("{}:{}", expected.host, expected.port);
    if authority != own {
        return Err(format!("it is for {authority}, and this is {own}"));
    }
    let mut parameters: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let signature = parameters.remove("X-Amz-Signature").ok_or("it is not signed")?;
    let parameter = |name: &str| parameters.get(name).cloned().ok_or(format!("it has no {name}"));
    for (name, wanted) in [
        ("Action", "connect"),
        ("DBUser", expected.user),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-SignedHeaders", "host"),
    ] {
        let found = parameter(name)?;
        if found != wanted {
            return Err(format!("its {name} is {found}, not {wanted}"));
        }
    }
    let written = parameter("X-Amz-Date")?;
    let signed = NaiveDateTime::parse_from_str(&written, "%Y%m%dT%H%M%SZ").map_err(|_| "no time")?.and_utc();
    let lives: i64 = parameter("X-Amz-Expires")?.parse().map_err(|_| "no time it lives")?;
    if lives > LONGEST || signed > expected.now + AHEAD || expected.now > signed + Duration::seconds(lives) {
        return Err(format!("it is of {signed} for {lives} s, and it is {}", expected.now));
    }
    let scope = format!("{}/{}/rds-db/aws4_request", signed.format("%Y%m%d"), expected.region);
    let credential = parameter("X-Amz-Credential")?;
    if credential != format!("{KEY_ID}/{scope}") {
        return Err(format!("it is by {credential}, and this is {scope}"));
    }

    let query: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let nothing = hex::encode(Sha256::digest(b""));
    let request = format!("GET\n/\n{}\nhost:{own}\n\nhost\n{nothing}", query.join("&"));
    let text = format!("AWS4-HMAC-SHA256\n{written}\n{scope}\n{}", hex::encode(Sha256::digest(request)));
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in scope.split('/') {
        key = keyed(&key, part);
    }
    let right = hex::encode(keyed(&key, &text));
    if right == signature { Ok(()) } else { Err("its signature is wrong".to_owned()) }
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return vec![] };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn encoded(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
