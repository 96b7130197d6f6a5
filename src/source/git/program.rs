use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use url::{Host, Url};

use super::error::GitError;
use crate::platform::{ExposeSecret as _, Program, SecretRef, SecretString};
use crate::policy::GitSource;

/// Variables of this process that would have Git work on another repository, or ask someone.
const WITHOUT: [&str; 16] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
];

/// No hook is run, no helper program of a URL started, and a mirror has no other objects than its own.
const SETTINGS: [&str; 9] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "transfer.bundleURI=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "advice.defaultBranchName=false",
];

/// Returns Git, to work on the repository at `directory`, or on none.
pub fn git(directory: Option<&Path>) -> Program {
    let mut program = Program::new("git").env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
    for name in WITHOUT {
        program = program.without_env(name);
    }
    if let Some(directory) = directory {
        program = program.env("GIT_DIR", directory);
    }
    SETTINGS.iter().fold(program, |program, setting| program.args(["-c", setting]))
}

/// What a request to the remote carries.
#[derive(Clone)]
pub(super) struct Login {
    token: Option<(Url, SecretString)>,
    key: Option<Arc<File>>,
}

impl Login {
    /// Reads the secrets of the policy.
    pub(super) async fn of(config: &GitSource) -> Result<Self, GitError> {
        let token = match &config.token {
            None => None,
            Some(reference) => {
                let url = Url::parse(&config.remote).ok().filter(may_have_token);
                let url = url.ok_or_else(|| GitError::PlainToken { remote: config.remote.clone() })?;
                Some((url, secret("token", reference).await?))
            }
        };
        let key = match &config.ssh_key {
            None => None,
            Some(reference) => {
                let key = secret("private key", reference).await?;
                Some(Arc::new(in_memory(key.expose_secret()).map_err(GitError::Key)?))
            }
        };
        Ok(Self { token, key })
    }

    /// Adds it to Git's environment.
    pub(super) fn give(&self, mut program: Program) -> Program {
        if let Some((url, token)) = &self.token {
            let user = if url.username().is_empty() { "x-access-token" } else { url.username() };
            let pair = SecretString::from(STANDARD.encode(format!("{user}:{}", token.expose_secret())));
            let header = SecretString::from(format!("Authorization: Basic {}", pair.expose_secret()));
            program = program
                .hide(token.expose_secret())
                .hide(pair.expose_secret())
                .env("GIT_CONFIG_COUNT", "3")
                // Git would send it to wherever the server redirects to. A helper of the host has nothing to add.
                .env("GIT_CONFIG_KEY_0", format!("http.{}.extraHeader", url.origin().ascii_serialization()))
                .secret_env("GIT_CONFIG_VALUE_0", &header)
                .env("GIT_CONFIG_KEY_1", "credential.helper")
                .env("GIT_CONFIG_VALUE_1", "")
                .env("GIT_CONFIG_KEY_2", "http.followRedirects")
                .env("GIT_CONFIG_VALUE_2", "false");
        }
        let key = match &self.key {
            None => String::new(),
            // Of this process: ssh closes what it inherits.
            Some(key) => {
                let path = format!("/proc/{}/fd/{}", std::process::id(), key.as_raw_fd());
                program = program.holding(Arc::clone(key) as Arc<_>);
                format!(" -o IdentitiesOnly=yes -o IdentityAgent=none -i {path}")
            }
        };
        program.env("GIT_SSH_COMMAND", format!("ssh -o BatchMode=yes{key}"))
    }
}

/// A server of this host is one for tests, or the end of a tunnel.
fn may_have_token(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_local)
}

async fn secret(what: &'static str, reference: &SecretRef) -> Result<SecretString, GitError> {
    reference.resolve().await.map_err(|source| GitError::Secret { what, source })
}

/// A file that has no name, and is gone with this process however it ends.
fn in_memory(text: &str) -> io::Result<File> {
    let descriptor = memfd_create("drctl-ssh-key", MemfdFlags::CLOEXEC)?;
    fchmod(&descriptor, Mode::RUSR | Mode::WUSR)?;
    let mut file = File::from(descriptor);
    file.write_all(text.as_bytes())?;
    // OpenSSH wants it, and a reference to a secret leaves it out.
    file.write_all(b"\n")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_no_server_in_the_clear() {
        for (url, may) in [
            ("https://git.example.org/a.git", true),
            ("http://git.example.org/a.git", false),
            ("http://127.0.0.1:8080/a.git", true),
            ("ssh://git@git.example.org/a.git", false),
        ] {
            assert_eq!(may_have_token(&url.parse().unwrap()), may, "{url}");
        }
    }

    #[test]
    fn a_key_in_memory_is_read_by_its_path_and_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = in_memory("-----BEGIN").unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "-----BEGIN\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
