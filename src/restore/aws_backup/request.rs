use chrono::{DateTime, Utc};

use super::execute::execute;
use super::survey::survey;
use super::{
    ResourceAftermath, ResourceDetails, ResourceRestoreError, ResourceRestorePlan, ResourceSurvey, plan,
};
use crate::model::{Manifest, RepositoryName, SourceName, SystemName};
use crate::policy::AwsBackupSource;
use crate::restore::{Method, Refusal, RestoreProgress, Restored, Restorer, Stopped};
use crate::run::RunContext;

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

impl Restorer for ResourceRestoreRequest {
    const METHOD: Method = Method::AwsBackup;
    type Survey = ResourceSurvey;
    type Plan = ResourceRestorePlan;
    type Details = ResourceDetails;
    type Error = ResourceRestoreError;
    type Aftermath = ResourceAftermath;

    async fn survey(&self, run: &RunContext) -> Result<ResourceSurvey, ResourceRestoreError> {
        survey(run, self).await
    }

    fn plan(
        &self,
        survey: ResourceSurvey,
        now: DateTime<Utc>,
        _seed: u32,
    ) -> Result<ResourceRestorePlan, Vec<Refusal>> {
        plan(self, survey, now)
    }

    async fn execute(
        run: &RunContext,
        plan: &ResourceRestorePlan,
        progress: &mut RestoreProgress<'_>,
    ) -> Result<Restored<ResourceDetails>, Stopped<ResourceRestoreError, ResourceAftermath>> {
        execute(run, plan, progress).await
    }
}

/// `key=value`
pub fn assignment(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let key = key.trim();
    (!key.is_empty()).then(|| (key.to_owned(), value.trim().to_owned()))
}
