//! Extended attributes, and ACLs, which are among them.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{fgetxattr, flistxattr, getxattr, listxattr};
use rustix::io::Errno;

/// Linux allows no more for all names together, and for one value.
const LONGEST: usize = 64 << 10;
/// Enough for most.
const USUAL: usize = 1 << 10;

/// Names and values.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// Returns those of an open file or directory.
pub(super) fn of(file: BorrowedFd<'_>) -> io::Result<Attributes> {
    collect(|list| flistxattr(file, list), |name, value| fgetxattr(file, name, value))
}

/// Returns those of what a path leads to.
pub(super) fn of_path(path: &str) -> io::Result<Attributes> {
    collect(|list| listxattr(path, list), |name, value| getxattr(path, name, value))
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
) -> io::Result<Attributes> {
    let names = match fill(list) {
        Ok(names) => names,
        // The file system has none.
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(vec![]),
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match fill(|value| get(name, value)) {
            Ok(value) => attributes.push((name.to_vec(), value)),
            // It was removed meanwhile, or is listed and not there for this user.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    attributes.sort();
    Ok(attributes)
}

fn fill(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; USUAL];
    match read(&mut small) {
        Ok(count) => Ok(small.get(..count).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; LONGEST];
            let count = read(&mut large)?;
            large.truncate(count);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}
