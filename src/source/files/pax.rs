//! The headers of a tar archive, in the pax format of POSIX with the records that GNU tar writes.

use super::index::EntryKind;
use crate::platform::{Accounts, split_name};

pub(super) const BLOCK: u64 = 512;

/// The largest numbers that the octal fields hold.
const LARGEST_SIZE: u64 = 0o777_7777_7777;
const LARGEST_ID: u32 = 0o777_7777;
const SECOND: i64 = 1_000_000_000;

/// A member of an archive.
#[derive(Clone, Debug, Default)]
pub(super) struct Member<'a> {
    pub(super) path: &'a [u8],
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// In nanoseconds.
    pub(super) mtime: i64,
    /// How many bytes follow the header.
    pub(super) size: u64,
    /// The size with its holes, of a file that is stored without them.
    pub(super) sparse: Option<u64>,
    /// What a link leads to.
    pub(super) link: &'a [u8],
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
    pub(super) attributes: &'a [(Vec<u8>, Vec<u8>)],
}

/// Adds the header of a member, and before it that of its records.
pub(super) fn write_header(out: &mut Vec<u8>, member: &Member<'_>, accounts: &Accounts) {
    let mut records = Vec::new();
    let mut header = tar::Header::new_ustar();
    let slashed;
    let path = if member.kind == EntryKind::Directory {
        slashed = [member.path, b"/"].concat();
        &slashed
    } else {
        member.path
    };
    if let Some(size) = member.sparse {
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", path);
        record(&mut records, b"GNU.sparse.realsize", size.to_string().as_bytes());
        set_name(&mut header, &short_name(b"GNUSparseFile.0/", path));
    } else if path.len() <= 100 {
        set_name(&mut header, path);
    } else {
        record(&mut records, b"path", path);
        set_name(&mut header, &path[..100]);
    }
    if member.link.len() > 100 {
        record(&mut records, b"linkpath", member.link);
    }
    let link = &member.link[..member.link.len().min(100)];
    if let Some(old) = header.as_ustar_mut() {
        old.linkname[..link.len()].copy_from_slice(link);
    }
    let seconds = member.mtime.div_euclid(SECOND);
    let fits = u64::try_from(seconds).ok().filter(|seconds| *seconds <= LARGEST_SIZE);
    if member.mtime.rem_euclid(SECOND) != 0 || fits.is_none() {
        record(&mut records, b"mtime", time(member.mtime).as_bytes());
    }
    header.set_mtime(fits.unwrap_or_default());
    if member.size > LARGEST_SIZE {
        record(&mut records, b"size", member.size.to_string().as_bytes());
    }
    header.set_size(member.size);
    for (key, number) in [(&b"uid"[..], member.uid), (b"gid", member.gid)] {
        if number > LARGEST_ID {
            record(&mut records, key, number.to_string().as_bytes());
        }
    }
    header.set_uid(u64::from(member.uid));
    header.set_gid(u64::from(member.gid));
    for (key, name) in [(&b"uname"[..], accounts.user(member.uid)), (b"gname", accounts.group(member.gid))] {
        let set = if key == b"uname" { header.set_username(name) } else { header.set_groupname(name) };
        if set.is_err() {
            record(&mut records, key, name.as_bytes());
        }
    }
    header.set_mode(member.mode);
    header.set_entry_type(match member.kind {
        EntryKind::File => tar::EntryType::Regular,
        EntryKind::HardLink => tar::EntryType::Link,
        EntryKind::Directory => tar::EntryType::Directory,
        EntryKind::Symlink => tar::EntryType::Symlink,
        EntryKind::Fifo => tar::EntryType::Fifo,
        EntryKind::CharacterDevice => tar::EntryType::Char,
        EntryKind::BlockDevice => tar::EntryType::Block,
    });
    // A ustar header has room for both.
    let _fits = header.set_device_major(member.device.0).and(header.set_device_minor(member.device.1));
    for (name, value) in member.attributes {
        let mut key = b"SCHILY.xattr.".to_vec();
        for byte in name {
            match byte {
                b'=' => key.extend_from_slice(b"%3D"),
                b'%' => key.extend_from_slice(b"%25"),
                byte => key.push(*byte),
            }
        }
        record(&mut records, &key, value);
    }
    if !records.is_empty() {
        let mut extended = tar::Header::new_ustar();
        set_name(&mut extended, &short_name(b"PaxHeaders/", path));
        extended.set_entry_type(tar::EntryType::XHeader);
        extended.set_mode(0o644);
        extended.set_size(records.len() as u64);
        extended.set_cksum();
        out.extend_from_slice(extended.as_bytes());
        out.extend_from_slice(&records);
        pad(out);
    }
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
}

/// Adds zeros up to the next block.
pub(super) fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(512), 0);
}

/// The name that only a program without these records sees.
fn short_name(folder: &[u8], path: &[u8]) -> Vec<u8> {
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    let mut name = [folder, split_name(trimmed).1].concat();
    name.truncate(99);
    name
}

/// The crate's own setter rejects names that are not UTF-8 on some systems, and `..`.
fn set_name(header: &mut tar::Header, name: &[u8]) {
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.name[..name.len()].copy_from_slice(name);
    }
}

/// `<length> <key>=<value>\n`, where the length includes itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn time(nanos: i64) -> String {
    let absolute = nanos.unsigned_abs();
    let (sign, second) = (if nanos < 0 { "-" } else { "" }, SECOND.unsigned_abs());
    format!("{sign}{}.{:09}", absolute / second, absolute % second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_record_includes_itself() {
        for value in 0..200 {
            let mut records = Vec::new();
            record(&mut records, b"k", &vec![b'x'; value]);
            let digits: String =
                String::from_utf8(records.clone()).unwrap().split(' ').next().unwrap().to_owned();
            assert_eq!(digits.parse::<usize>().unwrap(), records.len());
        }
        assert_eq!(time(-500_000_000), "-0.500000000");
        assert_eq!(time(1_700_000_000_000_000_001), "1700000000.000000001");
    }
}
