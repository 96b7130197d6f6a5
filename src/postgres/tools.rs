use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::platform::{CancellationToken, Program};

const VERSION_WITHIN: Duration = Duration::from_secs(10);
/// Where Debian and its derivatives install each major's programs.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Why no program is usable.
#[derive(Debug, Error)]
pub enum ToolsError {
    #[error(
        "no pg_dump of PostgreSQL {at_least} or newer; {} (`apt-get install postgresql-client-{at_least}`, or name its directory as `tools` in the policy)",
        listed(.found)
    )]
    TooOld { at_least: u32, found: Vec<FoundTools> },
    #[error(
        "no pg_basebackup of PostgreSQL {major}, which has to be of the server's own version; {} (`apt-get install postgresql-client-{major}`, or name its directory as `tools` in the policy)",
        listed(.found)
    )]
    OtherMajor { major: u32, found: Vec<FoundTools> },
    #[error(
        "no PostgreSQL server programs (initdb, pg_ctl); looked at {} (`apt-get install postgresql`)",
        listed(.found)
    )]
    NoServer { found: Vec<FoundTools> },
    #[error("there is no `{program}` in `{directory}`, where the pg_dump of that version is")]
    Missing { program: &'static str, directory: PathBuf },
}

/// A directory with a `pg_dump`, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTools {
    pub directory: PathBuf,
    /// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or why it is unknown.
    pub version: String,
    /// `None` if it is unknown.
    pub major: Option<u32>,
}

impl fmt::Display for FoundTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.directory.display(), self.version)
    }
}

fn listed(found: &[FoundTools]) -> String {
    if found.is_empty() {
        return "none was found".to_owned();
    }
    let list: Vec<String> = found.iter().map(ToString::to_string).collect();
    format!("found {}", list.join("; "))
}

/// PostgreSQL's client programs of one major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    pub directory: PathBuf,
    pub major: u32,
    /// The output of `pg_dump --version`.
    pub version: String,
}

impl Tools {
    /// Finds the programs for a server of major `at_least`: of the same major, or else the nearest newer one.
    /// Those in `preferred` come first if they are new enough.
    pub async fn find(preferred: Option<&Path>, at_least: u32) -> Result<Self, ToolsError> {
        Self::find_in(&places(preferred), preferred, at_least).await
    }

    /// Finds the programs as [`Tools::find`] does, in these directories only.
    pub async fn find_in(
        places: &[PathBuf],
        preferred: Option<&Path>,
        at_least: u32,
    ) -> Result<Self, ToolsError> {
        let found = Self::survey(places).await;
        let choice = found
            .iter()
            .filter_map(|found| Some((found, found.major.filter(|major| *major >= at_least)?)))
            .min_by_key(|(found, major)| (Some(found.directory.as_path()) != preferred, *major));
        match choice {
            Some((chosen, major)) => {
                Ok(Self { directory: chosen.directory.clone(), major, version: chosen.version.clone() })
            }
            None => Err(ToolsError::TooOld { at_least, found }),
        }
    }

    /// Finds the programs of exactly this major, those in `preferred` first.
    pub async fn find_of(preferred: Option<&Path>, major: u32) -> Result<Self, ToolsError> {
        match Self::find(preferred, major).await {
            Ok(tools) if tools.major == major => Ok(tools),
            _ => match Self::find(None, major).await {
                Ok(tools) if tools.major == major => Ok(tools),
                _ => Err(ToolsError::OtherMajor { major, found: Self::survey(&places(preferred)).await }),
            },
        }
    }

    /// Finds the newest programs that can run a server, for a temporary one.
    pub async fn find_server() -> Result<Self, ToolsError> {
        let found = Self::survey(&places(None)).await;
        let newest = complete(&found).max_by_key(|tools| tools.major);
        newest.ok_or(ToolsError::NoServer { found })
    }

    /// Lists every directory with programs that can run a server, `preferred` first.
    pub async fn servers(preferred: Option<&Path>) -> Vec<Self> {
        complete(&Self::survey(&places(preferred)).await).collect()
    }

    /// Finds the directory of exactly this major that has all these programs, `preferred` first.
    pub async fn with(preferred: Option<&Path>, major: u32, programs: &[&str]) -> Option<Self> {
        let has_all = |directory: &Path| programs.iter().all(|name| directory.join(name).exists());
        let found = Self::survey(&places(preferred)).await;
        let fits = found.into_iter().find(|found| found.major == Some(major) && has_all(&found.directory))?;
        Some(Self { directory: fits.directory, major, version: fits.version })
    }

    /// Lists every directory of `places` with a `pg_dump`, and its version.
    pub async fn survey(places: &[PathBuf]) -> Vec<FoundTools> {
        let mut found: Vec<FoundTools> = Vec::new();
        for directory in places {
            let path = directory.join("pg_dump");
            let Ok(real) = path.canonicalize() else { continue };
            // Debian's /usr/bin/pg_dump selects a version by a cluster of its own choice.
            let is_wrapper = real.file_name().is_some_and(|name| name == "pg_wrapper");
            if is_wrapper || found.iter().any(|other| other.directory == *directory) {
                continue;
            }
            let said =
                Program::new(&path).arg("--version").run(VERSION_WITHIN, &CancellationToken::new()).await;
            let (version, major) = match said {
                Ok(finished) => {
                    let version = finished.stdout.trim().to_owned();
                    let major = major_of(&version);
                    (version, major)
                }
                Err(error) => (error.to_string(), None),
            };
            found.push(FoundTools { directory: directory.clone(), version, major });
        }
        found
    }

    /// Returns `pg_dump`, which always exists: directories are found by it.
    pub fn pg_dump(&self) -> Program {
        Program::new(self.directory.join("pg_dump"))
    }

    /// Returns another program, if it exists.
    pub fn program(&self, name: &'static str) -> Result<Program, ToolsError> {
        let path = self.directory.join(name);
        if path.exists() {
            Ok(Program::new(path))
        } else {
            Err(ToolsError::Missing { program: name, directory: self.directory.clone() })
        }
    }
}

/// Filters the directories that can run a server.
fn complete(found: &[FoundTools]) -> impl Iterator<Item = Tools> {
    let has_all = |directory: &Path| {
        ["initdb", "pg_ctl", "postgres", "pg_controldata"].iter().all(|name| directory.join(name).exists())
    };
    let complete = found.iter().filter(move |found| has_all(&found.directory));
    complete.filter_map(|found| {
        let (directory, version) = (found.directory.clone(), found.version.clone());
        Some(Tools { directory, major: found.major?, version })
    })
}

/// Lists the directories to search: `preferred`, Debian's, those of `PATH`.
fn places(preferred: Option<&Path>) -> Vec<PathBuf> {
    let mut debian: Vec<PathBuf> = std::fs::read_dir(DEBIAN)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    debian.sort();
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    preferred.map(Path::to_owned).into_iter().chain(debian).chain(std::env::split_paths(&path)).collect()
}

/// Parses the major version: 15 for `pg_dump (PostgreSQL) 15.18 (Debian …)`.
fn major_of(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("(PostgreSQL) ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn directory(root: &Path, name: &str, says: &str) -> PathBuf {
        let directory = root.join(name);
        std::fs::create_dir(&directory).unwrap();
        let program = directory.join("pg_dump");
        std::fs::write(&program, format!("#!/bin/sh\n{says}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    #[tokio::test]
    async fn the_nearest_major_that_will_do_is_chosen() {
        let root = tempfile::tempdir().unwrap();
        let version = |n: &str| format!("echo 'pg_dump (PostgreSQL) {n}'");
        let places = [
            directory(root.path(), "new", &version("18.1")),
            directory(root.path(), "mid", &version("16.4 (Debian 16.4-1)")),
            directory(root.path(), "old", &version("13.22")),
            directory(root.path(), "broken", "echo no libpq >&2; exit 127"),
            root.path().join("absent"),
        ];
        let find = |at_least, preferred: Option<PathBuf>| {
            let places = places.clone();
            async move { Tools::find_in(&places, preferred.as_deref(), at_least).await }
        };
        assert_eq!(find(15, None).await.unwrap().major, 16);
        assert_eq!(find(13, None).await.unwrap().major, 13);
        assert_eq!(find(13, Some(places[0].clone())).await.unwrap().major, 18);
        assert_eq!(find(15, Some(places[2].clone())).await.unwrap().major, 16);
        let refused = find(19, None).await.unwrap_err().to_string();
        for part in ["PostgreSQL 19", "16.4", "13.22", "no libpq", "postgresql-client-19", "`tools`"] {
            assert!(refused.contains(part), "{part} is not in: {refused}");
        }
    }

    #[test]
    fn versions_of_betas_have_a_major() {
        assert_eq!(major_of("pg_dump (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("pg_dump 15"), None);
    }
}
