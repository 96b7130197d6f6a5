//! Up to when a cluster can be recovered from one repository by base backup and WAL. Pure: facts are passed
//! as [`Evidence`].

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::evidence::{Evidence, ListedWal, Question};
use super::window::RecoveryWindow;
use crate::model::{
    BackupId, Lsn, Manifest, Physical, RepositoryName, SourceName, SystemIdentifier, Timeline, WalCheck,
    WalName, bad_files, chain,
};
use crate::wal::{
    Archive, ArchiverFacts, CommitTimes, Provenance, ReplayEnd, ReplayPosition, ReplayRange,
    TimelineDivergence, TimelineTarget, WalFault, WalInventory, complete_until_by_server, first_segment,
};

/// Up to when a cluster can be recovered from one repository alone by base backup and WAL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WalStatus {
    /// The newest base backup with all WAL it needs, and how far the WAL leads from it.
    pub reach: Option<WalReach>,
    /// Newer base backups there that are not restorable, and why: required WAL, or a parent backup, is
    /// missing.
    pub waiting: Vec<(BackupId, String)>,
    /// Newer base backups there that the WAL is not of, and why.
    pub other_history: Vec<(BackupId, String)>,
    /// Why it is not known whether the WAL is of the server that the base backup that counts was taken from.
    pub unproven: Option<String>,
    /// Why it could not be queried, so that nothing is promised for it.
    pub unknown: Option<String>,
    /// A file whose archiving was confirmed to the server, and that is missing.
    pub lost: Option<String>,
    /// What blocks the server's WAL, as reported by it.
    pub stalled: Option<String>,
    /// The server is of another cluster than the base backups there.
    pub stranger: Option<ForeignCluster>,
    /// The newest WAL is not of the server's own timeline.
    pub beside: Option<TimelineDivergence>,
    /// Files to be replayed that were damaged when they were last read, and have not been written since.
    pub bad: BTreeSet<String>,
    /// Base backups there with data that was damaged when it was copied, or with such a parent: as new
    /// as the one that counts, or that one itself.
    pub damaged: Vec<BackupId>,
}

/// A server without any backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ForeignCluster {
    pub server: SystemIdentifier,
    /// The cluster of the existing base backups.
    pub kept: SystemIdentifier,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalReach {
    pub base: BackupId,
    /// Everything committed before can be recovered, by the clock of the archiving host.
    pub until: DateTime<Utc>,
    /// The newest recoverable commit, by the server's clock; `None`: none is known after the base backup.
    pub newest_commit: Option<DateTime<Utc>>,
    /// What is missing before later WAL, which is therefore unusable.
    pub gap: Option<String>,
    /// The timeline that it is along, where a newer one is archived, which `restore --latest` follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<TimelineBranch>,
    /// Where that segment is damaged; `None`: it is missing.
    pub damaged_at: Option<Lsn>,
    /// Whether it is not damaged, but was written from there on with `wal_level = minimal`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_minimal: bool,
}

/// A timeline beside a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineBranch {
    pub timeline: Timeline,
    pub newest: Timeline,
}

impl WalReach {
    /// Returns the recovery window. `from`: the time of the base backup.
    pub(super) fn window(&self, from: DateTime<Utc>) -> RecoveryWindow {
        let (backup, gap) = (Some(self.base.clone()), self.gap.clone());
        RecoveryWindow { from: Some(from), until: self.until, backup, gap }
    }
}

/// The state of WAL by source and repository, where it was queried.
pub type WalArchivesStatus = BTreeMap<(SourceName, RepositoryName), WalStatus>;

/// A base backup in one repository, assessed with the WAL there.
enum AssessedBase {
    /// The server is of another cluster.
    Foreign(ForeignCluster),
    /// It is not restorable, and why.
    Waiting(String),
    /// The WAL there is of another server.
    OtherHistory(String),
    Restorable {
        reach: WalReach,
        end: ReplayPosition,
        /// Why it is not known whether the WAL is of its server.
        unproven: Option<String>,
    },
}

/// Assesses up to when a cluster can be recovered from a repository alone. `bases`: its intact ones, newest
/// first; older ones are considered only where the newer ones are unusable. One with damaged pages, and one
/// of a timeline that the server is not on, count only where no other leads anywhere.
pub fn assess_wal(
    bases: &[&Manifest],
    evidence: &Evidence,
    server: Option<&ArchiverFacts>,
    checks: &[&WalCheck],
) -> Result<WalStatus, Question> {
    let mut status = WalStatus::default();
    let mut ordered = bases.to_vec();
    ordered.sort_by_key(|base| (is_of_later_timeline(base, server), is_damaged(base, bases)));
    for base in ordered {
        match assess_base(base, bases, evidence, server, checks, &mut status)? {
            None => {}
            Some(AssessedBase::Foreign(foreign)) => {
                status.stranger.get_or_insert(foreign);
            }
            Some(AssessedBase::Waiting(why)) => status.waiting.push((base.id.clone(), why)),
            Some(AssessedBase::OtherHistory(why)) => status.other_history.push((base.id.clone(), why)),
            Some(AssessedBase::Restorable { reach, unproven, .. }) => {
                status.reach = Some(reach);
                status.unproven = unproven;
                status.stranger = None;
                enter_passed_over(base, bases, server, &mut status);
                break;
            }
        }
    }
    Ok(status)
}

/// Returns whether the server's timeline cannot descend from this backup's: a timeline has a higher number
/// than its ancestors.
fn is_of_later_timeline(base: &Manifest, server: Option<&ArchiverFacts>) -> bool {
    let Some((physical, server)) = base.physical.as_ref().zip(server) else { return false };
    let is_of_it = base.cluster() == Some(server.system_identifier);
    is_of_it && physical.timeline > server.timeline
}

/// Returns whether it has pages with wrong checksums since it was copied, or a parent with such pages.
fn is_damaged(base: &Manifest, bases: &[&Manifest]) -> bool {
    let find = |id: &BackupId| bases.iter().copied().find(|other| other.id == *id);
    match chain(base, find) {
        Ok(chain) => chain.iter().any(|link| link.is_damaged()),
        Err(_) => base.is_damaged(),
    }
}

/// Records why backups newer than the one that counts do not count.
fn enter_passed_over(
    counts: &Manifest,
    bases: &[&Manifest],
    server: Option<&ArchiverFacts>,
    status: &mut WalStatus,
) {
    for base in bases {
        if is_of_later_timeline(base, server) && !is_of_later_timeline(counts, server) {
            let Some((physical, server)) = base.physical.as_ref().zip(server) else { continue };
            let divergence = TimelineDivergence::detect(Some(physical.timeline), server.timeline);
            status.beside = status.beside.max(divergence);
            let why = format!(
                "it is of timeline {}, and the server is on timeline {}",
                physical.timeline, server.timeline
            );
            status.waiting.push((base.id.clone(), why));
        } else if is_damaged(base, bases) {
            status.damaged.push(base.id.clone());
        }
        if base.id == counts.id {
            break;
        }
    }
    status.waiting.sort_by(|(a, _), (b, _)| b.cmp(a));
    status.waiting.dedup_by(|(a, _), (b, _)| a == b);
}

/// Returns every window that a repository's base backups and WAL alone provide, newest first.
pub fn wal_windows(
    bases: &[&Manifest],
    evidence: &Evidence,
    server: Option<&ArchiverFacts>,
    checks: &[&WalCheck],
) -> Result<Vec<RecoveryWindow>, Question> {
    let mut windows: Vec<(ReplayPosition, RecoveryWindow)> = Vec::new();
    for base in bases {
        let assessed = assess_base(base, bases, evidence, server, checks, &mut WalStatus::default())?;
        let Some(AssessedBase::Restorable { reach, end, .. }) = assessed else { continue };
        let from = base.recovery_point;
        match windows.iter_mut().find(|(known, _)| *known == end) {
            // The older one leads through the newer ones.
            Some((_, window)) => (window.backup, window.from) = (Some(reach.base), Some(from)),
            None => windows.push((end, reach.window(from))),
        }
    }
    Ok(windows.into_iter().map(|(_, window)| window).collect())
}

/// `None`: it is not a base backup that records the WAL it needs.
fn assess_base(
    base: &Manifest,
    bases: &[&Manifest],
    evidence: &Evidence,
    server: Option<&ArchiverFacts>,
    checks: &[&WalCheck],
    status: &mut WalStatus,
) -> Result<Option<AssessedBase>, Question> {
    let (Some(archive), Some(physical)) = (Archive::from_manifest(base), &base.physical) else {
        return Ok(None);
    };
    if let Some(server) = server.filter(|server| server.system_identifier != archive.cluster) {
        let foreign = ForeignCluster { server: server.system_identifier, kept: archive.cluster };
        return Ok(Some(AssessedBase::Foreign(foreign)));
    }
    let waiting = |why: String| Ok(Some(AssessedBase::Waiting(why)));
    let links = match chain(base, |id| bases.iter().copied().find(|other| other.id == *id)) {
        Ok(links) => links,
        Err(broken) => return waiting(broken.to_string()),
    };
    let held = match evidence.wal(&archive, Some(first_segment(physical)))? {
        ListedWal::Held(held) => held,
        ListedWal::None(why) => return waiting(why.clone()),
    };
    if let Some(missing) = held.lacks(physical) {
        return waiting(missing.to_string());
    }
    let of_links = links.iter().filter_map(|link| Some((&link.id, link.physical.as_ref()?)));
    let of_links: Vec<_> = of_links.collect();
    if let Some(question) =
        evidence.provenance_question(&archive, of_links.iter().map(|(_, physical)| *physical))
    {
        return Err(question);
    }
    let mut unproven = None;
    for (id, link) in of_links {
        match evidence.provenance(&archive, link)? {
            Provenance::Same => {}
            Provenance::Other(other) if *id == base.id => {
                return Ok(Some(AssessedBase::OtherHistory(other.to_string())));
            }
            Provenance::Other(other) => {
                return Ok(Some(AssessedBase::OtherHistory(format!("of {id}, that it builds on, {other}"))));
            }
            // The WAL of what it builds on is not needed, and may be gone.
            Provenance::Unknown(unknown) if *id == base.id => unproven = Some(unknown.to_string()),
            Provenance::Unknown(_) => {}
        }
    }
    let divergence = server.and_then(|server| TimelineDivergence::of_held(held, server.timeline));
    status.beside = status.beside.or(divergence);
    let way = match way(held, physical, server) {
        Ok(way) => way,
        Err(why) => return waiting(why),
    };
    // A damaged file leads nowhere, just like a missing one.
    let bad = bad_on(&way, &archive, evidence, checks)?;
    let mut good = held.clone();
    bad.iter().for_each(|name| good.forget(*name));
    status.bad.extend(bad.iter().map(WalName::to_string));
    if good.lacks(physical).is_some() {
        let names: Vec<_> = bad.iter().map(WalName::to_string).collect();
        return waiting(format!("the last `drctl verify` found WAL bad that it needs: {}", names.join(", ")));
    }
    let reach_of_good = good.reach(way.begin, way.follow);
    let damaged = evidence.damage(&archive, &reach_of_good)?;
    let damaged = reach_of_good.first_damage(damaged, physical.start);
    if let Some(damaged) = damaged.filter(|damaged| damaged.at < physical.stop) {
        return waiting(format!("in the WAL that it needs, {damaged}"));
    }
    let cut = |reach: ReplayRange| match damaged {
        Some(damaged) => reach.until_damage(damaged),
        None => reach,
    };
    let way = WalSource { reach: cut(reach_of_good), ..way };
    let times = evidence.times(&archive, &way.reach)?;
    let reach = reach(base, &way, &good, times, server);
    Ok(Some(AssessedBase::Restorable { reach, end: way.reach.end, unproven }))
}

/// How far a server can replay from a base backup.
struct WalSource {
    begin: ReplayPosition,
    follow: TimelineTarget,
    reach: ReplayRange,
}

/// Follows the server's own timeline, where that is archived: WAL of another one, such as of a restored
/// server that archives to the same location, does not recover it. Otherwise follows the newest descendant of
/// the backup.
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
        // It is restored with `--timeline`.
        ReplayEnd::NotAChild(_) => follow(TimelineTarget::Timeline(physical.timeline)),
        _ => way,
    })
}

/// Returns files to be replayed that were damaged when they were last read, and have not been written since.
fn bad_on(
    way: &WalSource,
    archive: &Archive,
    evidence: &Evidence,
    checks: &[&WalCheck],
) -> Result<Vec<WalName>, Question> {
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
            let written = evidence.written(archive, name)?;
            bad.extend(written.is_some_and(|written| written <= found).then_some(name));
        }
    }
    Ok(bad)
}

fn reach(
    base: &Manifest,
    way: &WalSource,
    held: &WalInventory,
    CommitTimes { complete, newest_commit }: CommitTimes,
    server: Option<&ArchiverFacts>,
) -> WalReach {
    let by_server = server.and_then(|server| complete_until_by_server(server, &way.reach));
    WalReach {
        base: base.id.clone(),
        until: complete.max(by_server).unwrap_or_default().max(base.recovery_point),
        newest_commit,
        branch: match way.follow {
            TimelineTarget::Timeline(timeline) => {
                let newest = held.timelines().last().filter(|newest| *newest > timeline);
                newest.map(|newest| TimelineBranch { timeline, newest })
            }
            TimelineTarget::Latest => None,
        },
        gap: match way.reach.stop {
            // A server stays on its initial timeline, unless it finds a later one.
            ReplayEnd::End if way.follow == TimelineTarget::Latest => {
                held.without_history().next().map(|timeline| format!("{}.history", timeline.in_names()))
            }
            ReplayEnd::End => None,
            ReplayEnd::Gap(gap) => Some(format!("segment {}", gap.first)),
            ReplayEnd::NoHistory(timeline) => Some(format!("{}.history", timeline.in_names())),
            ReplayEnd::NotAChild(timeline) => Some(format!("the way to timeline {timeline}")),
            ReplayEnd::Damaged(damaged) => Some(format!("segment {}", damaged.segment)),
        },
        is_minimal: matches!(way.reach.stop, ReplayEnd::Damaged(damaged) if damaged.fault == WalFault::Minimal),
        damaged_at: match way.reach.stop {
            ReplayEnd::Damaged(damaged) => Some(damaged.at),
            _ => None,
        },
    }
}
