use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::super::fault::StoreFault;
use super::super::{ObjectInfo, Page};
use super::object_file::{OWN, ObjectFiles, bare_info};

/// Objects per page.
const PAGE: usize = 1000;

impl ObjectFiles {
    pub(super) fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreFault> {
        self.check_root()?;
        // Read only the folder that the prefix names, not its siblings.
        let folder = match prefix.rsplit_once('/') {
            Some((folder, _)) => {
                self.path(folder)?;
                format!("{folder}/")
            }
            None => String::new(),
        };
        let mut listing = DirectoryListing { prefix, after, objects: Vec::new(), within: Vec::new() };
        let above = Path::new(&folder).ancestors().skip(1);
        let above = above.filter_map(|above| fs::metadata(self.root.join(above)).ok());
        listing.within.extend(above.map(|metadata| (metadata.dev(), metadata.ino())));
        listing.walk(self, &folder)?;
        let mut objects = listing.objects;
        let more = objects.len() > PAGE;
        objects.truncate(PAGE);
        let next = if more { objects.last().map(|object| object.key.clone()) } else { None };
        Ok(Page { objects, next })
    }
}

/// A walk in key order that stops one object after a full page.
struct DirectoryListing<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    objects: Vec<ObjectInfo>,
    /// Device and inode of each folder that is being read, the root first: a link that leads back to one of them would
    /// be followed for ever.
    within: Vec<(u64, u64)>,
}

impl DirectoryListing<'_> {
    /// Walks `folder`, a key that ends with `/`, or empty for the root.
    fn walk(&mut self, files: &ObjectFiles, folder: &str) -> Result<(), StoreFault> {
        let here = match fs::metadata(files.root.join(folder)) {
            Ok(metadata) => (metadata.dev(), metadata.ino()),
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if self.within.contains(&here) {
            tracing::warn!("`{}` leads back to a folder above it, and is left out", folder.escape_debug());
            return Ok(());
        }
        self.within.push(here);
        let walked = self.walk_entries(files, folder);
        self.within.pop();
        walked
    }

    fn walk_entries(&mut self, files: &ObjectFiles, folder: &str) -> Result<(), StoreFault> {
        let entries = match fs::read_dir(files.root.join(folder)) {
            Err(error) if is_gone(&error) => return Ok(()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A name that is not UTF-8 is no key, and the file system's own folder is no object.
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if folder.is_empty() && matches!(name.as_str(), OWN | "lost+found") {
                continue;
            }
            let kind = entry.file_type()?;
            let is_folder =
                kind.is_dir() || (kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()));
            // A folder sorts as its objects do: `a-b` comes before `a/b`.
            let key = format!("{folder}{name}{}", if is_folder { "/" } else { "" });
            if if is_folder { self.may_hold(&key) } else { self.wants(&key) } {
                names.push(key);
            }
        }
        names.sort_unstable();
        for key in names {
            if self.objects.len() > PAGE {
                break;
            }
            if key.ends_with('/') {
                self.walk(files, &key)?;
                continue;
            }
            match fs::metadata(files.root.join(&key)) {
                Ok(metadata) if metadata.is_file() => self.objects.push(bare_info(&key, &metadata)),
                Ok(_) => {}
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wants(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }

    fn may_hold(&self, folder: &str) -> bool {
        let below = folder.starts_with(self.prefix) || self.prefix.starts_with(folder);
        below && self.after.is_none_or(|after| folder > after || after.starts_with(folder))
    }
}

/// Whether there is no file or folder: it was removed meanwhile, or is a link that leads nowhere or to itself.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_that_lead_in_a_circle_or_nowhere_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("shop/db");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir(root.path().join("elsewhere")).unwrap();
        for file in ["shop/db/a", "elsewhere/b"] {
            fs::write(root.path().join(file), "x").unwrap();
        }
        symlink("itself", folder.join("itself")).unwrap();
        symlink("nowhere", folder.join("dangling")).unwrap();
        symlink("../..", folder.join("up")).unwrap();
        symlink(".", folder.join("here")).unwrap();
        symlink("../../elsewhere", folder.join("other")).unwrap();
        symlink("../shop/db", root.path().join("elsewhere/back")).unwrap();
        let files = ObjectFiles::new(root.path().to_owned(), false);
        let page = files.list("shop/", None).unwrap();
        let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["shop/db/a", "shop/db/other/b"]);
    }
}
