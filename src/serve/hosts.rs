//! Which names of the server are answered to.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

/// A name that cannot be one of a server.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not the name of a host: give it without scheme, port or path, like `status.example.org`")]
pub struct HostError(pub String);

/// The names by which requests may call the server. An address is always allowed: a page of another site cannot have one
/// as its origin unless it is served from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts {
    names: Vec<String>,
}

impl AllowedHosts {
    /// Allows these names, and `localhost` where the server listens to this host alone.
    ///
    /// # Errors
    /// [`HostError`] for a name that no request could have.
    pub fn new(listen: SocketAddr, names: &[String]) -> Result<Self, HostError> {
        let is_name = |name: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !name.is_empty() && name.len() <= 253 && name.bytes().all(is_plain)
        };
        let mut allowed = Vec::new();
        for name in names {
            if !is_name(name) {
                return Err(HostError(name.clone()));
            }
            allowed.push(name.to_ascii_lowercase());
        }
        if listen.ip().is_loopback() {
            allowed.push("localhost".to_owned());
        }
        Ok(Self { names: allowed })
    }

    /// Returns whether a request may call the server by this name, as the header `Host` has it.
    pub(super) fn allow(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else { return false };
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        address.parse::<IpAddr>().is_ok() || self.names.contains(&name.to_ascii_lowercase())
    }
}

/// Returns the name or the address before the port; `None`: it is neither.
fn without_port(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            (&host[..end + 2], &host[end + 2..])
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (is_valid && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_the_servers_own_are_refused() {
        let local = AllowedHosts::new("127.0.0.1:9187".parse().unwrap(), &["Status.Example.org".to_owned()]);
        let local = local.unwrap();
        for host in [
            "localhost:9187",
            "LOCALHOST",
            "127.0.0.1:9187",
            "127.0.0.1",
            "[::1]:9187",
            "[::1]",
            "10.0.0.7:80",
            "status.example.org",
        ] {
            assert!(local.allow(host), "{host}");
        }
        for host in [
            "",
            ":9187",
            "evil.example.org",
            "localhost.evil.example.org",
            "127.0.0.1.evil.example.org",
            "127.0.0.1:9187:1",
            "localhost:",
            "localhost:x",
            "[::1",
            "[::1]x",
            "localhost@evil",
            "evil\tlocalhost",
        ] {
            assert!(!local.allow(host), "{host}");
        }
        let wide = AllowedHosts::new("0.0.0.0:9187".parse().unwrap(), &[]).unwrap();
        assert!(!wide.allow("localhost:9187") && wide.allow("10.0.0.7:9187"));
        assert!(AllowedHosts::new("0.0.0.0:1".parse().unwrap(), &["http://x".to_owned()]).is_err());
    }
}
