use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown};
use std::path::Path;

/// Creates a new file that only its owner can access.
pub(super) fn create(path: &Path, owner: Option<(u32, u32)>) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some((user, group)) = owner {
        fchown(&file, Some(user), Some(group))?;
    }
    Ok(file)
}

/// Creates a directory, new or not, that only its owner can access, and its missing parents, which its owner
/// has to be able to traverse.
pub(super) fn create_directory(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut missing: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    while let Some(folder) = missing.pop() {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => {
                created?;
                give(folder, owner)?;
            }
        }
    }
    // A server refuses a directory that other users can access.
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    give(path, owner)
}

fn give(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    owner.map_or(Ok(()), |(user, group)| chown(path, Some(user), Some(group)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn every_directory_that_is_made_on_the_way_belongs_to_the_owner() {
        let folder = tempfile::tempdir().unwrap();
        let there = fs::metadata(folder.path()).unwrap();
        // Only root can give files to another user.
        let owner = match rustix::process::geteuid().is_root() {
            true => (4711, 4712),
            false => (there.uid(), there.gid()),
        };
        let deep = folder.path().join("data-tablespaces/16401");
        create_directory(&deep, Some(owner)).unwrap();
        for made in [deep.as_path(), deep.parent().unwrap()] {
            let found = fs::metadata(made).unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (owner.0, owner.1, 0o700));
        }
        // What was there stays whose it was.
        assert_eq!(fs::metadata(folder.path()).unwrap().uid(), there.uid());
        fs::set_permissions(&deep, Permissions::from_mode(0o755)).unwrap();
        create_directory(&deep, None).unwrap();
        assert_eq!(fs::metadata(&deep).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&deep).unwrap().uid(), owner.0);
    }
}
