use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::JoinHandle;

use super::{ConnectError, ConnectionParameters, Password, SslMode};
use crate::platform::Program;
use crate::text::error_chain;

/// A token is valid for opening connections for 15 minutes.
const RENEWED_EVERY: Duration = Duration::from_secs(5 * 60);
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(20);
/// From this major on libpq accepts lines of any length in a password file.
const LONG_LINES: u32 = 14;

impl ConnectionParameters {
    /// Returns the password of a new connection. A token is signed only for a server that will be verified.
    pub(super) async fn password_now(&self) -> Result<Option<SecretString>, ConnectError> {
        match &self.password {
            None => Ok(None),
            Some(Password::Known(password)) => Ok(Some(password.clone())),
            Some(Password::IamToken(_)) if self.is_socket() || self.ssl_mode != SslMode::VerifyFull => {
                Err(ConnectError::Unverified { to: self.to_string() })
            }
            Some(Password::IamToken(signer)) => {
                let token = signer.sign(&self.host, self.port, &self.user).await;
                token.map(Some).map_err(|source| ConnectError::Token { to: self.to_string(), source })
            }
        }
    }

    /// Checks that the password or token can be obtained; no connection is made.
    pub async fn prove(&self) -> Result<(), ConnectError> {
        self.password_now().await.map(drop)
    }

    /// Prepares a program like [`Self::apply`], for one of this major that reconnects long after it was
    /// started, as `pg_restore --jobs` does when its workers are done: there is a valid token for each
    /// connection.
    pub async fn apply_lasting(&self, program: Program, major: u32) -> Result<Program, ConnectError> {
        let token = match &self.password {
            Some(Password::IamToken(_)) if major >= LONG_LINES => self.password_now().await?,
            _ => None,
        };
        let Some(token) = token else { return self.apply(program).await };
        let file = PasswordFile::create(self.clone(), &token);
        let file = file.map_err(|source| ConnectError::PasswordFile { to: self.to_string(), source })?;
        let program = self.apply_to(program, None).without_env("PGPASSWORD").env("PGPASSFILE", file.path());
        Ok(program.holding(Arc::new(file)))
    }
}

/// An unlinked password file that always has a valid token. It disappears with its last holder.
struct PasswordFile {
    file: Arc<File>,
    renewing: JoinHandle<()>,
}

impl PasswordFile {
    fn create(parameters: ConnectionParameters, token: &SecretString) -> std::io::Result<Self> {
        let file = tempfile::tempfile()?;
        // libpq ignores a password file that other users may read.
        file.set_permissions(Permissions::from_mode(0o600))?;
        (&file).write_all(line(token).as_bytes())?;
        let file = Arc::new(file);
        let renewing = tokio::spawn(renew(parameters, Arc::clone(&file)));
        Ok(Self { file, renewing })
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

impl Drop for PasswordFile {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(parameters: ConnectionParameters, file: Arc<File>) {
    let mut next = RENEWED_EVERY;
    loop {
        tokio::time::sleep(next).await;
        next = RENEWED_EVERY;
        let written = match parameters.password_now().await {
            // One write over the old line, so that no reader sees parts of both.
            Ok(Some(token)) => {
                file.write_all_at(line(&token).as_bytes(), 0).map_err(|error| error_chain(&error))
            }
            Ok(None) => return,
            Err(error) => Err(error_chain(&error)),
        };
        if let Err(reason) = written {
            tracing::warn!("the IAM token for `{parameters}` could not be renewed: {reason}");
            next = TRIED_AGAIN_AFTER;
        }
    }
}

/// Returns one line for every server: the program has only one. Empty lines after it overwrite the rest of a
/// longer one.
fn line(token: &SecretString) -> String {
    let escaped = token.expose_secret().replace('\\', "\\\\").replace(':', "\\:");
    let line = format!("*:*:*:*:{escaped}\n");
    format!("{line:\n<4096}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_over_a_longer_one_is_all_that_is_read_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create_new(folder.path().join("file")).unwrap();
        for token in ["host:5432/?of=a&longer=one".repeat(40), "host:5432/?of=a\\b".to_owned()] {
            file.write_all_at(line(&token.into()).as_bytes(), 0).unwrap();
        }
        let text = std::fs::read_to_string(folder.path().join("file")).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, [r"*:*:*:*:host\:5432/?of=a\\b"]);
    }
}
