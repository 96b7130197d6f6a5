use std::io;
use std::path::{Component, Path, PathBuf};

/// Follows links as far as the path exists.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
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
