use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::fault::StoreFault;
use super::super::{StoreError, StoreErrorKind};
use super::object_file::{ObjectFiles, sync_folder};
use crate::text::format_duration;

/// Timeout of a call that transfers no body: a mount may hang.
pub(super) const QUICK: Duration = Duration::from_secs(60);
/// Timeout of a call that transfers a body.
pub(super) const BODY: Duration = Duration::from_secs(600);

/// An object store in a directory.
#[derive(Clone, Debug)]
pub struct DirectoryStore {
    files: Arc<ObjectFiles>,
}

impl DirectoryStore {
    /// Opens the store without I/O. If `root` does not exist, every call fails with
    /// [`StoreErrorKind::NoBucket`].
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self { files: Arc::new(ObjectFiles::new(root.into(), false)) }
    }

    /// Opens a directory that must be a mount point: with nothing mounted it counts as missing.
    pub fn open_mounted(root: impl Into<PathBuf>) -> Self {
        Self { files: Arc::new(ObjectFiles::new(root.into(), true)) }
    }

    /// Creates the directory if it is missing; only its last element, so that a missing mount point is
    /// noticed.
    pub async fn create(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self::open(root);
        store
            .run("create", "", QUICK, |files| {
                match fs::DirBuilder::new().mode(0o750).create(&files.root) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(StoreFault::new(
                            StoreErrorKind::NoBucket,
                            "its parent directory is missing",
                        ));
                    }
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
                    Err(_) => {}
                    Ok(()) => {
                        if let Some(parent) = files.root.parent().filter(|path| !path.as_os_str().is_empty())
                        {
                            sync_folder(parent)?;
                        }
                    }
                }
                files.check_root()
            })
            .await?;
        Ok(store)
    }

    /// Returns the path of the root, for display.
    pub(super) fn path(&self) -> String {
        self.files.root.display().to_string()
    }

    /// Runs blocking work on another thread and stops waiting for it at the deadline.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        deadline: Duration,
        work: impl FnOnce(&ObjectFiles) -> Result<T, StoreFault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let files = Arc::clone(&self.files);
        let work = tokio::task::spawn_blocking(move || work(&files));
        let outcome = match tokio::time::timeout(deadline, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(stopped)) => Err(StoreFault::new(StoreErrorKind::Other, stopped.to_string())),
            Err(_) => Err(StoreFault::new(
                StoreErrorKind::Unreachable,
                format!("no answer from the file system in {}", format_duration(deadline)),
            )),
        };
        outcome.map_err(|fault| fault.at(operation, key, self.path()))
    }

    pub(super) fn no_lock(&self, operation: &'static str, key: &str) -> StoreError {
        let fault = StoreFault::new(StoreErrorKind::Unsupported, "a directory has no object lock");
        fault.at(operation, key, self.path())
    }
}
