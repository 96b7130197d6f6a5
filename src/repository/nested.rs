//! Directories that must not be a repository: inside another one, or inside a data directory that is backed
//! up. Links are resolved: the policy itself was checked textually.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::{RepositoryName, SourceName};
use crate::platform::resolved_path;
use crate::policy::{BaseMethod, Policy, RepositoryLocation};

/// Why a directory cannot be a repository.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NestedError {
    #[error("`{path}` is inside repository `{of}`, `{outer}`: a repository needs a directory of its own")]
    Repository { path: PathBuf, of: RepositoryName, outer: PathBuf },
    #[error("`{path}` has repository `{of}` in it, `{inner}`: a repository needs a directory of its own")]
    HasRepository { path: PathBuf, of: RepositoryName, inner: PathBuf },
    #[error(
        "`{path}` is inside the data directory of source `{of}`, `{outer}`: each base backup would hold the ones before it, and all are lost with the server's disk"
    )]
    DataDirectory { path: PathBuf, of: SourceName, outer: PathBuf },
}

/// Returns the repositories of a policy with an invalid location. Of two nested ones the later one is
/// returned.
pub fn nested(policy: &Policy) -> Vec<(RepositoryName, NestedError)> {
    let resolve = |path: &Path| resolved_path(path).unwrap_or_else(|_| path.to_owned());
    let directories = policy.repositories.iter().filter_map(|repository| match &repository.place {
        RepositoryLocation::Directory(path) => Some((&repository.name, resolve(path))),
        RepositoryLocation::S3(_) => None,
    });
    let directories: Vec<_> = directories.collect();
    let sources = policy.sources.iter().filter_map(|source| match &source.base()?.method {
        BaseMethod::DataDirectory { path } => Some((&source.name, resolve(path))),
        BaseMethod::Replication => None,
    });
    let sources: Vec<_> = sources.collect();
    let mut found = Vec::new();
    for (n, (name, path)) in directories.iter().enumerate() {
        let around = sources.iter().find(|(_, data)| path.starts_with(data));
        let others = directories[..n].iter().filter(|(_, other)| other != path);
        let mut others = others.filter(|(_, other)| path.starts_with(other) || other.starts_with(path));
        let error = match (around, others.next()) {
            (Some((of, data)), _) => {
                NestedError::DataDirectory { path: path.clone(), of: (*of).clone(), outer: data.clone() }
            }
            (_, Some((of, outer))) if path.starts_with(outer) => {
                NestedError::Repository { path: path.clone(), of: (*of).clone(), outer: outer.clone() }
            }
            (_, Some((of, inner))) => {
                NestedError::HasRepository { path: path.clone(), of: (*of).clone(), inner: inner.clone() }
            }
            (None, None) => continue,
        };
        found.push(((*name).clone(), error));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

    #[test]
    fn a_link_into_another_repository_or_a_data_directory_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["data", "primary/deep", "free"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::os::unix::fs::symlink(at("data"), at("to-data")).unwrap();
        std::os::unix::fs::symlink(at("primary/deep"), at("to-deep")).unwrap();
        let found = |primary: &str, west: &str| {
            let text = format!(
                "[system]\nname = \"shop\"\n[objectives]\nrto = \"4h\"\nrpo = \"1h\"\n[encryption]\ndanger_unencrypted = true\n\
                 [repository.primary]\ndirectory = {:?}\n[repository.copies.west]\ndirectory = {:?}\n\
                 [sources.database]\nkind = \"postgres\"\nurl = \"postgres://a@b/c\"\nmethods = [\"base\", \"wal\"]\n\
                 [sources.database.base]\nmethod = \"data-directory\"\ndata_directory = {:?}\n[sources.database.wal]\n",
                at(primary),
                at(west),
                at("data")
            );
            let policy = policy::parse(Path::new("shop.toml"), &text).unwrap();
            let found = nested(&policy);
            found.into_iter().map(|(name, error)| (name.to_string(), error)).collect::<Vec<_>>()
        };
        assert_eq!(found("primary", "free"), []);
        let name = |name: &str| name.parse().unwrap();
        let root = root.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        assert_eq!(
            found("primary", "to-deep"),
            [(
                "west".to_owned(),
                NestedError::Repository {
                    path: at("primary/deep"),
                    of: name("primary"),
                    outer: at("primary")
                }
            )]
        );
        assert!(matches!(&found("to-deep", "primary")[..], [(_, NestedError::HasRepository { .. })]));
        // What does not exist yet would be there, too.
        let inside = found("to-data/backups", "free");
        assert!(matches!(&inside[..], [(name, NestedError::DataDirectory { .. })] if name == "primary"));
    }
}
