use std::io;
use std::time::Duration;

use thiserror::Error;

use super::rdb::RdbFault;
use crate::platform::{SecretError, WebError};
use crate::text::{format_duration, visible};

/// Why a Redis server could not be used. Never holds a password, nor a key.
#[derive(Debug, Error)]
pub enum RedisError {
    #[error("the URL of the server is not understood: {0}")]
    Url(&'static str),
    #[error("failed to get the URL of the server")]
    UrlSecret(#[source] SecretError),
    #[error("failed to get the password")]
    Password(#[source] SecretError),
    #[error("failed to read the certificate authority")]
    Authority(#[source] WebError),
    #[error("failed to set up TLS")]
    TlsSetup(#[source] rustls::Error),
    #[error("failed to connect to {address}")]
    Connect { address: String, source: io::Error },
    #[error(
        "failed to set up TLS with {address}: is its port one with TLS, and its certificate one for that name and of a known authority?"
    )]
    Tls { address: String, source: io::Error },
    #[error("{address} did not answer in {}", format_duration(*.within))]
    Silent { address: String, within: Duration },
    #[error("{address} closed the connection")]
    Closed { address: String },
    #[error("failed to read from {address}")]
    Read { address: String, source: io::Error },
    #[error("failed to send to {address}")]
    Send { address: String, source: io::Error },
    #[error("{address} does not answer as a Redis server does: {what}")]
    Protocol { address: String, what: &'static str },
    #[error("{address} requires a password: name it as `password`, by reference")]
    NoPassword { address: String },
    #[error("{address} refused the user or the password")]
    WrongPassword { address: String },
    #[error("{address} has no password, and one was given: is it the server that is meant?")]
    PasswordNotSet { address: String },
    #[error("{address} is loading its data: try again when it has ended")]
    Loading { address: String },
    #[error(
        "{address} is a replica without a connection to its master: its data may be old; name the master, or repair the replication"
    )]
    MasterDown { address: String },
    #[error("the user may not run {command} on {address}: grant it (`ACL SETUSER name +{}`)", .command.to_lowercase().replace(' ', "|"))]
    NoPermission { address: String, command: String },
    #[error(
        "{address} does not know {command}, as is so of managed services (ElastiCache, MemoryDB, Memorystore and others): use the service's own snapshots, or a source of kind `command` that exports the keys"
    )]
    Unknown { address: String, command: String },
    #[error("{address} answered {command} with an error: {}", visible(.text))]
    Refused { address: String, command: String, text: String },
    #[error(
        "{address} is a node of a Redis Cluster, and has only its part of the keys: drctl backs up single servers, and those that Sentinel names"
    )]
    Cluster { address: String },
    #[error("Sentinel {address} does not know a master `{master}`")]
    NoSuchMaster { address: String, master: String },
    #[error("the transfer did not end in {}", format_duration(*.0))]
    Deadline(Duration),
    #[error("the dump is incomplete: {address} closed the connection after {read} bytes{}", .expected.map(|all| format!(" of {all}")).unwrap_or_default())]
    Truncated { address: String, read: u64, expected: Option<u64> },
    #[error("the dump is damaged: {0}")]
    Damaged(RdbFault),
    #[error("interrupted")]
    Interrupted,
}

impl RedisError {
    /// Returns the meaning of an error that a server answered to a command.
    pub(super) fn of_answer(address: &str, command: &str, text: &str) -> Self {
        let (address, command) = (address.to_owned(), command.to_owned());
        let code = text.split(' ').next().unwrap_or_default();
        let lower = text.to_ascii_lowercase();
        match code {
            "NOAUTH" => Self::NoPassword { address },
            "WRONGPASS" => Self::WrongPassword { address },
            "LOADING" => Self::Loading { address },
            "MASTERDOWN" | "NOMASTERLINK" => Self::MasterDown { address },
            "NOPERM" => Self::NoPermission { address, command },
            _ if lower.starts_with("err unknown command") => Self::Unknown { address, command },
            // What follows may be a password.
            _ if command == "AUTH" && lower.contains("no password is set")
                || lower.contains("without any password") =>
            {
                Self::PasswordNotSet { address }
            }
            _ if command == "AUTH" => Self::WrongPassword { address },
            _ => {
                let shown = text.split(", with args").next().unwrap_or_default();
                Self::Refused { address, command, text: shown.to_owned() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_of_a_command_is_not_shown() {
        for text in [
            "ERR unknown command 'AUTH', with args beginning with: 'hush' ",
            "ERR wrong number of arguments hush",
            "ERR Client sent AUTH, but no password is set hush",
        ] {
            let said = RedisError::of_answer("redis://h:1", "AUTH", text).to_string();
            assert!(!said.contains("hush"), "{said}");
        }
        let said =
            RedisError::of_answer("redis://h:1", "RESTORE", "ERR no, with args beginning with: 'hush'");
        assert!(!said.to_string().contains("hush"), "{said}");
    }

    #[test]
    fn answers_are_told_apart_by_what_to_do() {
        let said =
            |command: &str, text: &str| RedisError::of_answer("redis://h:1", command, text).to_string();
        assert!(
            said("SYNC", "ERR unknown command 'SYNC', with args beginning with:").contains("ElastiCache")
        );
        assert!(said("SYNC", "NOPERM this user has no permissions").contains("ACL SETUSER name +sync"));
        assert!(said("SYNC", "LOADING Redis is loading the dataset in memory").contains("loading"));
        assert!(said("SYNC", "NOMASTERLINK Can't SYNC while not connected").contains("replica"));
        assert!(said("PING", "NOAUTH Authentication required.").contains("`password`"));
    }
}
