use std::io;
use std::path::{Component, Path, PathBuf};

/// Returns a path without links, as far as it exists.
pub fn resolved_path(path: &Path) -> io::Result<PathBuf> {
    // Of a relative path that is not there, nothing exists but the current directory, which has no name in it.
    let path = &std::path::absolute(path)?;
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    let mut resolved = existing.canonicalize()?;
    for part in rest.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(name) => resolved.push(name),
            _ => {}
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_that_is_not_there_is_below_the_current_directory() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(resolved_path(Path::new("missing/there")).unwrap(), here.join("missing/there"));
        assert_eq!(resolved_path(Path::new("/missing/there")).unwrap(), Path::new("/missing/there"));
    }
}
