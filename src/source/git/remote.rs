use super::error::GitError;
use super::program::{Login, git};
use super::refs::GitRefs;
use crate::platform::ProcessError;
use crate::source::deadline::Deadline;

/// What Git and ssh write when a remote fails, in small letters.
const UNREACHABLE: [&str; 9] = [
    "could not resolve host",
    "could not resolve hostname",
    "connection refused",
    "connection timed out",
    "no route to host",
    "network is unreachable",
    "failed to connect",
    "connection reset",
    "operation timed out",
];
const DENIED: [&str; 8] = [
    "authentication failed",
    "could not read username",
    "could not read password",
    "terminal prompts disabled",
    "permission denied",
    "returned error: 401",
    "returned error: 403",
    "invalid credentials",
];
const HOST_KEY: [&str; 2] = ["host key verification failed", "remote host identification has changed"];
const NO_REPOSITORY: [&str; 6] = [
    "does not appear to be a git repository",
    "repository not found",
    "not found",
    "does not exist",
    "not a git repository",
    "returned error: 404",
];

/// Returns the refs of the remote, and its `HEAD`.
pub(super) async fn list(remote: &str, login: &Login, deadline: &Deadline) -> Result<GitRefs, GitError> {
    let program = login.give(git(None)).args(["ls-remote", "--symref", "--", remote]);
    let (text, _) = program
        .run_bytes(deadline.left(), deadline.stop())
        .await
        .map_err(|source| failure(remote, source))?;
    let refs = GitRefs::parse(&text)?;
    if refs.refs.is_empty() {
        return Err(GitError::Empty { remote: remote.to_owned() });
    }
    Ok(refs)
}

/// Tells by its words what kept Git from reading the remote.
pub(super) fn failure(remote: &str, source: ProcessError) -> GitError {
    let remote = remote.to_owned();
    let words = match &source {
        ProcessError::Failed { stderr, .. } => stderr.join("\n").to_lowercase(),
        ProcessError::Start { .. } => return GitError::Local(source),
        _ => String::new(),
    };
    let says = |known: &[&str]| known.iter().any(|known| words.contains(known));
    match () {
        () if says(&HOST_KEY) => GitError::HostKey { remote, source },
        () if says(&UNREACHABLE) => GitError::Unreachable { remote, source },
        () if says(&DENIED) => GitError::Denied { remote, source },
        () if says(&NO_REPOSITORY) => GitError::NotARepository { remote, source },
        () => GitError::Remote { remote, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_git_and_ssh_say_what_is_wrong() {
        let of = |words: &str| {
            let stderr = words.lines().map(str::to_owned).collect();
            let error = ProcessError::Failed {
                program: "git".to_owned(),
                how: "failed with exit status 128".to_owned(),
                code: Some(128),
                stderr,
            };
            failure("r", error).to_string()
        };
        for (words, meaning) in [
            ("fatal: unable to access 'https://x/': Could not resolve host: x", "cannot be reached"),
            (
                "ssh: connect to host x port 22: Connection refused\nfatal: Could not read from remote repository.",
                "cannot be reached",
            ),
            (
                "fatal: could not read Username for 'https://x': terminal prompts disabled",
                "rejected the credentials",
            ),
            (
                "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                "rejected the credentials",
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                "the key of the host",
            ),
            ("remote: Repository not found.\nfatal: repository 'https://x/' not found", "no Git repository"),
            ("fatal: '/x' does not appear to be a git repository", "no Git repository"),
            ("fatal: something else", "failed to read"),
        ] {
            assert!(of(words).contains(meaning), "{words}: {}", of(words));
        }
    }
}
