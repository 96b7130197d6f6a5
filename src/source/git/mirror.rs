//! The mirror of the remote on this host: a cache, whose loss costs the time of a clone.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::error::GitError;
use super::program::{Login, git};
use super::refs::{GitHead, GitRefs};
use super::remote;
use crate::event::Events;
use crate::platform::{ProcessError, Program};
use crate::source::deadline::Deadline;
use crate::text::error_chain;

/// Everything, and away with what the remote has no more.
const EVERYTHING: &str = "+refs/*:refs/*";
/// The remote that the mirror is of. A mirror of another one is of no use.
const OF: &str = "drctl-remote";

/// A mirror that was fetched.
#[derive(Debug)]
pub(super) struct Mirror {
    directory: PathBuf,
    /// What it has now.
    pub(super) refs: GitRefs,
}

impl Mirror {
    /// Fetches the remote into the mirror at `directory`; a mirror that cannot take it is cloned again. `head`: the remote's.
    pub(super) async fn fetch(
        directory: &Path,
        remote: &str,
        listed: &GitRefs,
        login: &Login,
        deadline: &Deadline,
        events: &Events,
    ) -> Result<Self, GitError> {
        let is_of_it = std::fs::read_to_string(directory.join(OF)).is_ok_and(|of| of == remote);
        let is_sha256 = listed.is_sha256();
        if is_of_it {
            let prepared = configure(directory, is_sha256).map_err(|source| failed(directory, source));
            let fetched = match prepared {
                Ok(()) => Self::update(directory, remote, listed, login, deadline).await,
                Err(error) => Err(error),
            };
            match fetched {
                Ok(mirror) => return Ok(mirror),
                // Whether the remote or the mirror failed is not known. A clone tells.
                Err(_) if deadline.stop().is_cancelled() => return Err(GitError::Interrupted),
                Err(error) => events.notice(format!(
                    "the mirror `{}` is cloned again: {}",
                    directory.display(),
                    error_chain(&error)
                )),
            }
        }
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(directory, error)),
            _ => {}
        }
        let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        created.map_err(|source| failed(directory, source))?;
        let format = if is_sha256 { "sha256" } else { "sha1" };
        let init = git(None)
            .args(["init", "--quiet", "--bare", "--template=", "--object-format", format, "--"])
            .arg(directory);
        run(&init, deadline).await?;
        configure(directory, is_sha256).map_err(|source| failed(directory, source))?;
        let mirror = Self::update(directory, remote, listed, login, deadline).await?;
        // Only now: a clone that was killed is none.
        std::fs::write(directory.join(OF), remote).map_err(|source| failed(directory, source))?;
        Ok(mirror)
    }

    async fn update(
        directory: &Path,
        remote: &str,
        listed: &GitRefs,
        login: &Login,
        deadline: &Deadline,
    ) -> Result<Self, GitError> {
        let fetch = git(Some(directory)).args([
            "fetch",
            "--quiet",
            "--prune",
            "--force",
            "--no-write-fetch-head",
            "--",
        ]);
        let fetch = login.give(fetch).args([remote, EVERYTHING]);
        let fetched = fetch.run_bytes(deadline.left(), deadline.stop()).await;
        fetched.map_err(|source| remote::failure(remote, source))?;
        if let GitHead::Ref(name) = &listed.head
            && let Ok(name) = std::str::from_utf8(name)
        {
            run(&git(Some(directory)).args(["symbolic-ref", "HEAD", name]), deadline).await?;
        }
        let list = git(Some(directory)).args(["for-each-ref", "--format=%(objectname)%09%(refname)"]);
        let (text, _) = list.run_bytes(deadline.left(), deadline.stop()).await.map_err(GitError::Local)?;
        let mut refs = GitRefs::parse(&text)?;
        if refs.refs.is_empty() {
            return Err(GitError::Empty { remote: remote.to_owned() });
        }
        refs.head = listed.head.clone();
        Ok(Self { directory: directory.to_owned(), refs })
    }

    /// Returns Git at work on it.
    pub(super) fn git(&self) -> Program {
        git(Some(&self.directory))
    }

    /// Returns what a command writes.
    pub(super) async fn read(&self, program: &Program, deadline: &Deadline) -> Result<Vec<u8>, GitError> {
        let (bytes, _) =
            program.run_bytes(deadline.left(), deadline.stop()).await.map_err(GitError::Local)?;
        Ok(bytes)
    }

    /// Returns the lines that a command of `git grep` or `git config` writes, which ends with 1 where it finds none.
    pub(super) async fn found(
        &self,
        program: &Program,
        deadline: &Deadline,
    ) -> Result<Vec<Vec<u8>>, GitError> {
        let text = match program.run_bytes(deadline.left(), deadline.stop()).await {
            Ok((text, _)) => text,
            Err(ProcessError::Failed { code: Some(1), .. }) => vec![],
            Err(error) => return Err(GitError::Local(error)),
        };
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(<[u8]>::to_vec).collect())
    }

    /// Returns about how many bytes its objects take.
    pub(super) async fn size(&self, deadline: &Deadline) -> Option<u64> {
        let text = self.read(&self.git().args(["count-objects", "-v"]), deadline).await.ok()?;
        let text = String::from_utf8(text).ok()?;
        let kib =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
        Some((kib("size:")? + kib("size-pack:")?) << 10)
    }
}

/// Writes its configuration, so that nothing in it has an effect that drctl did not mean.
fn configure(directory: &Path, is_sha256: bool) -> io::Result<()> {
    let text = match is_sha256 {
        true => {
            "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
        }
        false => "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
    };
    std::fs::write(directory.join("config"), text)
}

fn failed(directory: &Path, source: io::Error) -> GitError {
    GitError::Mirror { path: directory.to_owned(), source }
}

async fn run(program: &Program, deadline: &Deadline) -> Result<(), GitError> {
    program.run_bytes(deadline.left(), deadline.stop()).await.map(drop).map_err(GitError::Local)
}
