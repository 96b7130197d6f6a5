use std::fs;
use std::io;

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
        let mut listing = DirectoryListing { prefix, after, objects: Vec::new() };
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
}

impl DirectoryListing<'_> {
    /// Walks `folder`, a key that ends with `/`, or empty for the root.
    fn walk(&mut self, files: &ObjectFiles, folder: &str) -> Result<(), StoreFault> {
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

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
