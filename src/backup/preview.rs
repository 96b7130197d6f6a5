use std::time::Duration;

use serde::Serialize;

use super::error::{BackupError, TakeError};
use super::run::{BackupContext, Run};
use super::{BackupPlan, PlannedSource};
use crate::model::{BackupId, BackupKind, SourceName};
use crate::platform::seed;
use crate::repository::Unavailable;
use crate::source::incremental::BaseScope;
use crate::text::error_chain;

/// The backups that a run would take now.
#[derive(Clone, Debug, Serialize)]
pub struct BackupPreview {
    pub sources: Vec<SourcePreview>,
    /// The sources that are taken as one recovery point, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<Vec<SourceName>>,
    /// Repositories that could not be read.
    #[serde(skip)]
    pub lost: Vec<Unavailable>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SourcePreview {
    pub source: SourceName,
    /// `None` where this version cannot back it up.
    pub kind: Option<BackupKind>,
    /// The steps, in order.
    pub steps: Vec<BackupStep>,
    /// Why a new backup would not be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

/// A step of a source's backup.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum BackupStep {
    /// Completes what an interrupted run started.
    Resume { backup: BackupId },
    /// Takes nothing newer: the data of a resumed one is inside of the RPO.
    NothingDue {
        #[serde(rename = "rpo_seconds", serialize_with = "seconds")]
        rpo: Duration,
    },
    /// Takes a new backup of a kind that is always full.
    New,
    /// Takes a base backup of the whole cluster.
    Full {
        /// Absent where that was requested.
        #[serde(skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// Takes an incremental base backup.
    Incremental {
        since: BackupId,
        /// Why a newer parent is not used.
        #[serde(skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

/// Decides what [`execute`](super::execute()) would take, and takes nothing: the sources and repositories are
/// queried, and no lease is held, so that a run in the meantime changes the result.
pub async fn preview(plan: BackupPlan, context: BackupContext<'_>) -> Result<BackupPreview, BackupError> {
    let run = Run::look(&plan, context).await?;
    let mut sources = Vec::new();
    for planned in &plan.sources {
        let mut steps = Vec::new();
        let rejected = run.preview_source(planned, &mut steps).await.err().map(|error| error_chain(&error));
        let (source, kind) = (planned.source.name.clone(), planned.kind);
        sources.push(SourcePreview { source, kind, steps, rejected });
    }
    let point = plan.point.as_ref().map(|point| point.members.clone());
    Ok(BackupPreview { sources, point, lost: run.repositories.lost().to_vec() })
}

impl Run<'_> {
    async fn preview_source(
        &self,
        planned: &PlannedSource,
        steps: &mut Vec<BackupStep>,
    ) -> Result<(), TakeError> {
        planned.opened.kinds().map_err(TakeError::Source)?;
        let kind = planned.kind.ok_or(TakeError::NothingPlanned)?;
        let plan = self.plan_source(planned, kind).await.map_err(TakeError::Source)?;
        steps.extend(plan.resumed.into_iter().map(|backup| BackupStep::Resume { backup }));
        if plan.is_enough {
            steps.push(BackupStep::NothingDue { rpo: self.policy.objectives.rpo });
            return Ok(());
        }
        let backup = BackupId::new(self.clock.now(), &planned.source.name, kind, seed());
        let (prepared, base, _) = self.prepare(planned, &backup).await?;
        steps.push(match base.plan.scope {
            _ if prepared.requirements().incremental.is_none() => BackupStep::New,
            BaseScope::Full(because) => BackupStep::Full { because: because.map(|why| error_chain(&why)) },
            BaseScope::Incremental { since, passed_over } => BackupStep::Incremental {
                since: since.manifest.id,
                because: passed_over.map(|why| error_chain(&why)),
            },
        });
        Ok(())
    }
}
