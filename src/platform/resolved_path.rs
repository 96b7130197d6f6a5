use std::io;
use std::path::{Component, Path, PathBuf};

/// Returns a path without links, as far as it exists.
pub fn resolved_path(path: &Path) -> io::Result<PathBuf> {
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
