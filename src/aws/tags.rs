use crate::model::{BackupId, RunId, SourceName, SystemName};

/// On everything that drctl creates in AWS; anything without it is never changed or deleted.
pub const MANAGED: &str = "drctl:managed";
/// The system of the policy that it was created for.
pub const SYSTEM: &str = "drctl:system";
/// The source of the policy that it belongs to.
pub const SOURCE: &str = "drctl:source";
/// On everything but backups: its own name. Whatever is created from it may inherit all of its tags.
pub const NAME: &str = "drctl:name";
const BACKUP: &str = "drctl:backup";
const RUN: &str = "drctl:run";
/// On restored resources: what they were restored from.
pub const RESTORED_FROM: &str = "drctl:restored-from";
/// On temporary resources: who requested them.
pub const OWNER: &str = "drctl:owner";
/// On temporary resources: the time (RFC 3339) after which they may be deleted.
pub const EXPIRES: &str = "drctl:expires";

/// The tags of an AWS resource, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsTags(Vec<(String, String)>);

impl AwsTags {
    /// Creates the tags that identify a backup.
    pub fn of_backup(system: &SystemName, source: &SourceName, backup: &BackupId, run: &RunId) -> Self {
        Self::default()
            .with(MANAGED, "true")
            .with(SYSTEM, system.as_str())
            .with(SOURCE, source.as_str())
            .with(BACKUP, backup.as_str())
            .with(RUN, run.as_str())
    }

    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.retain(|(known, _)| known != key);
        self.0.push((key.to_owned(), value.into()));
        self
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Returns whether drctl created it.
    pub fn is_managed(&self) -> bool {
        self.get(MANAGED) == Some("true")
    }

    /// Returns the ID of the backup, if it is one of this source.
    pub fn backup(&self, system: &SystemName, source: &SourceName) -> Option<BackupId> {
        self.is_of(system, source).then(|| self.get(BACKUP)?.parse().ok()).flatten()
    }

    /// Returns whether drctl created it for this source.
    pub fn is_of(&self, system: &SystemName, source: &SourceName) -> bool {
        self.is_managed()
            && self.get(SYSTEM) == Some(system.as_str())
            && self.get(SOURCE) == Some(source.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for AwsTags {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(tags: I) -> Self {
        Self(tags.into_iter().collect())
    }
}
