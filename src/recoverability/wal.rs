use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::servers::Servers;
use crate::catalog::BackupEntry;
use crate::model::{
    BackupId, Manifest, Physical, RepositoryName, SourceName, SystemIdentifier, WalCheck, WalName, bad_files,
    chain,
};
use crate::pipeline::Identities;
use crate::repository::{Repositories, Repository};
use crate::status::assess::is_restorable;
use crate::text::error_chain;
use crate::wal::cluster::ClusterError;
use crate::wal::{
    Archive, ArchiverFacts, CommitTimes, ListError, ReplayEnd, ReplayPosition, ReplayRange,
    TimelineDivergence, TimelineTarget, WalInventory, complete_by_server, first_segment, holdings, modified,
    moment,
};

/// Up to when one repository, alone, could bring a cluster back by base backup and log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WalStatus {
    /// The newest base backup that has all the log it needs, and what the log makes of it.
    pub reach: Option<WalReach>,
    /// Newer base backups there that cannot be restored, and why: the log they need is not there, or a backup
    /// they build on.
    pub waiting: Vec<(BackupId, String)>,
    /// Why it could not be asked, so that nothing is promised of it.
    pub unknown: Option<String>,
    /// The server was told that this file is archived, and it is not there.
    pub lost: Option<String>,
    /// What keeps the server's log from coming, by its own words.
    pub stalled: Option<String>,
    /// The server is another cluster than the one whose base backups are there.
    pub stranger: Option<ForeignCluster>,
    /// The newest log there is not of the server's own timeline.
    pub beside: Option<TimelineDivergence>,
    /// Files on the way that were bad when they were last read, and have not been written since.
    pub bad: BTreeSet<String>,
}

/// A server that nothing is kept of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ForeignCluster {
    pub server: SystemIdentifier,
    /// Whose base backups are there.
    pub kept: SystemIdentifier,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalReach {
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
pub type WalArchivesStatus = BTreeMap<(SourceName, RepositoryName), WalStatus>;

/// Asks every repository that could be reached for the log of every source that has base backups. `checks`: what was
/// found when log was read again.
pub async fn logs(
    repositories: &Repositories,
    entries: &[BackupEntry],
    servers: &Servers,
    checks: &[WalCheck],
) -> WalArchivesStatus {
    let mut bases: BTreeMap<&SourceName, Vec<&BackupEntry>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.manifest.physical.is_some()) {
        bases.entry(&entry.manifest.source).or_default().push(entry);
    }
    let mut logs = WalArchivesStatus::new();
    for (source, mut own) in bases {
        own.sort_by_key(|entry| std::cmp::Reverse(entry.manifest.recovery_point));
        let server = servers.asked.get(source).map(|said| &said.facts);
        for repository in repositories.iter() {
            let there = own.iter().filter(|entry| is_restorable(entry, &repository.name));
            let manifests: Vec<&Manifest> = there.map(|entry| &entry.manifest).collect();
            let of_it = |check: &&WalCheck| check.source == *source && check.repository == repository.name;
            let checks: Vec<_> = checks.iter().filter(of_it).collect();
            let standing = log_of(repository, &manifests, server, &checks).await;
            let standing = standing.unwrap_or_else(|error| WalStatus {
                unknown: Some(error_chain(&error)),
                ..WalStatus::default()
            });
            logs.insert((source.clone(), repository.name.clone()), standing);
        }
    }
    logs
}

/// Enters where what the servers were told is archived is not, and what keeps their log from coming.
pub async fn enter_said(servers: &Servers, repositories: &Repositories, logs: &mut WalArchivesStatus) {
    for (source, said) in &servers.asked {
        for repository in repositories.iter() {
            let standing = logs.entry((source.clone(), repository.name.clone())).or_default();
            standing.stalled = said.stall.as_ref().map(ToString::to_string);
            let Some(told_server) = &said.acknowledged else { continue };
            // It was told of its own log, and that has no place there.
            if standing.stranger.is_some() {
                continue;
            }
            match told_server.is_lost_from(repository).await {
                Ok(true) => standing.lost = Some(told_server.file.to_string()),
                Ok(false) => {}
                Err(error) => standing.unknown = standing.unknown.take().or(Some(error_chain(&error))),
            }
        }
    }
}

/// `bases`: newest first.
async fn log_of(
    repository: &Repository,
    bases: &[&Manifest],
    server: Option<&ArchiverFacts>,
    checks: &[&WalCheck],
) -> Result<WalStatus, ListError> {
    let mut standing = WalStatus::default();
    for manifest in bases {
        let (Some(archive), Some(physical)) = (Archive::of(manifest), &manifest.physical) else { continue };
        if let Some(server) = server.filter(|server| server.system_identifier != archive.cluster) {
            let stranger = ForeignCluster { server: server.system_identifier, kept: archive.cluster };
            standing.stranger.get_or_insert(stranger);
            continue;
        }
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
        standing.beside =
            standing.beside.or(server.and_then(|server| TimelineDivergence::of_held(&held, server.timeline)));
        let way = match way(&held, physical, server) {
            Ok(way) => way,
            Err(why) => {
                standing.waiting.push((manifest.id.clone(), why));
                continue;
            }
        };
        // What is bad leads nowhere, just as what is missing.
        let bad = bad_on(&way, &archive, repository, checks).await?;
        let mut good = held.clone();
        bad.iter().for_each(|name| good.forget(*name));
        standing.bad.extend(bad.iter().map(WalName::to_string));
        if good.lacks(physical).is_some() {
            let names: Vec<_> = bad.iter().map(WalName::to_string).collect();
            let why = format!("the last `drctl verify` found log bad that it needs: {}", names.join(", "));
            standing.waiting.push((manifest.id.clone(), why));
            continue;
        }
        let way = WalSource { reach: good.reach(way.begin, way.follow), ..way };
        let mut reach = reach(repository, &archive, manifest, &way, &good).await?;
        let by_server = server.and_then(|server| complete_by_server(server, &way.reach));
        reach.until = reach.until.max(by_server.unwrap_or_default());
        standing.reach = Some(reach);
        standing.stranger = None;
        break;
    }
    Ok(standing)
}

/// Where a server would come from a base backup.
struct WalSource {
    begin: ReplayPosition,
    follow: TimelineTarget,
    reach: ReplayRange,
}

/// Along the server's own timeline, where that is archived: log of another one, such as of a restored server that
/// archives to the same place, does not bring it back. Otherwise along the newest that comes from the backup.
fn way(
    held: &WalInventory,
    physical: &Physical,
    server: Option<&ArchiverFacts>,
) -> Result<WalSource, String> {
    let begin = ReplayPosition { timeline: physical.timeline, lsn: physical.start };
    let follow = |follow| WalSource { begin, follow, reach: held.reach(begin, follow) };
    let own = server.map(|server| server.timeline).filter(|own| held.timelines().any(|there| there == *own));
    if let Some(own) = own {
        let way = follow(TimelineTarget::Timeline(own));
        return match way.reach.stop {
            ReplayEnd::NotAChild(_) => {
                Err(format!("timeline {own}, which the server is on, does not come from it"))
            }
            _ => Ok(way),
        };
    }
    let way = follow(TimelineTarget::Latest);
    Ok(match way.reach.stop {
        // Whoever restores it says `--timeline`.
        ReplayEnd::NotAChild(_) => follow(TimelineTarget::Timeline(physical.timeline)),
        _ => way,
    })
}

/// Files on the way that were bad when they were last read, and have not been written since.
async fn bad_on(
    way: &WalSource,
    archive: &Archive,
    repository: &Repository,
    checks: &[&WalCheck],
) -> Result<Vec<WalName>, ListError> {
    let of_it = checks.iter().copied().filter(|check| check.system_identifier == archive.cluster);
    let mut bad = Vec::new();
    for (name, found) in bad_files(of_it) {
        let Ok(name) = name.parse::<WalName>() else { continue };
        let is_on_it = match name {
            WalName::Segment(segment) => way.reach.backwards().any(|on| on == segment),
            WalName::Piece { segment, begin, end } => {
                let pieces = way.reach.pieces.as_ref().filter(|(of, _)| *of == segment);
                pieces.is_some_and(|(_, pieces)| pieces.contains(&(begin, end)))
            }
            WalName::History(timeline) => timeline <= way.reach.end.timeline,
            WalName::Partial(_) | WalName::BackupLabel { .. } => false,
        };
        if is_on_it {
            let written = modified(&*repository.store, archive, name).await.map_err(ListError::Store)?;
            bad.extend(written.is_some_and(|written| written <= found).then_some(name));
        }
    }
    Ok(bad)
}

async fn reach(
    repository: &Repository,
    archive: &Archive,
    manifest: &Manifest,
    way: &WalSource,
    held: &WalInventory,
) -> Result<WalReach, ListError> {
    let CommitTimes { complete, newest_commit } =
        moment(&*repository.store, archive, &way.reach).await.map_err(ListError::Store)?;
    Ok(WalReach {
        base: manifest.id.clone(),
        until: complete.unwrap_or_default().max(manifest.recovery_point),
        newest_commit,
        gap: match way.reach.stop {
            // A server stays on the timeline that it begins on, where it does not learn of a later one.
            ReplayEnd::End if way.follow == TimelineTarget::Latest => {
                held.without_history().next().map(|timeline| format!("{}.history", timeline.in_names()))
            }
            ReplayEnd::End => None,
            ReplayEnd::Gap(gap) => Some(format!("segment {}", gap.first)),
            ReplayEnd::NoHistory(timeline) => Some(format!("{}.history", timeline.in_names())),
            ReplayEnd::NotAChild(timeline) => Some(format!("the way to timeline {timeline}")),
        },
    })
}
