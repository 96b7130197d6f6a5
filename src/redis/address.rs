use std::fmt;
use std::path::PathBuf;

use url::{Host, Url};

use super::RedisError;
use crate::platform::SecretString;

const PORT: u16 = 6379;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisEndpoint {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

impl fmt::Display for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                write!(f, "{scheme}://{host}:{port}")
            }
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// What a URL says.
pub(super) struct ParsedUrl {
    pub(super) endpoint: RedisEndpoint,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
}

/// Parses the URL of a server. No error repeats it: it may hold a password.
pub(super) fn parse(text: &str) -> Result<ParsedUrl, RedisError> {
    let url = Url::parse(text).map_err(|_| RedisError::Url("write it like `redis://host:6379`"))?;
    let endpoint = match url.scheme() {
        "unix" => {
            let path = decode(url.path()).filter(|path| path.starts_with('/'));
            RedisEndpoint::Unix(path.ok_or(RedisError::Url("a socket is written `unix:///path`"))?.into())
        }
        scheme @ ("redis" | "rediss") => {
            if !url.path().trim_matches('/').is_empty() {
                return Err(RedisError::Url("it names one database, and all of them are meant"));
            }
            let host = match url.host() {
                Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
                Some(Host::Ipv4(address)) => address.to_string(),
                Some(Host::Ipv6(address)) => address.to_string(),
                _ => return Err(RedisError::Url("it names no host")),
            };
            RedisEndpoint::Tcp { host, port: url.port().unwrap_or(PORT), tls: scheme == "rediss" }
        }
        _ => return Err(RedisError::Url("it begins with none of `redis:`, `rediss:` and `unix:`")),
    };
    let undecodable = || RedisError::Url("its user or password is not percent-encoded UTF-8");
    let user = match url.username() {
        "" => None,
        user => Some(decode(user).ok_or_else(undecodable)?),
    };
    let password = match url.password() {
        None | Some("") => None,
        Some(password) => Some(SecretString::from(decode(password).ok_or_else(undecodable)?)),
    };
    Ok(ParsedUrl { endpoint, user, password })
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.extend(hex::decode([*high, *low]).ok()?);
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::ExposeSecret as _;

    #[test]
    fn urls_lead_where_they_say() {
        for (text, shown) in [
            ("redis://cache", "redis://cache:6379"),
            ("rediss://me@cache:7000/", "rediss://cache:7000"),
            ("redis://[::1]:1", "redis://[::1]:1"),
            ("unix:///run/a%20b.sock", "unix:///run/a b.sock"),
        ] {
            assert_eq!(parse(text).ok().unwrap().endpoint.to_string(), shown);
        }
        let with = parse("redis://me:p%40ss@h").ok().unwrap();
        assert_eq!(with.user.as_deref(), Some("me"));
        assert_eq!(with.password.unwrap().expose_secret(), "p@ss");
        assert!(parse("redis://:x@h").ok().unwrap().user.is_none());
        for bad in ["redis://:hush@h:x", "http://:hush@h", "redis://:hush@h/3", "unix:hush", "redis://"] {
            let said = parse(bad).err().unwrap().to_string();
            assert!(!said.contains("hush"), "{said}");
        }
    }
}
