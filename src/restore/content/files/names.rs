//! Which names an archive and an index may have. Pure.

/// The longest name of one file.
const LONGEST_NAME: usize = 255;

/// Returns a path without the slash of a directory at its end; `None` where it could lead outside of the target, or is no
/// path at all.
pub(super) fn inside(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let is_name = |name: &[u8]| {
        !name.is_empty() && name.len() <= LONGEST_NAME && name != b"." && name != b".." && !name.contains(&0)
    };
    path.split(|byte| *byte == b'/').all(is_name).then_some(path)
}

/// Reads a decimal number.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_outside_is_none() {
        for outside in ["", "/", "/etc", "..", "a/..", "a/../b", "../a", "a//b", "./a", "a/.", "a\0b", "a//"]
        {
            assert_eq!(inside(outside.as_bytes()), None, "{outside:?}");
        }
        assert_eq!(inside(b"a/b/"), Some(&b"a/b"[..]));
        for fine in [&b"-rf"[..], b"a\nb", b"\xff\xfe", b"...", b"..a", b" "] {
            assert_eq!(inside(fine), Some(fine));
        }
        assert_eq!(inside(&[b'x'; 256]), None);
        assert_eq!((number(b"12"), number(b"-1"), number(b"+1"), number(b"")), (Some(12), None, None, None));
    }
}
