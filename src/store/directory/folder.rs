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

/// How long a call that moves no body may take: a mount may hang.
pub(super) const QUICK: Duration = Duration::from_secs(60);
/// How long one that does may take.
pub(super) const BODY: Duration = Duration::from_secs(600);

/// A directory that keeps objects.
#[derive(Clone, Debug)]
pub struct DirectoryStore {
    files: Arc<ObjectFiles>,
}

impl DirectoryStore {
    /// Looks at nothing yet; where `root` is not there, every call says [`StoreErrorKind::NoBucket`].
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self { files: Arc::new(ObjectFiles::new(root.into(), false)) }
    }

    /// The same, of a directory that must be a mount point: where nothing is mounted it is not there.
    pub fn open_mounted(root: impl Into<PathBuf>) -> Self {
        Self { files: Arc::new(ObjectFiles::new(root.into(), true)) }
    }

    /// Makes the directory where it is not there yet; only its last element, so that a missing mount
    /// point shows.
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

    /// Where it is, for people.
    pub(super) fn path(&self) -> String {
        self.files.root.display().to_string()
    }

    /// Does blocking work aside, and gives up waiting for it at the deadline.
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
