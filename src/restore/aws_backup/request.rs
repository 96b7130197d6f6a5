use crate::model::{Manifest, RepositoryName, SourceName, SystemName};
use crate::policy::AwsBackupSource;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ResourceRestoreRequest {
    pub system: SystemName,
    pub source: SourceName,
    pub config: AwsBackupSource,
    /// The beginning of an id; `None` is the newest.
    pub backup: Option<String>,
    /// `None` is where the resource was.
    pub region: Option<String>,
    /// Key and value; an empty value leaves the key out.
    pub changes: Vec<(String, String)>,
    /// Whether to begin another job where one with just these words ended well.
    pub again: bool,
    /// The backups there are, and which repositories hold each.
    pub known: Vec<(Manifest, Vec<RepositoryName>)>,
}

/// `key=value`
pub fn assignment(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let key = key.trim();
    (!key.is_empty()).then(|| (key.to_owned(), value.trim().to_owned()))
}
