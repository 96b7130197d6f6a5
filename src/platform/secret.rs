use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use thiserror::Error;

use super::secrets_manager::{self, SecretsManagerError};
use super::{CancellationToken, HomeError, Program, expand_home, exposed};

/// A reference to a secret. A policy contains secrets only by reference, so that it can be shown, stored in
/// version control and pasted into a ticket.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`
    Environment(String),
    /// `file:/path`; one trailing newline is not part of the secret.
    File(PathBuf),
    /// `command:program arg …`, split at white space, no shell; its standard output.
    Command(Vec<String>),
    /// `secretsmanager:ID` or `secretsmanager:ID#key` of a JSON secret.
    SecretsManager { id: String, key: Option<String> },
}

/// Why a secret could not be read. Never holds the secret.
#[derive(Debug, Error)]
pub enum SecretError {
    #[error(
        "`{0}` is not a reference to a secret (use `env:NAME`, `file:/path`, `command:program arg` or `secretsmanager:id`)"
    )]
    Syntax(String),
    #[error("environment variable `{0}` is not set or not UTF-8")]
    Environment(String),
    #[error("environment variable `{0}` is set, and empty")]
    EmptyVariable(String),
    #[error("failed to read the secret file `{path}`")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("secret file `{path}` may be read by others (mode {mode:o}); `chmod 600` it")]
    Exposed { path: PathBuf, mode: u32 },
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("failed to get a secret from `{program}`")]
    Command {
        program: String,
        #[source]
        source: super::ProcessError,
    },
    #[error("`{0}` gave an empty secret")]
    Empty(String),
    #[error("failed to get `{reference}` from AWS Secrets Manager")]
    SecretsManager {
        reference: String,
        #[source]
        source: SecretsManagerError,
    },
}

const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

impl SecretRef {
    /// Reads the secret, as late as possible.
    pub async fn resolve(&self) -> Result<SecretString, SecretError> {
        let text = match self {
            Self::Environment(name) => {
                let value = std::env::var(name).map_err(|_| SecretError::Environment(name.clone()))?;
                if value.is_empty() {
                    return Err(SecretError::EmptyVariable(name.clone()));
                }
                value
            }
            Self::File(path) => {
                let path = &expand_home(path)?;
                let failed = |source| SecretError::File { path: path.clone(), source };
                let metadata = std::fs::metadata(path).map_err(failed)?;
                if let Some(mode) = exposed(path, &metadata) {
                    return Err(SecretError::Exposed { path: path.clone(), mode });
                }
                std::fs::read_to_string(path).map_err(failed)?
            }
            Self::Command(words) => {
                let (program, arguments) =
                    words.split_first().ok_or_else(|| SecretError::Syntax(self.to_string()))?;
                let finished = Program::new(program)
                    .args(arguments)
                    .run(COMMAND_DEADLINE, &CancellationToken::new())
                    .await
                    .map_err(|source| SecretError::Command { program: program.clone(), source })?;
                finished.stdout
            }
            Self::SecretsManager { id, key } => {
                // Boxed, since its large future would enlarge that of every secret.
                let read = Box::pin(secrets_manager::read(id, key.as_deref())).await;
                read.map_err(|source| SecretError::SecretsManager { reference: self.to_string(), source })?
            }
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        Ok(SecretString::from(text.to_owned()))
    }
}

impl FromStr for SecretRef {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        // The error does not repeat the text, which may be a secret pasted by mistake.
        let refused = || SecretError::Syntax("(hidden)".to_owned());
        let (scheme, rest) = text.split_once(':').ok_or_else(refused)?;
        if rest.is_empty() {
            return Err(refused());
        }
        match scheme {
            "env" => Ok(Self::Environment(rest.to_owned())),
            "file" => Ok(Self::File(rest.into())),
            "command" => Ok(Self::Command(rest.split_whitespace().map(str::to_owned).collect())),
            "secretsmanager" => {
                let (id, key) = match rest.split_once('#') {
                    Some((id, key)) => (id, Some(key.to_owned())),
                    None => (rest, None),
                };
                Ok(Self::SecretsManager { id: id.to_owned(), key })
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Command(words) => write!(f, "command:{}", words.join(" ")),
            Self::SecretsManager { id, key: None } => write!(f, "secretsmanager:{id}"),
            Self::SecretsManager { id, key: Some(key) } => write!(f, "secretsmanager:{id}#{key}"),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretRef({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn references_parse_and_print_back() {
        for text in [
            "env:PGPASSWORD",
            "file:/run/secrets/db",
            "command:pass show db",
            "secretsmanager:prod/db#password",
        ] {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_pasted_password_is_refused_and_not_repeated() {
        let error = "hunter2".parse::<SecretRef>().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_file_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let reference = SecretRef::File(file.path().into());
        assert_eq!(reference.resolve().await.unwrap().expose_secret(), "secret");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(reference.resolve().await, Err(SecretError::Exposed { mode: 0o644, .. })));
    }
}
