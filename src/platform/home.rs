use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// Why a path that begins with `~` cannot be expanded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HomeError {
    #[error("`{0}` begins with another user's home directory, which only a shell looks up: write it out")]
    OtherUser(String),
    #[error("`{0}` begins with the home directory, and HOME is not set")]
    NoHome(String),
}

/// Expands `~/` at the beginning of a path to the home directory, as a shell does.
pub fn expand_home(path: &Path) -> Result<PathBuf, HomeError> {
    expand(path, std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from))
}

fn expand(path: &Path, home: Option<PathBuf>) -> Result<PathBuf, HomeError> {
    let mut components = path.components();
    let Some(Component::Normal(first)) = components.next() else { return Ok(path.to_owned()) };
    let Some(user) = first.to_str().and_then(|first| first.strip_prefix('~')) else {
        return Ok(path.to_owned());
    };
    let told = || path.display().to_string();
    match user {
        "" => Ok(home.ok_or_else(|| HomeError::NoHome(told()))?.join(components.as_path())),
        // A file may be called `~backup`; a path below it is in a user's home.
        _ if components.as_path().as_os_str().is_empty() => Ok(path.to_owned()),
        _ => Err(HomeError::OtherUser(told())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_directory_and_nothing_else_is_touched() {
        let at = |path: &str| expand(Path::new(path), Some("/home/me".into()));
        for (given, meant) in [
            ("~/keys/op.key", "/home/me/keys/op.key"),
            ("~", "/home/me/"),
            ("keys/~/x", "keys/~/x"),
            ("/~/x", "/~/x"),
            ("./~/x", "./~/x"),
            ("file~", "file~"),
            ("~backup", "~backup"),
        ] {
            assert_eq!(at(given).unwrap(), Path::new(meant), "{given}");
        }
        assert!(matches!(at("~root/x"), Err(HomeError::OtherUser(_))));
        assert!(matches!(expand(Path::new("~/x"), None), Err(HomeError::NoHome(_))));
    }
}
