use crate::model::{Manifest, RepositoryName, SourceName, SystemName};
use crate::policy::AwsBackupSource;

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct ResourceRestoreRequest {
    pub system: SystemName,
    pub source: SourceName,
    pub config: AwsBackupSource,
    /// The prefix of an id; `None` is the newest.
    pub backup: Option<String>,
    /// `None` is the region where the recovery point was created.
    pub region: Option<String>,
    /// Key and value; an empty value leaves the key out.
    pub changes: Vec<(String, String)>,
    /// Whether to start another job where one with the same metadata succeeded.
    pub again: bool,
    /// The existing backups, and the repositories that hold each.
    pub known: Vec<(Manifest, Vec<RepositoryName>)>,
}

/// Parses `key=value`.
pub fn assignment(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let key = key.trim();
    (!key.is_empty()).then(|| (key.to_owned(), value.trim().to_owned()))
}
