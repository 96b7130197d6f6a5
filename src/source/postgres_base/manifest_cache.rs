use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::model::{Digest, Hasher};
use crate::source::kept_list::unfinished;

/// Caches the backup manifest locally for the next incremental backup: the stored copy is encrypted and this
/// host cannot read it.
///
/// A failure here does not fail the copy itself.
pub(super) struct ManifestCache {
    file: io::Result<File>,
    hasher: Hasher,
}

impl ManifestCache {
    /// Begins a manifest for `path`, to which [`publish`](crate::source::publish) renames it.
    pub(super) fn begin(path: &Path) -> Self {
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let open = || {
            let mut options = File::options();
            options.write(true).create(true).truncate(true).mode(0o600).open(unfinished(path))
        };
        Self { file: made.and_then(|()| open()), hasher: Hasher::default() }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Ok(file) = &mut self.file
            && let Err(error) = file.write_all(bytes)
        {
            self.file = Err(error);
        }
        self.hasher.update(bytes);
    }

    pub(super) fn end(self) -> io::Result<Digest> {
        self.file?.sync_all()?;
        Ok(self.hasher.digest())
    }
}

/// Returns whether a cached manifest is unchanged.
pub fn is_kept(path: &Path, digest: &Digest) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match io::Read::read(&mut file, &mut buffer) {
            Ok(0) => return Ok(hasher.digest() == *digest),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::publish;

    #[test]
    fn what_was_kept_is_known_again_and_what_was_changed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/x.backup_manifest");
        let mut keeping = ManifestCache::begin(&path);
        keeping.write(b"{ \"Files\": [");
        keeping.write(b"] }");
        let digest = keeping.end().unwrap();
        assert_eq!(digest, Digest::compute(b"{ \"Files\": [] }"));
        assert!(is_kept(&path, &digest).is_err());
        publish(&path).unwrap();
        assert!(is_kept(&path, &digest).unwrap());
        std::fs::write(&path, b"{ \"Files\": [[ }").unwrap();
        assert!(!is_kept(&path, &digest).unwrap());
        // Where it cannot be written, the end says so.
        let mut keeping = ManifestCache::begin(&path.join("below a file"));
        keeping.write(b"x");
        assert!(keeping.end().is_err());
    }
}
