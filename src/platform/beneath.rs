use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// The longest path that one call takes, with room for its end.
const LONGEST: usize = 3072;

/// Opens a path below a directory, however long, and follows no symbolic link on the way: what is opened is inside of the
/// directory, whoever changes the tree meanwhile. An empty path is the directory itself.
pub fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    if path.is_empty() {
        return Ok(openat(root, c".", flags | OFlags::CLOEXEC, mode)?);
    }
    let mut within: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() > LONGEST {
        let cut = rest[..LONGEST].iter().rposition(|byte| *byte == b'/').unwrap_or(LONGEST);
        let from = within.as_ref().map_or(root, AsFd::as_fd);
        let next = step(from, &rest[..cut], OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        within = Some(next);
        rest = rest.get(cut + 1..).unwrap_or_default();
    }
    step(within.as_ref().map_or(root, AsFd::as_fd), rest, flags, mode)
}

fn step(from: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(from, path, flags, mode, resolve) {
        // Before Linux 5.6, and where a container's filter does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => each_name(from, path, flags, mode),
        opened => Ok(opened?),
    }
}

fn each_name(from: BorrowedFd<'_>, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut within: Option<OwnedFd> = None;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        if name == b".." {
            return Err(Errno::XDEV.into());
        }
        let from = within.as_ref().map_or(from, AsFd::as_fd);
        if names.peek().is_none() {
            return Ok(openat(from, name, flags, mode)?);
        }
        let passing = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        within = Some(openat(from, name, passing, Mode::empty())?);
    }
    Err(Errno::NOENT.into())
}

/// Splits a path into that of its directory, empty where it has none, and its name.
pub fn split_name(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_opened_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), "inside").unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("a", root.join("beside")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        let root = File::open(&root).unwrap();
        for open in [step, each_name] {
            let at = |path: &str| open(root.as_fd(), path.as_bytes(), OFlags::RDONLY, Mode::empty());
            assert!(at("a/b/file").is_ok());
            for outside in ["up/secret", "beside/b/file", "etc/passwd", "up", "a/../../secret", "../secret"] {
                assert!(at(outside).is_err(), "{outside}");
            }
        }
        assert!(open_beneath(root.as_fd(), b"", OFlags::RDONLY, Mode::empty()).is_ok());
    }

    #[test]
    fn a_path_longer_than_a_call_takes_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = File::open(folder.path()).unwrap();
        let name = "d".repeat(200);
        let mut path = Vec::new();
        for _ in 0..40 {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let (above, name) = split_name(&path);
            let above = open_beneath(root.as_fd(), above, OFlags::RDONLY, Mode::empty()).unwrap();
            rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o700)).unwrap();
        }
        assert!(open_beneath(root.as_fd(), &path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).is_ok());
    }
}
