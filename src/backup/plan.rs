use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::model::{BackupId, RunId, SourceName};
use crate::policy::{Policy, Source};
use crate::source;

/// What a run is going to do.
#[derive(Clone, Debug)]
pub struct BackupPlan {
    pub run: RunId,
    pub sources: Vec<PlannedSource>,
}

/// One source and what will be taken of it.
#[derive(Clone, Debug)]
pub struct PlannedSource {
    pub source: Source,
    /// `None` where this version can take no backup of it: the run says so, and does not succeed.
    pub backup: Option<BackupId>,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    #[error("the policy has no source `{name}`; it has {}", list(.known))]
    UnknownSource { name: SourceName, known: Vec<SourceName> },
    #[error("the policy has no source")]
    NoSource,
}

fn list(names: &[SourceName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// All sources of the policy, or those that are named, each once.
pub fn plan(
    policy: &Policy,
    named: &[SourceName],
    now: DateTime<Utc>,
    mut seed: impl FnMut() -> u32,
) -> Result<BackupPlan, PlanError> {
    if let Some(name) = named.iter().find(|name| policy.source(name).is_none()) {
        let known = policy.sources.iter().map(|source| source.name.clone()).collect();
        return Err(PlanError::UnknownSource { name: name.clone(), known });
    }
    let wanted = policy.sources.iter().filter(|source| named.is_empty() || named.contains(&source.name));
    let sources: Vec<_> = wanted
        .map(|source| PlannedSource {
            source: source.clone(),
            backup: source::kind(source).ok().map(|kind| BackupId::new(now, &source.name, kind, seed())),
        })
        .collect();
    if sources.is_empty() {
        return Err(PlanError::NoSource);
    }
    Ok(BackupPlan { run: RunId::new(now, seed()), sources })
}
