use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::model::{BackupKind, RunId, SourceName};
use crate::policy::{Policy, Source};
use crate::source;
use crate::source::postgres_base::Extent;

/// What a run is going to do.
#[derive(Clone, Debug)]
pub struct BackupPlan {
    pub run: RunId,
    /// Of base backups.
    pub extent: Extent,
    pub sources: Vec<PlannedSource>,
}

/// One backup of a source. A source with several methods is there once for each.
#[derive(Clone, Debug)]
pub struct PlannedSource {
    pub source: Source,
    /// `None` where this version can take no backup of it: the run says so, and does not succeed.
    pub kind: Option<BackupKind>,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    #[error("the policy has no source `{name}`; it has {}", list(.known))]
    UnknownSource { name: SourceName, known: Vec<SourceName> },
    #[error("the policy has no source")]
    NoSource,
    #[error("the policy asks for no backup of kind `{kind}` of {}", list(.of))]
    NoSuchKind { kind: BackupKind, of: Vec<SourceName> },
}

fn list(names: &[SourceName]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// All sources of the policy, or those that are named, each once with every kind of backup that the policy
/// asks for, or with just the one that is named.
pub fn plan(
    policy: &Policy,
    named: &[SourceName],
    only: Option<BackupKind>,
    now: DateTime<Utc>,
    seed: u32,
) -> Result<BackupPlan, PlanError> {
    if let Some(name) = named.iter().find(|name| policy.source(name).is_none()) {
        let known = policy.sources.iter().map(|source| source.name.clone()).collect();
        return Err(PlanError::UnknownSource { name: name.clone(), known });
    }
    let wanted = |source: &&Source| named.is_empty() || named.contains(&source.name);
    let wanted: Vec<_> = policy.sources.iter().filter(wanted).collect();
    let mut sources = Vec::new();
    let mut without = Vec::new();
    for source in &wanted {
        let of_kind = |kind| PlannedSource { source: (*source).clone(), kind };
        match source::kinds(source) {
            Ok(kinds) => {
                let kinds: Vec<_> =
                    kinds.iter().filter(|kind| only.is_none_or(|only| **kind == only)).collect();
                if kinds.is_empty() {
                    without.push(source.name.clone());
                }
                sources.extend(kinds.into_iter().copied().map(Some).map(of_kind));
            }
            Err(_) if only.is_none_or(|only| source.kinds.contains(&only)) => sources.push(of_kind(None)),
            Err(_) => without.push(source.name.clone()),
        }
    }
    match only {
        // Who names a source means it; without a name it is enough that some have such backups.
        Some(kind) if sources.is_empty() || !(named.is_empty() || without.is_empty()) => {
            Err(PlanError::NoSuchKind { kind, of: without })
        }
        _ if sources.is_empty() => Err(PlanError::NoSource),
        _ => Ok(BackupPlan { run: RunId::new(now, seed), extent: Extent::default(), sources }),
    }
}
