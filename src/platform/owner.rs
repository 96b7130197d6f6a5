use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

/// Gives a file just created by root to the owner of its folder, who must be able to write it later. For
/// other users it does nothing.
pub fn give_to_folder_owner(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = std::fs::metadata(folder)?;
    if owner.uid() == 0 {
        return Ok(());
    }
    match chown(path, Some(owner.uid()), Some(owner.gid())) {
        // Some file systems do not support owners, or squash root.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        given => given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        give_to_folder_owner(&file).unwrap();
        let owner = |path: &Path| std::fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
        assert_eq!(owner(&file), owner(folder.path()));
        if rustix::process::geteuid().is_root() {
            chown(folder.path(), Some(12345), Some(54321)).unwrap();
            give_to_folder_owner(&file).unwrap();
            assert_eq!(owner(&file), (12345, 54321));
        }
    }
}
