use chrono::{DateTime, Utc};
use serde::Serialize;

use super::surveyed::ChainLink;
use super::{ContentRestoreRequest, ContentSurvey};
use crate::event::Phase;
use crate::model::{BackupId, BackupKind, RepositoryName, SourceName};
use crate::restore::{PlanSummary, Refusal, RestorePlan};

/// What a restore will do.
#[derive(Clone, Debug, Serialize)]
pub struct ContentRestorePlan {
    pub source: SourceName,
    pub kind: BackupKind,
    pub backup: BackupId,
    /// What is read, the full backup first.
    pub backups: Vec<BackupId>,
    /// The time whose data it holds.
    pub recovery_point: DateTime<Utc>,
    pub age_seconds: i64,
    /// Before compression and encryption.
    pub bytes: u64,
    pub stored_bytes: u64,
    pub to: String,
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(super) chain: Vec<ChainLink>,
    #[serde(skip)]
    pub(super) request: ContentRestoreRequest,
}

impl ContentRestorePlan {
    /// Returns the repositories of the backup, in the order they are read.
    pub fn repositories(&self) -> &[RepositoryName] {
        self.chain.last().map(|link| link.holders.as_slice()).unwrap_or_default()
    }
}

impl RestorePlan for ContentRestorePlan {
    fn summary(&self) -> PlanSummary {
        PlanSummary {
            source: self.source.clone(),
            backup: Some(self.backup.clone()),
            subject: format!("`{}` to {}", self.backup, self.to),
            to: self.to.clone(),
            changed: vec![],
        }
    }

    fn phases(&self, _validates: bool) -> Vec<Phase> {
        vec![Phase::Load, Phase::Compare]
    }

    fn without_checks(&self) -> Option<&'static str> {
        Some("they query a database of PostgreSQL")
    }
}

/// Makes the plan, or returns everything that is wrong at once. Pure.
pub(super) fn plan(
    request: &ContentRestoreRequest,
    survey: ContentSurvey,
    now: DateTime<Utc>,
) -> Result<ContentRestorePlan, Vec<Refusal>> {
    let ContentSurvey { chain, target } = survey;
    let Some(last) = chain.last().filter(|_| target.refusals.is_empty()) else {
        return Err(target.refusals);
    };
    Ok(ContentRestorePlan {
        source: request.source.clone(),
        kind: request.kind,
        backup: last.manifest.id.clone(),
        backups: chain.iter().map(|link| link.manifest.id.clone()).collect(),
        recovery_point: last.manifest.recovery_point,
        age_seconds: (now - last.manifest.recovery_point).num_seconds(),
        bytes: chain.iter().map(|link| link.manifest.plain_size()).sum(),
        stored_bytes: chain.iter().map(|link| link.manifest.stored_size()).sum(),
        to: target.to,
        notes: target.notes,
        chain,
        request: request.clone(),
    })
}
