use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret as _;
use age::x25519;
use thiserror::Error;

use crate::platform::SecretString;

/// Secret keys that open backups. Held in memory only, on the host that restores.
#[derive(Clone, Default)]
pub struct Identities(Vec<x25519::Identity>);

#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("failed to read the identity file `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("identity file `{path}` may be read by others (mode {mode:o}); `chmod 600` it")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("`{path}` line {line} is not an age identity (`AGE-SECRET-KEY-1…`)")]
    Syntax { path: PathBuf, line: usize },
    #[error("`{path}` holds no age identity")]
    Empty { path: PathBuf },
}

impl Identities {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads every identity in the files. A line is an identity, a `#` comment or blank.
    pub fn read(paths: &[PathBuf]) -> Result<Self, IdentityError> {
        let mut all = Self::default();
        for path in paths {
            let found = Self::read_one(path)?;
            all.0.extend(found.0);
        }
        Ok(all)
    }

    fn read_one(path: &Path) -> Result<Self, IdentityError> {
        use std::os::unix::fs::PermissionsExt as _;
        let failed = |source| IdentityError::Read { path: path.into(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        let mode = metadata.permissions().mode() & 0o777;
        // A pipe or a descriptor (`/dev/fd/3`) has no mode worth judging.
        if metadata.is_file() && mode & 0o077 != 0 {
            return Err(IdentityError::Exposed { path: path.into(), mode });
        }
        let text = SecretString::from(std::fs::read_to_string(path).map_err(failed)?);
        let mut identities = Vec::new();
        for (number, line) in text.expose_secret().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity =
                line.parse().map_err(|_| IdentityError::Syntax { path: path.into(), line: number + 1 })?;
            identities.push(identity);
        }
        if identities.is_empty() {
            return Err(IdentityError::Empty { path: path.into() });
        }
        Ok(Self(identities))
    }

    /// The public keys, in order.
    pub fn recipients(&self) -> Vec<String> {
        self.0.iter().map(|identity| identity.to_public().to_string()).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| identity as &dyn age::Identity)
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identities").field(&self.recipients()).finish()
    }
}

/// A pair of keys just made.
pub struct NewIdentity(x25519::Identity);

impl NewIdentity {
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    /// `age1…`: goes into the policy.
    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    /// The text of an identity file, as `age-keygen` writes it.
    pub fn file(&self, comment: &str) -> SecretString {
        SecretString::from(format!(
            "# {comment}\n# public key: {}\n{}\n",
            self.recipient(),
            self.0.to_string().expose_secret()
        ))
    }

    pub fn identities(&self) -> Identities {
        Identities(vec![self.0.clone()])
    }
}
