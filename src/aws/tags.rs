use crate::model::{BackupId, RunId, SourceName, SystemName};

/// On everything that drctl makes in AWS; what lacks it is never changed and never deleted.
pub const MANAGED: &str = "drctl:managed";
/// The system of the policy that it was made for.
pub const SYSTEM: &str = "drctl:system";
/// The source of the policy that it is of.
pub const SOURCE: &str = "drctl:source";
/// On what is not a backup: its own name. What was made of it, by whomever, may have all of its tags.
pub const NAME: &str = "drctl:name";
const BACKUP: &str = "drctl:backup";
const RUN: &str = "drctl:run";
/// On what drctl restored: what it was made from.
pub const RESTORED_FROM: &str = "drctl:restored-from";
/// On what is temporary: who asked for it.
pub const OWNER: &str = "drctl:owner";
/// On what is temporary: after this moment (RFC 3339) it may be removed.
pub const EXPIRES: &str = "drctl:expires";

/// The tags of a thing in AWS, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsTags(Vec<(String, String)>);

impl AwsTags {
    /// What says whose backup it is.
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

    /// Whether drctl made it.
    pub fn is_managed(&self) -> bool {
        self.get(MANAGED) == Some("true")
    }

    /// The backup it is, if it is one of this source.
    pub fn backup(&self, system: &SystemName, source: &SourceName) -> Option<BackupId> {
        self.is_of(system, source).then(|| self.get(BACKUP)?.parse().ok()).flatten()
    }

    /// Whether drctl made it for this source.
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
