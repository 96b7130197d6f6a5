use std::io;

use super::error::{StoreError, StoreErrorKind};

/// The reason of a failure, before the operation and key are known.
#[derive(Debug)]
pub(crate) struct StoreFault {
    pub(crate) kind: StoreErrorKind,
    pub(crate) detail: Option<String>,
}

impl StoreFault {
    pub(crate) fn new(kind: StoreErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: Some(detail.into()) }
    }

    pub(crate) fn at(self, operation: &'static str, key: &str, location: String) -> StoreError {
        StoreError { operation, key: key.to_owned(), location, kind: self.kind, detail: self.detail }
    }
}

/// Checks the shape of a key. Only `layout` builds keys; every store rejects other shapes alike.
pub(crate) fn check_key(key: &str) -> Result<(), StoreFault> {
    let is_word = |word: &str| !matches!(word, "" | "." | "..") && !word.contains('\0');
    if key.split('/').all(is_word) {
        Ok(())
    } else {
        Err(StoreFault::new(StoreErrorKind::Unsupported, "that is not a key"))
    }
}

impl From<StoreErrorKind> for StoreFault {
    fn from(kind: StoreErrorKind) -> Self {
        Self { kind, detail: None }
    }
}

impl From<io::Error> for StoreFault {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => StoreErrorKind::NotFound,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Forbidden,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                StoreErrorKind::Full
            }
            ErrorKind::StaleNetworkFileHandle | ErrorKind::TimedOut | ErrorKind::HostUnreachable => {
                StoreErrorKind::Unreachable
            }
            ErrorKind::Unsupported | ErrorKind::InvalidFilename => StoreErrorKind::Unsupported,
            ErrorKind::UnexpectedEof => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Other,
        };
        // Redundant with the kind.
        let detail = (kind != StoreErrorKind::NotFound).then(|| error.to_string());
        Self { kind, detail }
    }
}

impl From<rustix::io::Errno> for StoreFault {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}
