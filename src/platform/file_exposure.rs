use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::StatVfsMountFlags;

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of Linux: in-memory file systems.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// The facts that decide whether others can read a file's secret.
#[derive(Clone, Copy, Debug)]
struct FileFacts {
    mode: u32,
    is_file: bool,
    owner: u32,
    user: u32,
    /// On an in-memory file system that is mounted read-only.
    is_mounted: bool,
}

/// Returns the mode of a file whose secret others may read; `None` if they cannot.
///
/// Container platforms provide secrets on an in-memory file system that is mounted read-only into the
/// container, with mode 0444 or 0440, and owned by root: there the mount keeps others out, and the mode means
/// nothing. A file that group or others can write is exposed there, too.
pub fn exposed(path: &Path, metadata: &Metadata) -> Option<u32> {
    let is_mounted = || {
        let in_memory = rustix::fs::statfs(path).is_ok_and(|system| {
            IN_MEMORY.iter().any(|magic| u64::try_from(system.f_type).is_ok_and(|kind| kind == *magic))
        });
        let read_only =
            rustix::fs::statvfs(path).is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY));
        in_memory && read_only
    };
    let mode = metadata.permissions().mode() & 0o777;
    let facts = FileFacts {
        mode,
        is_file: metadata.is_file(),
        owner: metadata.uid(),
        user: rustix::process::geteuid().as_raw(),
        is_mounted: mode & 0o077 != 0 && is_mounted(),
    };
    is_exposed(facts).then_some(mode)
}

fn is_exposed(facts: FileFacts) -> bool {
    let FileFacts { mode, is_file, owner, user, is_mounted } = facts;
    // A pipe or a descriptor (`/dev/fd/3`) has no meaningful mode.
    if !is_file || mode & 0o077 == 0 {
        return false;
    }
    let is_given = is_mounted && mode & 0o022 == 0 && (owner == 0 || owner == user);
    !is_given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_platform_mounts_is_secret_and_what_lies_about_is_not() {
        let secret = FileFacts { mode: 0o444, is_file: true, owner: 0, user: 1000, is_mounted: true };
        for mode in [0o444, 0o440, 0o644, 0o640, 0o400] {
            assert!(!is_exposed(FileFacts { mode, ..secret }), "{mode:o}");
        }
        for mode in [0o664, 0o646, 0o666] {
            assert!(is_exposed(FileFacts { mode, ..secret }), "{mode:o}: others could put one there");
        }
        assert!(is_exposed(FileFacts { owner: 33, ..secret }), "of a user who is neither root nor this one");
        let on_disk = FileFacts { is_mounted: false, ..secret };
        for mode in [0o444, 0o440, 0o640] {
            assert!(is_exposed(FileFacts { mode, ..on_disk }), "{mode:o}");
        }
        assert!(!is_exposed(FileFacts { mode: 0o600, ..on_disk }));
        assert!(!is_exposed(FileFacts { is_file: false, ..on_disk }), "a pipe");
    }
}
