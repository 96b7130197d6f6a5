use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::Serialize;

use crate::model::{BackupId, Cause, RepositoryName};
use crate::text::quoted_list;

/// A reason against a restore. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// For programs, and for the hint shown to an operator; part of the interface.
    pub code: &'static str,
    pub class: RefusalClass,
    pub message: String,
    /// The values that the hint names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<&'static str, String>,
}

/// How the caller should treat a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalClass {
    /// The target, this host or AWS is not ready.
    NotReady,
    /// The request is ambiguous, or names something that does not exist.
    Usage,
    /// There is nothing to restore.
    Nothing,
}

impl RefusalClass {
    /// Returns where to look for the reason.
    pub fn cause(self) -> Cause {
        match self {
            Self::Nothing => Cause::Backup,
            Self::NotReady | Self::Usage => Cause::Environment,
        }
    }
}

impl Refusal {
    pub fn nothing(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(RefusalClass::Nothing, code, message)
    }

    pub fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(RefusalClass::Usage, code, message)
    }

    pub fn not_ready(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(RefusalClass::NotReady, code, message)
    }

    fn new(class: RefusalClass, code: &'static str, message: impl Into<String>) -> Self {
        Self { code, class, message: message.into(), facts: BTreeMap::new() }
    }

    /// Adds a value that the hint names as `{name}`.
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.facts.insert(name, value.to_string());
        self
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Returns ` in repository …` where only one is read.
pub(super) fn in_repository(from: Option<&RepositoryName>) -> String {
    from.map(|name| format!(" in repository `{name}`")).unwrap_or_default()
}

/// Refuses a prefix that several backups' ids have.
pub(super) fn ambiguous(class: RefusalClass, prefix: &str, found: &[BackupId]) -> Refusal {
    let message = format!("`{prefix}` is the beginning of several backups: {}", quoted_list(found));
    Refusal::new(class, "ambiguous-backup", message)
}
