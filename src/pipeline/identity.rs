use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use age::armor::ArmoredReader;
use age::secrecy::ExposeSecret as _;
use age::{Decryptor, x25519};
use thiserror::Error;

use crate::platform::{SecretString, exposed};

/// Secret keys that decrypt backups. Held in memory only, on the host that restores.
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
    #[error("`{path}` line {line} is not an age identity (`AGE-SECRET-KEY-1…`) but {is}")]
    Other { path: PathBuf, line: usize, is: Lookalike },
    #[error("`{path}` holds no age identity")]
    Empty { path: PathBuf },
    #[error("the identity in `{path}` is protected by a passphrase, and there is no terminal to ask for it")]
    Locked { path: PathBuf },
    #[error("the passphrase does not open the identity in `{path}`")]
    WrongPassphrase { path: PathBuf },
    #[error("`{path}` is encrypted by age to keys, not with a passphrase")]
    Sealed { path: PathBuf },
    #[error("`{path}` is encrypted by age and cannot be opened ({reason})")]
    Unopened { path: PathBuf, reason: String },
}

/// What a text is that is not an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookalike {
    PublicKey,
    Plugin(String),
    PostQuantum,
    Ssh,
    SshPublic,
    Pem,
    Pgp,
    Encrypted,
    Damaged,
    Unknown,
}

impl std::fmt::Display for Lookalike {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PublicKey => "a public key (`age1…`), which opens nothing",
            Self::Plugin(name) => return write!(f, "an identity of the plugin `age-plugin-{name}`"),
            Self::PostQuantum => "a post-quantum identity, which this version does not support",
            Self::Ssh => "an SSH private key",
            Self::SshPublic => "an SSH public key",
            Self::Pem => "a private key in PEM, as TLS has them",
            Self::Pgp => "an OpenPGP key or message",
            Self::Encrypted => "another file that age encrypted",
            Self::Damaged => "one that is mistyped or cut off: its check sum is wrong",
            Self::Unknown => "something else",
        })
    }
}

impl Lookalike {
    /// Recognises a text by its beginning. Its contents are a secret and stay here.
    fn recognize(line: &str) -> Self {
        let upper = line.to_ascii_uppercase();
        let plugin = || upper.strip_prefix("AGE-PLUGIN-").and_then(|rest| rest.rsplit_once("-1"));
        match () {
            () if upper.starts_with("AGE-SECRET-KEY-PQ-1") => Self::PostQuantum,
            () if upper.starts_with("AGE-SECRET-KEY-1") => Self::Damaged,
            () if plugin().is_some() => {
                Self::Plugin(plugin().map(|(name, _)| name.to_ascii_lowercase()).unwrap_or_default())
            }
            () if line.starts_with("age1") => Self::PublicKey,
            () if line.starts_with("ssh-") || line.starts_with("ecdsa-") => Self::SshPublic,
            () if line.starts_with("-----BEGIN OPENSSH ") => Self::Ssh,
            () if line.starts_with("-----BEGIN PGP ") => Self::Pgp,
            () if line.starts_with(ARMOR) || line.starts_with(BINARY) => Self::Encrypted,
            () if line.starts_with("-----BEGIN ") && line.contains("KEY-----") => Self::Pem,
            () => Self::Unknown,
        }
    }
}

/// The beginning of a file encrypted by age.
const ARMOR: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const BINARY: &str = "age-encryption.org/v1";

impl IdentityError {
    /// Returns a hint how to fix the error.
    pub fn hint(&self) -> Option<String> {
        let generate = "drctl's backups are encrypted to age keys (`drctl keys generate`); `drctl show` says whose recipients a backup has.";
        Some(match self {
            Self::Read { .. } | Self::Exposed { .. } => return None,
            Self::Other { is: Lookalike::PublicKey, .. } => {
                "Name the file that `drctl keys generate` wrote beside it: its last line begins with `AGE-SECRET-KEY-1`.".to_owned()
            }
            Self::Other { is: Lookalike::Plugin(_), .. } => format!("No backup of drctl is encrypted to a plugin's recipient: name the X25519 identity of one of its recipients. {generate}"),
            Self::Other { is: Lookalike::Damaged, .. } => {
                "Copy it from the original again; `drctl keys check` proves that it opens a backup.".to_owned()
            }
            Self::Other { .. } | Self::Empty { .. } => generate.to_owned(),
            Self::Locked { path } => format!(
                "Run it on a terminal, or decrypt a copy that only its owner can read: `(umask 077; age -d {} > identity.key)`.",
                path.display()
            ),
            Self::WrongPassphrase { .. } => "Try again: each run asks for it.".to_owned(),
            Self::Sealed { path } => format!(
                "Decrypt it first, and give what comes out: `age -d -i KEY {} | drctl … --identity /dev/stdin`.",
                path.display()
            ),
            Self::Unopened { path, .. } => {
                format!("`age -d {}` shows whether it is intact.", path.display())
            }
        })
    }
}

/// The contents of an identity file.
pub enum IdentityFile {
    Open(Identities),
    Locked(LockedFile),
}

/// Identities that are encrypted with a passphrase.
pub struct LockedFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl IdentityFile {
    /// Reads one file: each line is an identity, a `#` comment or blank; or all of it is encrypted with a
    /// passphrase, as `age -p` does.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::Read { path: path.into(), source };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if let Some(mode) = exposed(path, &metadata) {
            return Err(IdentityError::Exposed { path: path.into(), mode });
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        if bytes.trim_ascii_start().starts_with(ARMOR.as_bytes()) || bytes.starts_with(BINARY.as_bytes()) {
            let file = LockedFile { path: path.to_owned(), bytes };
            return if file.decryptor()?.is_scrypt() {
                Ok(Self::Locked(file))
            } else {
                Err(IdentityError::Sealed { path: path.to_owned() })
            };
        }
        Identities::parse(path, bytes).map(Self::Open)
    }
}

/// The limit of `age`: its own measure of this host would reject on a busy one what was encrypted on another.
const MOST_WORK: u8 = 22;

impl LockedFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn open(&self, passphrase: SecretString) -> Result<Identities, IdentityError> {
        let mut key = age::scrypt::Identity::new(passphrase);
        key.set_max_work_factor(MOST_WORK);
        let opened = self.decryptor()?.decrypt(std::iter::once(&key as &dyn age::Identity));
        let mut stream = opened.map_err(|error| match error {
            age::DecryptError::DecryptionFailed
            | age::DecryptError::KeyDecryptionFailed
            | age::DecryptError::NoMatchingKeys => IdentityError::WrongPassphrase { path: self.path.clone() },
            error => self.unopened(&error),
        })?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_err(|error| self.unopened(&error))?;
        Identities::parse(&self.path, bytes)
    }

    fn decryptor(&self) -> Result<Decryptor<impl BufRead>, IdentityError> {
        let reader = BufReader::new(ArmoredReader::new(self.bytes.trim_ascii_start()));
        Decryptor::new_buffered(reader).map_err(|error| self.unopened(&error))
    }

    fn unopened(&self, error: &dyn std::fmt::Display) -> IdentityError {
        IdentityError::Unopened { path: self.path.clone(), reason: error.to_string() }
    }
}

impl Identities {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads every identity in the files, without a prompt for a passphrase.
    pub fn read(paths: &[PathBuf]) -> Result<Self, IdentityError> {
        let mut all = Self::default();
        for path in paths {
            match IdentityFile::read(path)? {
                IdentityFile::Open(found) => all.add(found),
                IdentityFile::Locked(_) => return Err(IdentityError::Locked { path: path.clone() }),
            }
        }
        Ok(all)
    }

    /// Reads the identities of a secret. `origin` is named in errors.
    pub fn from_secret(origin: &Path, text: &SecretString) -> Result<Self, IdentityError> {
        Self::parse(origin, text.expose_secret().as_bytes().to_vec())
    }

    pub fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, IdentityError> {
        let other = |line, is| IdentityError::Other { path: path.into(), line, is };
        let text = match String::from_utf8(bytes) {
            Ok(text) => SecretString::from(text),
            Err(_) => return Err(other(1, Lookalike::Unknown)),
        };
        let mut identities = Vec::new();
        for (number, line) in text.expose_secret().lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = line.parse().map_err(|_| other(number + 1, Lookalike::recognize(line)))?;
            identities.push(identity);
        }
        if identities.is_empty() {
            return Err(IdentityError::Empty { path: path.into() });
        }
        Ok(Self(identities))
    }

    /// Returns the public keys, in order.
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

/// A new key pair.
pub struct NewIdentity(x25519::Identity);

impl NewIdentity {
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    /// Returns the recipient for the policy: `age1…`
    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    /// Returns the text of an identity file, in the format of `age-keygen`.
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use age::Encryptor;
    use age::armor::{ArmoredWriter, Format};

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        (folder, path)
    }

    fn refused(text: &str) -> IdentityError {
        let (_folder, path) = file(text.as_bytes());
        Identities::read(&[path]).unwrap_err()
    }

    #[test]
    fn what_is_no_identity_is_named_for_what_it_is_and_never_repeated() {
        let own = NewIdentity::generate();
        let secret = own.file("mine");
        let identity = secret.expose_secret().lines().last().unwrap();
        let cut = &identity[..identity.len() - 1];
        for (text, word) in [
            (own.recipient().as_str(), "a public key"),
            ("AGE-PLUGIN-YUBIKEY-1QVHULF", "the plugin `age-plugin-yubikey`"),
            ("AGE-PLUGIN-FIDO2-HMAC-1QVHULF", "the plugin `age-plugin-fido2-hmac`"),
            ("AGE-SECRET-KEY-PQ-1QQQQ", "post-quantum"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb\n", "an SSH private key"),
            ("ssh-ed25519 AAAA me@host", "an SSH public key"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIF\n", "a private key in PEM"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIF\n", "a private key in PEM"),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "OpenPGP"),
            (cut, "mistyped or cut off"),
            ("hunter2", "something else"),
        ] {
            let error = refused(&format!("# a comment\n{text}\n"));
            let said = format!("{error} {}", error.hint().unwrap());
            assert!(said.contains(word) && said.contains("line 2"), "{said}");
            assert!(!said.contains("hunter2") && !said.contains(cut), "{said}");
        }
        assert!(matches!(refused("# nothing\n"), IdentityError::Empty { .. }));
    }

    #[test]
    fn an_identity_behind_a_passphrase_opens_with_it_alone() {
        let own = NewIdentity::generate();
        for armored in [false, true] {
            let mut key = age::scrypt::Recipient::new("correct horse".to_owned().into());
            key.set_work_factor(2);
            let encryptor = Encryptor::with_recipients(std::iter::once(&key as &dyn age::Recipient)).unwrap();
            let mut bytes = Vec::new();
            let format = if armored { Format::AsciiArmor } else { Format::Binary };
            let output = ArmoredWriter::wrap_output(&mut bytes, format).unwrap();
            let mut writer = encryptor.wrap_output(output).unwrap();
            writer.write_all(own.file("mine").expose_secret().as_bytes()).unwrap();
            writer.finish().and_then(ArmoredWriter::finish).unwrap();

            let (_folder, path) = file(&bytes);
            assert!(matches!(
                Identities::read(std::slice::from_ref(&path)),
                Err(IdentityError::Locked { .. })
            ));
            let Ok(IdentityFile::Locked(locked)) = IdentityFile::read(&path) else { panic!("not locked") };
            let wrong = locked.open("battery staple".to_owned().into());
            assert!(matches!(wrong, Err(IdentityError::WrongPassphrase { .. })), "{wrong:?}");
            let opened = locked.open("correct horse".to_owned().into()).unwrap();
            assert_eq!(opened.recipients(), [own.recipient()]);
        }
    }

    #[test]
    fn an_identity_that_is_encrypted_to_a_key_or_cut_off_is_no_passphrase_s() {
        let own = NewIdentity::generate();
        let key: x25519::Recipient = own.recipient().parse().unwrap();
        let encryptor = Encryptor::with_recipients(std::iter::once(&key as &dyn age::Recipient)).unwrap();
        let mut bytes = Vec::new();
        let mut writer = encryptor.wrap_output(&mut bytes).unwrap();
        writer.write_all(b"AGE-SECRET-KEY-1").unwrap();
        writer.finish().unwrap();
        let (_folder, path) = file(&bytes);
        assert!(matches!(IdentityFile::read(&path), Err(IdentityError::Sealed { .. })));
        let (_folder, path) = file(&bytes[..40]);
        assert!(matches!(IdentityFile::read(&path), Err(IdentityError::Unopened { .. })));
    }
}
