use std::collections::BTreeMap;

use thiserror::Error;

/// The refs of a repository at one time. Names are bytes: Git allows any encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitRefs {
    pub head: GitHead,
    /// The name of each, which begins with `refs/`, and the object it names.
    pub refs: BTreeMap<Vec<u8>, String>,
}

/// What `HEAD` is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GitHead {
    /// It names this ref, which may not exist.
    Ref(Vec<u8>),
    /// It names an object.
    Detached(String),
    /// The remote does not say.
    #[default]
    Unknown,
}

/// A line that is none of a list of refs.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line} is none of a list of refs")]
pub struct BadRefs {
    line: usize,
}

impl GitRefs {
    /// Reads what `git ls-remote --symref` writes, and [`GitRefs::to_bytes`].
    pub fn parse(text: &[u8]) -> Result<Self, BadRefs> {
        let mut found = Self::default();
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            found.add(line).ok_or(BadRefs { line: at + 1 })?;
        }
        Ok(found)
    }

    fn add(&mut self, line: &[u8]) -> Option<()> {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let (value, name) = (&line[..tab], &line[tab + 1..]);
        if let Some(target) = value.strip_prefix(b"ref: ") {
            // Others are resolved when they are fetched.
            if name == b"HEAD" {
                self.head = GitHead::Ref(target.to_owned());
            }
            return is_ref(target).then_some(());
        }
        let object = std::str::from_utf8(value).ok().filter(|value| is_object(value))?;
        match name {
            b"HEAD" if self.head == GitHead::Unknown => self.head = GitHead::Detached(object.to_owned()),
            b"HEAD" => {}
            // What an annotated tag names.
            name if name.ends_with(b"^{}") => {}
            name if is_ref(name) => {
                self.refs.insert(name.to_owned(), object.to_owned());
            }
            _ => return None,
        }
        Some(())
    }

    /// Writes a line for each, `HEAD` first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        match &self.head {
            GitHead::Ref(name) => text.extend([b"ref: ", &name[..], b"\tHEAD\n"].concat()),
            GitHead::Detached(object) => text.extend(format!("{object}\tHEAD\n").into_bytes()),
            GitHead::Unknown => {}
        }
        for (name, object) in &self.refs {
            text.extend([object.as_bytes(), b"\t", name, b"\n"].concat());
        }
        text
    }

    /// Returns the commands of `git update-ref --stdin -z` that create all of them.
    pub fn create_commands(&self) -> Vec<u8> {
        let each = self.refs.iter();
        each.flat_map(|(name, object)| [b"create ", &name[..], b"\0", object.as_bytes(), b"\0"].concat())
            .collect()
    }

    /// Returns the commands that delete all of them.
    pub fn delete_commands(&self) -> Vec<u8> {
        let each = self.refs.keys();
        each.flat_map(|name| [b"delete ", &name[..], b"\0\0"].concat()).collect()
    }

    /// Returns whether objects are named by SHA-256, and not by SHA-1.
    pub fn is_sha256(&self) -> bool {
        self.refs.values().any(|object| object.len() == 64)
    }

    /// Returns how many there are below `refs/heads/`, below `refs/tags/`, and elsewhere.
    pub fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for name in self.refs.keys() {
            let at = match () {
                () if name.starts_with(b"refs/heads/") => 0,
                () if name.starts_with(b"refs/tags/") => 1,
                () => 2,
            };
            counts[at] += 1;
        }
        counts
    }
}

fn is_ref(name: &[u8]) -> bool {
    name.starts_with(b"refs/") && !name.iter().any(|byte| *byte <= b' ' || *byte == 0x7f)
}

/// Returns whether it is a digest, of SHA-1 or SHA-256.
fn is_object(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    #[test]
    fn an_answer_is_read_and_what_is_none_is_refused() {
        let text = format!(
            "ref: refs/heads/main\tHEAD\n{ONE}\tHEAD\n{ONE}\trefs/heads/main\n{TWO}\trefs/tags/v1\n{ONE}\trefs/tags/v1^{{}}\n{TWO}\trefs/notes/commits\n"
        );
        let refs = GitRefs::parse(text.as_bytes()).unwrap();
        assert_eq!(refs.head, GitHead::Ref(b"refs/heads/main".to_vec()));
        assert_eq!(refs.counts(), [1, 1, 1]);
        assert_eq!(GitRefs::parse(&refs.to_bytes()).unwrap(), refs);
        let detached = GitRefs::parse(format!("{TWO}\tHEAD\n").as_bytes()).unwrap();
        assert_eq!(detached.head, GitHead::Detached(TWO.to_owned()));
        for bad in ["x", "x\trefs/heads/a", &format!("{ONE}\theads/a"), &format!("{ONE}\trefs/heads/a b")] {
            assert_eq!(GitRefs::parse(bad.as_bytes()), Err(BadRefs { line: 1 }), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            names in prop::collection::btree_map(prop::collection::vec(0x21_u8..=0x7e, 1..20), any::<bool>(), 0..8),
            head in prop::option::of(any::<bool>()),
        ) {
            let refs = names.into_iter().map(|(name, one)| {
                let object = if one { ONE } else { TWO };
                ([b"refs/heads/", &name[..]].concat(), object.to_owned())
            });
            let head = match head {
                None => GitHead::Unknown,
                Some(true) => GitHead::Detached(TWO.to_owned()),
                Some(false) => GitHead::Ref(b"refs/heads/\xff".to_vec()),
            };
            let refs = GitRefs { head, refs: refs.filter(|(name, _)| !name.ends_with(b"^{}")).collect() };
            prop_assert_eq!(GitRefs::parse(&refs.to_bytes()).unwrap(), refs);
        }
    }
}
