//! Where each member goes, as the operator says it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::select::Prefers;
use crate::model::SourceName;
use crate::platform::{SecretError, SecretRef};

/// The name of the state file in a directory.
const STATE: &str = ".drctl-restore.json";
const STATE_ENDING: &str = "state.json";

/// Why a text does not say where an application goes.
#[derive(Debug, Error)]
pub enum TargetError {
    #[error("failed to read the plan file `{}`", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Without the line, which may hold a password.
    #[error("failed to understand the plan file `{}`: {reason}", .path.display())]
    Parse { path: PathBuf, reason: String },
    #[error("`{source}` in the plan file `{}`: {reason}", .path.display(), source = .member)]
    Member { path: PathBuf, member: String, reason: String },
}

/// Where the members of an application go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApplicationTarget {
    /// What is not said otherwise goes to a directory of its source's name below; `None`: it has to be said.
    pub directory: Option<PathBuf>,
    /// As `--to` of a restore of that member alone.
    pub to: BTreeMap<SourceName, String>,
    pub passwords: BTreeMap<SourceName, SecretRef>,
    /// Where the files of a member are after its restore, where that is not where it goes.
    pub files: BTreeMap<SourceName, PathBuf>,
    pub leave_out: Vec<SourceName>,
    /// What notes which members are restored.
    pub state: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    to: BTreeMap<String, String>,
    #[serde(default)]
    password: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, PathBuf>,
    #[serde(default)]
    leave_out: Vec<String>,
    directory: Option<PathBuf>,
}

impl ApplicationTarget {
    /// Reads `--to`: a plan file where its name ends with `.toml`, otherwise a directory.
    pub fn read(to: &Path) -> Result<Self, TargetError> {
        let path = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
        if path.extension().is_none_or(|ending| ending != "toml") {
            let state = path.join(STATE);
            return Ok(Self { directory: Some(path), state, ..Self::default() });
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|source| TargetError::Read { path: path.clone(), source })?;
        Self::parse(&path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, TargetError> {
        let file: PlanFile = toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
            let line = line.map(|line| format!(" (line {line})")).unwrap_or_default();
            TargetError::Parse { path: path.to_owned(), reason: format!("{}{line}", error.message()) }
        })?;
        let wrong = |member: &str, reason: String| TargetError::Member {
            path: path.to_owned(),
            member: member.to_owned(),
            reason,
        };
        let name = |text: &str| text.parse::<SourceName>().map_err(|error| wrong(text, error.to_string()));
        // Paths are relative to the file, as those of a policy are.
        let base = path.parent().unwrap_or(Path::new("/"));
        let mut target = Self {
            directory: file.directory.map(|directory| base.join(directory)),
            state: path.with_extension(STATE_ENDING),
            ..Self::default()
        };
        for (member, to) in file.to {
            let to = if is_path(&to) { base.join(&to).display().to_string() } else { to };
            target.to.insert(name(&member)?, to);
        }
        for (member, password) in file.password {
            let not_a_reference = |_: SecretError| {
                let reason =
                    "its password is no reference (use `env:NAME`, `file:/path` or `command:program arg`)";
                wrong(&member, reason.to_owned())
            };
            let reference = password.parse().map_err(not_a_reference)?;
            target.passwords.insert(name(&member)?, reference);
        }
        for (member, files) in file.files {
            target.files.insert(name(&member)?, base.join(files));
        }
        for member in file.leave_out {
            target.leave_out.push(name(&member)?);
        }
        Ok(target)
    }

    /// Returns what a database is restored as.
    pub fn prefers(&self, source: &SourceName) -> Prefers {
        match self.to.get(source) {
            Some(to) if is_path(to) => Prefers::Directory,
            Some(_) => Prefers::Database,
            None => Prefers::Either,
        }
    }

    /// Returns the names in a plan file that are of no member.
    pub fn unknown<'t>(&'t self, members: &'t [SourceName]) -> impl Iterator<Item = &'t SourceName> {
        let named = self.to.keys().chain(self.passwords.keys()).chain(self.files.keys());
        named.chain(&self.leave_out).filter(|name| !members.contains(name))
    }

    /// Returns the directory of a member, whatever is said of it.
    pub fn below(&self, source: &SourceName) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(source.as_str()))
    }
}

fn is_path(to: &str) -> bool {
    to.starts_with(['/', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ApplicationTarget, TargetError> {
        ApplicationTarget::parse(Path::new("/srv/restore/plan.toml"), text)
    }

    #[test]
    fn a_plan_file_says_where_each_member_goes() {
        let target = parse(
            "leave_out = [\"cache\"]\n[to]\ndatabase = \"postgres://h/shop\"\nuploads = \"./uploads\"\n[password]\ndatabase = \"env:P\"\n",
        )
        .unwrap();
        let of = |name: &str| name.parse::<SourceName>().unwrap();
        assert_eq!(target.to[&of("uploads")], "/srv/restore/./uploads");
        assert_eq!(target.prefers(&of("database")), Prefers::Database);
        assert_eq!(target.prefers(&of("uploads")), Prefers::Directory);
        assert_eq!(target.state, Path::new("/srv/restore/plan.state.json"));
        let members = [of("database"), of("uploads")];
        assert_eq!(target.unknown(&members).map(SourceName::as_str).collect::<Vec<_>>(), ["cache"]);
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        for wrong in ["[too]\n", "[to]\n\"A B\" = \"x\"\n", "[to]\n[password]\ndatabase = \"hunter2\"\n"] {
            let error = crate::text::error_chain(&parse(wrong).unwrap_err());
            assert!(error.contains("plan.toml") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn anything_else_is_a_directory() {
        let target = ApplicationTarget::read(Path::new("/srv/back")).unwrap();
        let name = "uploads".parse().unwrap();
        assert_eq!(target.below(&name), Some("/srv/back/uploads".into()));
        assert_eq!(target.prefers(&name), Prefers::Either);
        assert!(matches!(
            ApplicationTarget::read(Path::new("/nowhere/plan.toml")),
            Err(TargetError::Read { .. })
        ));
    }
}
