use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::pipeline::NewIdentity;
use crate::platform::{ExposeSecret as _, SecretString};

/// Why no keys were created. No files are left behind.
#[derive(Debug, Error)]
pub enum KeysError {
    #[error("`{path}` already exists, and nothing is ever overwritten")]
    Exists { path: PathBuf },
    #[error("`{path}` names no file in a directory that exists")]
    NoDirectory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("both identities would be in `{directory}`: who loses it loses both")]
    SamePlace { directory: PathBuf },
    #[error("failed to write the identity file `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The paths of the two identities. An existing value was validated: both files are missing, and not in one
/// directory unless that was requested.
#[derive(Clone, Debug)]
pub struct KeysPlan {
    operational: PathBuf,
    escrow: PathBuf,
}

/// An identity file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// `operational` or `escrow`.
    pub holder: &'static str,
    pub path: PathBuf,
    /// The recipient for the policy: `age1…`
    pub recipient: String,
}

impl KeysPlan {
    pub fn new(operational: &Path, escrow: &Path, danger_same_place: bool) -> Result<Self, KeysError> {
        let one = directory_of(operational)?;
        let other = directory_of(escrow)?;
        if one == other && (!danger_same_place || operational.file_name() == escrow.file_name()) {
            return Err(KeysError::SamePlace { directory: one });
        }
        for path in [operational, escrow] {
            // A dangling link exists, too.
            if std::fs::symlink_metadata(path).is_ok() {
                return Err(KeysError::Exists { path: path.to_owned() });
            }
        }
        Ok(Self { operational: operational.to_owned(), escrow: escrow.to_owned() })
    }

    /// Creates both keys and writes their identities, or neither.
    pub fn execute(&self) -> Result<[KeyFile; 2], KeysError> {
        let operational = make("operational", &self.operational)?;
        match make("escrow", &self.escrow) {
            Ok(escrow) => Ok([operational, escrow]),
            Err(error) => {
                let _gone = std::fs::remove_file(&self.operational);
                Err(error)
            }
        }
    }
}

/// Returns the directory of a future file, without links, so that two names of one directory are equal.
fn directory_of(path: &Path) -> Result<PathBuf, KeysError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |source| KeysError::NoDirectory { path: path.to_owned(), source };
    if path.file_name().is_none() {
        return Err(failed(std::io::ErrorKind::InvalidFilename.into()));
    }
    let directory = std::fs::canonicalize(parent).map_err(failed)?;
    if directory.is_dir() { Ok(directory) } else { Err(failed(std::io::ErrorKind::NotADirectory.into())) }
}

fn make(holder: &'static str, path: &Path) -> Result<KeyFile, KeysError> {
    let identity = NewIdentity::generate();
    let text =
        identity.file(&format!("drctl, {holder} identity: opens every backup made for its public key"));
    write_new(path, &text).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => KeysError::Exists { path: path.to_owned() },
        _ => KeysError::Write { path: path.to_owned(), source },
    })?;
    Ok(KeyFile { holder, path: path.to_owned(), recipient: identity.recipient() })
}

/// Creates a file with access for its owner only, and syncs it to disk. Removes an incomplete file.
fn write_new(path: &Path, text: &SecretString) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(text.expose_secret().as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        let _gone = std::fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::pipeline::Identities;

    fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let [one, other] = ["host", "safe"].map(|name| root.path().join(name));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&other).unwrap();
        (root, one.join("op.key"), other.join("escrow.key"))
    }

    #[test]
    fn each_file_is_its_owners_and_opens_what_its_recipient_seals() {
        let (_root, operational, escrow) = places();
        let made = KeysPlan::new(&operational, &escrow, false).unwrap().execute().unwrap();
        assert_ne!(made[0].recipient, made[1].recipient);
        for key in made {
            assert_eq!(std::fs::metadata(&key.path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(
                Identities::read(std::slice::from_ref(&key.path)).unwrap().recipients(),
                [key.recipient]
            );
        }
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_left_behind() {
        let (_root, operational, escrow) = places();
        std::fs::write(&escrow, "precious").unwrap();
        let refused = KeysPlan::new(&operational, &escrow, false).unwrap_err();
        assert!(matches!(refused, KeysError::Exists { .. }), "{refused}");

        std::fs::remove_file(&escrow).unwrap();
        let plan = KeysPlan::new(&operational, &escrow, false).unwrap();
        std::fs::write(&escrow, "precious").unwrap();
        assert!(matches!(plan.execute().unwrap_err(), KeysError::Exists { .. }));
        assert_eq!(std::fs::read_to_string(&escrow).unwrap(), "precious");
        assert!(!operational.exists(), "the first identity went with the second");
    }

    #[test]
    fn one_place_for_both_must_be_asked_for_and_one_file_is_never_two() {
        let (_root, operational, _) = places();
        let beside = operational.with_file_name("escrow.key");
        let link = operational.parent().unwrap().with_file_name("link");
        std::os::unix::fs::symlink(operational.parent().unwrap(), &link).unwrap();
        for escrow in [&beside, &link.join("escrow.key")] {
            let refused = KeysPlan::new(&operational, escrow, false).unwrap_err();
            assert!(matches!(refused, KeysError::SamePlace { .. }), "{refused}");
            assert!(KeysPlan::new(&operational, escrow, true).is_ok());
        }
        assert!(KeysPlan::new(&operational, &operational, true).is_err());
        let nowhere = Path::new("/nowhere/at/all/op.key");
        assert!(matches!(KeysPlan::new(nowhere, &beside, false), Err(KeysError::NoDirectory { .. })));
    }
}
