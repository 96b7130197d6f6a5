//! Which of the files below the policy's paths are backed up. Pure.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Globs. One without a slash is compared with the name of a file or directory wherever it is, one with a slash with
/// its path below the policy's path, and with its full path; there `*` does not match a slash, and `**` does.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    include: Option<Globs>,
    exclude: Option<Globs>,
}

#[derive(Clone, Debug)]
struct Globs {
    names: GlobSet,
    paths: GlobSet,
}

impl Globs {
    /// Returns them; `None` where there are none.
    fn new(patterns: &[String]) -> Result<Option<Self>, globset::Error> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let is_path = pattern.contains('/');
            let glob = GlobBuilder::new(pattern.trim_end_matches('/')).literal_separator(true).build()?;
            let _added = if is_path { paths.add(glob) } else { names.add(glob) };
        }
        Ok(Some(Self { names: names.build()?, paths: paths.build()? }))
    }

    fn has(&self, found: &FoundAt<'_>) -> bool {
        let path = |bytes| Path::new(OsStr::from_bytes(bytes));
        let name = found.below.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.names.is_match(path(name))
            || (!self.paths.is_empty()
                && (self.paths.is_match(path(found.below))
                    || self.paths.is_match(Path::new("/").join(path(found.full)))))
    }
}

/// Where something is: below the policy's path, and from the root of the file system on without its slash.
#[derive(Clone, Copy, Debug)]
pub struct FoundAt<'a> {
    pub below: &'a [u8],
    pub full: &'a [u8],
}

impl Patterns {
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, globset::Error> {
        Ok(Self { include: Globs::new(include)?, exclude: Globs::new(exclude)? })
    }

    /// Returns whether it is left out, with everything below it.
    pub fn excludes(&self, found: &FoundAt<'_>) -> bool {
        self.exclude.as_ref().is_some_and(|globs| globs.has(found))
    }

    /// Returns whether it is backed up, with everything below it.
    pub fn includes(&self, found: &FoundAt<'_>) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.has(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(include: &[&str], exclude: &[&str]) -> Patterns {
        let owned = |globs: &[&str]| globs.iter().map(|&glob| glob.to_owned()).collect::<Vec<_>>();
        Patterns::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn a_glob_without_a_slash_is_of_names_and_one_with_a_slash_of_paths() {
        let of = patterns(&[], &["*.tmp", "**/cache/**", "/srv/app/logs", "deep/*/x"]);
        let out = |below: &str| {
            let full = format!("srv/app/{below}");
            of.excludes(&FoundAt { below: below.as_bytes(), full: full.as_bytes() })
        };
        for left_out in ["a.tmp", "b/c/d.tmp", "cache/x", "b/cache/x/y", "logs", "deep/1/x"] {
            assert!(out(left_out), "{left_out}");
        }
        for kept in ["a.tmp.txt", "cache", "cached/x", "b/logs", "deep/1/2/x", "x"] {
            assert!(!out(kept), "{kept}");
        }
        let toml = patterns(&["**/*.toml", "secrets"], &[]);
        let is_in = |below: &str| toml.includes(&FoundAt { below: below.as_bytes(), full: b"srv" });
        assert!(is_in("a.toml") && is_in("b/a.toml") && is_in("c/secrets") && !is_in("b") && !is_in("b/x"));
        assert!(patterns(&[], &[]).includes(&FoundAt { below: b"x", full: b"x" }));
        let odd = FoundAt { below: b"\xff\xfe.tmp", full: b"\xff\xfe.tmp" };
        assert!(of.excludes(&odd), "a name that is not UTF-8");
    }
}
