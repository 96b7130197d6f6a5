use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::capture::FilesCapture;
use super::error::FilesError;
use super::patterns::Patterns;
use super::roots::Roots;
use crate::model::{BackupKind, Sha256Hex};
use crate::policy::FilesSource;
use crate::source::capture::{Capture, Source, SourceError};

/// A source that is files and directories.
#[derive(Debug)]
pub(in crate::source) struct FilesBackups {
    pub(in crate::source) kinds: Vec<BackupKind>,
    pub(in crate::source) config: FilesSource,
}

#[async_trait(?Send)]
impl Source for FilesBackups {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn prepare(&self, _kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        let prepared = || -> Result<FilesCapture<'_>, FilesError> {
            let config = &self.config;
            let patterns = Patterns::new(&config.include, &config.exclude).map_err(FilesError::Glob)?;
            let roots = Roots::open(&config.paths)?;
            Ok(FilesCapture { roots, patterns: Arc::new(patterns), fingerprint: fingerprint(config), config })
        };
        Ok(Box::new(prepared().map_err(SourceError::new)?))
    }
}

/// Returns a digest of what the policy says to back up.
fn fingerprint(config: &FilesSource) -> String {
    let FilesSource { paths, include, exclude, one_file_system, incrementals: _ } = config;
    let paths: Vec<String> = paths.iter().map(|path| hex::encode(bytes(path))).collect();
    let said = serde_json::json!([1, paths, include, exclude, one_file_system]);
    Sha256Hex::digest(said.to_string().as_bytes()).to_string()
}

fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes()
}
