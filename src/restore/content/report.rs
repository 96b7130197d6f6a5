use std::fmt;

use serde::Serialize;

use crate::model::BackupKind;
use crate::restore::Aftermath;

/// The details of a report that only restored content has.
#[derive(Clone, Debug, Serialize)]
pub struct ContentDetails {
    pub kind: BackupKind,
    /// Like `1,204 files` or `3 keys`.
    pub counts: Vec<String>,
}

/// What a failed restore leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentAftermath {
    /// Nothing that was not there before.
    Nothing,
    /// Something incomplete, as text.
    Incomplete(String),
}

impl fmt::Display for ContentAftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing of it remains"),
            Self::Incomplete(what) => write!(f, "{what} is incomplete"),
        }
    }
}

impl Aftermath for ContentAftermath {}
