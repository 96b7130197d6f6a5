use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::Serialize;

use super::standing::is_restorable;
use crate::catalog::BackupEntry;
use crate::event::told;
use crate::model::{BackupId, Manifest, Physical, RepositoryName, SourceName, chain};
use crate::pipeline::Identities;
use crate::policy::Policy;
use crate::repository::{Repositories, Repository};
use crate::wal::cluster::ClusterError;
use crate::wal::{
    Archive, Follow, Holdings, ListError, Moment, Position, Said, Stop, first_segment, holdings, moment, said,
};

/// Up to when one repository, alone, could bring a cluster back by base backup and log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogStanding {
    /// The newest base backup that has all the log it needs, and what the log makes of it.
    pub reach: Option<LogReach>,
    /// Newer base backups there that cannot be restored, and why: the log they need is not there, or a backup
    /// they build on.
    pub waiting: Vec<(BackupId, String)>,
    /// Why it could not be asked, so that nothing is promised of it.
    pub unknown: Option<String>,
    /// The server was told that this file is archived, and it is not there.
    pub lost: Option<String>,
    /// What keeps the server's log from coming, by its own words.
    pub stalled: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogReach {
    pub base: BackupId,
    /// Everything committed before can be brought back, by the clock of the host that archived it.
    pub until: DateTime<Utc>,
    /// The newest commit that can be brought back, by the server's clock; `None`: none is known after the
    /// base backup.
    pub newest_commit: Option<DateTime<Utc>>,
    /// Later log is there, and cannot be used: this is missing before it.
    pub gap: Option<String>,
}

/// Where a source's log was asked.
pub type Logs = BTreeMap<(SourceName, RepositoryName), LogStanding>;

/// Asks every repository that could be reached for the log of every source that has base backups.
pub async fn logs(repositories: &Repositories, entries: &[BackupEntry]) -> Logs {
    let mut bases: BTreeMap<&SourceName, Vec<&BackupEntry>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.manifest.physical.is_some()) {
        bases.entry(&entry.manifest.source).or_default().push(entry);
    }
    let mut logs = Logs::new();
    for (source, mut own) in bases {
        own.sort_by_key(|entry| std::cmp::Reverse(entry.manifest.recovery_point));
        for repository in repositories.iter() {
            let there = own.iter().filter(|entry| is_restorable(entry, &repository.name));
            let manifests: Vec<&Manifest> = there.map(|entry| &entry.manifest).collect();
            let standing = log_of(repository, &manifests).await.unwrap_or_else(|error| LogStanding {
                unknown: Some(told(&error)),
                ..LogStanding::default()
            });
            logs.insert((source.clone(), repository.name.clone()), standing);
        }
    }
    logs
}

/// Asks the servers what they were told is archived, and whether they still archive; enters where that is not
/// so. Gives the sources whose server could not be asked, and why.
pub async fn enter_said(
    policy: &Policy,
    repositories: &Repositories,
    logs: &mut Logs,
) -> Vec<(SourceName, String)> {
    let asked = policy.sources.iter().map(async |source| (source, said(&policy.system, source).await));
    let mut not_asked = Vec::new();
    for (source, said) in join_all(asked).await {
        let Said { acknowledged, stall } = match said {
            Ok(Some(said)) => said,
            Ok(None) => continue,
            Err(error) => {
                not_asked.push((source.name.clone(), told(&error)));
                continue;
            }
        };
        for repository in repositories.iter() {
            let standing = logs.entry((source.name.clone(), repository.name.clone())).or_default();
            standing.stalled = stall.as_ref().map(ToString::to_string);
            let Some(told_server) = &acknowledged else { continue };
            match told_server.is_lost_from(repository).await {
                Ok(true) => standing.lost = Some(told_server.file.to_string()),
                Ok(false) => {}
                Err(error) => standing.unknown = standing.unknown.take().or(Some(told(&error))),
            }
        }
    }
    not_asked
}

/// `bases`: newest first.
async fn log_of(repository: &Repository, bases: &[&Manifest]) -> Result<LogStanding, ListError> {
    let mut standing = LogStanding::default();
    for manifest in bases {
        let (Some(archive), Some(physical)) = (Archive::of(manifest), &manifest.physical) else { continue };
        let find = |id: &BackupId| bases.iter().copied().find(|other| other.id == *id);
        if let Err(broken) = chain(manifest, find) {
            standing.waiting.push((manifest.id.clone(), broken.to_string()));
            continue;
        }
        let identities = Identities::default();
        let first = first_segment(physical);
        // Only the log since this backup is listed: older ones are asked for only where it cannot be used.
        let held = match holdings(&*repository.store, &archive, Some(first), &identities).await {
            Ok(held) => held,
            Err(ListError::Never { .. }) => {
                standing.waiting.push((manifest.id.clone(), "no log was ever archived there".to_owned()));
                continue;
            }
            // Of a server that was made anew and never archived: what is there of the one before still counts.
            Err(ListError::Cluster(ClusterError::Other { recorded, .. })) => {
                let why = format!("the log there is of another cluster, {recorded}");
                standing.waiting.push((manifest.id.clone(), why));
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(lacking) = held.lacks(physical) {
            standing.waiting.push((manifest.id.clone(), lacking.to_string()));
            continue;
        }
        standing.reach = Some(reach(repository, &archive, manifest, physical, &held).await?);
        break;
    }
    Ok(standing)
}

async fn reach(
    repository: &Repository,
    archive: &Archive,
    manifest: &Manifest,
    physical: &Physical,
    held: &Holdings,
) -> Result<LogReach, ListError> {
    let begin = Position { timeline: physical.timeline, lsn: physical.start };
    let reach = held.reach(begin, Follow::Latest);
    let Moment { complete, newest_commit } =
        moment(&*repository.store, archive, &reach).await.map_err(ListError::Store)?;
    Ok(LogReach {
        base: manifest.id.clone(),
        until: complete.unwrap_or_default().max(manifest.recovery_point),
        newest_commit,
        gap: match reach.stop {
            // A server stays on the timeline that it begins on, where it does not learn of a later one.
            Stop::End => {
                held.without_history().next().map(|timeline| format!("{}.history", timeline.in_names()))
            }
            Stop::Gap(gap) => Some(format!("segment {}", gap.first)),
            Stop::NoHistory(timeline) => Some(format!("{}.history", timeline.in_names())),
            Stop::NotAChild(timeline) => Some(format!("the way to timeline {timeline}")),
        },
    })
}
