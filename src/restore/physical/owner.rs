use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use crate::platform::{CancellationToken, Program};

const ID_WITHIN: Duration = Duration::from_secs(10);

/// The user and group that files belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryOwner {
    pub name: String,
    pub user: u32,
    pub group: u32,
}

impl DirectoryOwner {
    /// Looks up a user of this host; `None`: there is no such user.
    pub async fn find(name: &str) -> Option<Self> {
        let ask = async |flag: &str| {
            let program = Program::new("id").arg(flag).arg("--").arg(name);
            program.run(ID_WITHIN, &CancellationToken::new()).await.ok()?.stdout.trim().parse().ok()
        };
        Some(Self { name: name.to_owned(), user: ask("-u").await?, group: ask("-g").await? })
    }

    /// Returns whether the mode bits of a file and of its parent directories let this user read it.
    /// Supplementary groups are not considered.
    pub(super) fn may_read(&self, path: &Path) -> bool {
        let allows = |path: &Path, bit: u32| {
            std::fs::metadata(path).is_ok_and(|found| {
                let shift = match () {
                    () if found.uid() == self.user => 6,
                    () if found.gid() == self.group => 3,
                    () => 0,
                };
                found.permissions().mode() >> shift & bit != 0
            })
        };
        self.user == 0 || (allows(path, 4) && path.ancestors().skip(1).all(|folder| allows(folder, 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_its_user_cannot_read_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let found = std::fs::metadata(&key).unwrap();
        let owner = |user: u32| DirectoryOwner {
            name: String::new(),
            user,
            group: found.gid().wrapping_add(1).max(1),
        };
        assert!(!owner(found.uid() + 4711).may_read(&key));
        assert_eq!(owner(found.uid()).may_read(&key), std::fs::read(&key).is_ok());
    }
}
