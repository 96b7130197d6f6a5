//! Collects everything a plan needs, and changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;

use super::fetch::read_small;
use super::host::HostFacts;
use super::replay_effects;
use super::replay_effects::{ReplayEffects, StopRecord};
use super::select::{BaseBackup, candidates, goal, parents, replay_from};
use super::tablespaces::tablespace_directories;
use super::target::shown;
use super::timelines::{branches, ends_early};
use super::wal_survey::{CommitSearch, WalArchives};
use super::window::{RecoveryWindow, restorable, why};
use super::{
    BaseBackupSelector, PhysicalRestoreError, PhysicalRestoreRequest, RecoveryTarget, ambiguous_target,
    resume, wal_scan,
};
use crate::model::{
    BackupId, BackupKind, ClusterFacts, Details, RepositoryName, Segment, SystemIdentifier, Tablespace,
    Timeline,
};
use crate::repository::{BackupRecord, Inventory, Listing, RejectedManifest, Unavailable, manifest};
use crate::restore::Refusal;
use crate::restore::refusal::in_repository;
use crate::run::RunContext;
use crate::source::postgres_base::DETAILS;
use crate::text::{error_chain, quoted_list};
use crate::wal::{
    Archive, CommitTimes, DamagedWal, ListError, Provenance, ReplayEnd, ReplayRange, UnknownProvenance,
    WalFault, WalInventory,
};

/// All facts that the decision needs.
#[derive(Clone, Debug)]
pub struct PhysicalSurvey {
    pub(super) base: BaseBackup,
    /// The backups it is based on, the full one first.
    pub(super) parents: Vec<BaseBackup>,
    /// Better backups that are not used, and why.
    pub(super) passed: Vec<(BackupId, String)>,
    pub(super) facts: ClusterFacts,
    pub(super) timeline: Timeline,
    pub(super) log: WalInventory,
    /// How far the WAL of all repositories together leads.
    pub(super) reach: ReplayRange,
    /// And of each alone.
    pub(super) alone: Vec<(RepositoryName, ReplayRange)>,
    pub(super) moment: CommitTimes,
    /// For a time target: the first segment with a commit after it.
    pub(super) after: Option<Segment>,
    /// For an LSN target: the first record that begins there or after it.
    pub(super) stop_record: Option<StopRecord>,
    /// For a name or a transaction: whether it is in the intact WAL.
    pub(super) is_met: bool,
    /// Repositories that have any of the WAL.
    pub(super) holders: Vec<RepositoryName>,
    /// Repositories that cannot be read, or have no WAL: they may have more.
    pub(super) lost: Vec<RepositoryName>,
    pub(super) windows: Vec<RecoveryWindow>,
    pub(super) way: ReplayEffects,
    /// All tablespaces of the result: those of the backup, and those created during replay.
    pub(super) tablespaces: Vec<Tablespace>,
    /// Why it is not known whether the WAL is of the server that the backup was taken from.
    pub(super) unproven: Option<UnknownProvenance>,
    /// The target exists on two timelines.
    pub(super) parted: Option<Refusal>,
    pub(super) here: HostFacts,
}

/// The existing backups of a source.
struct BackupInventory {
    /// Newest first.
    bases: Vec<BaseBackup>,
    /// Newest first.
    dumps: Vec<BackupId>,
}

/// Segments that are inspected without reporting it.
const MANY: usize = 32;

/// Returns whether every repository was queried, and has no WAL of the cluster.
fn has_none(lost: &[Unavailable]) -> bool {
    lost.iter().all(|lost| lost.error.downcast_ref::<ListError>().is_some_and(ListError::is_of_no_log))
}

/// Returns the fitting backups and all others per cluster, that of the best one first.
fn clusters_of(fitting: &[BaseBackup], all: &[BaseBackup]) -> Vec<(Vec<BaseBackup>, Vec<BaseBackup>)> {
    let mut clusters: Vec<SystemIdentifier> = Vec::new();
    for base in fitting.iter().chain(all) {
        if !clusters.contains(&base.cluster) {
            clusters.push(base.cluster);
        }
    }
    let of = |cluster, bases: &[BaseBackup]| {
        bases.iter().filter(|base| base.cluster == cluster).cloned().collect()
    };
    clusters.into_iter().map(|cluster| (of(cluster, fitting), of(cluster, all))).collect()
}

/// Inspects the repositories, the backups, their WAL, and this host.
///
/// The details are decrypted here already: they are small, and prove that the identity opens the backup
/// before anything is changed.
pub(super) async fn survey(
    run: &RunContext,
    request: &PhysicalRestoreRequest,
) -> Result<PhysicalSurvey, PhysicalRestoreError> {
    let refused = |refusal| PhysicalRestoreError::Refused(vec![refusal]);
    // The existing directory contains a certain backup.
    let resumed = resume::with_its_backup(request)?;
    let request = resumed.as_ref().unwrap_or(request);
    let stock = stock(run, request).await?;
    let mut clusters = clusters_of(&candidates(&stock.bases, request).map_err(refused)?, &stock.bases);
    clusters.reverse();
    // A cluster that replaced another has WAL of its own; one whose backups have none, such as a recreated
    // server that never archived, must not hide the others.
    let (fitting, bases, log, lost) = loop {
        let Some((fitting, bases)) = clusters.pop() else {
            return Err(refused(without_bases(run, request, &stock).await));
        };
        let Some(reference) = fitting.first().or(bases.first()) else { continue };
        match log(run, reference, &bases).await {
            Ok((log, lost)) => break (fitting, bases, log, lost),
            // Only where each of them was queried: an unreachable one may have the WAL.
            Err(PhysicalRestoreError::NoLog(lost))
                if !clusters.is_empty()
                    && matches!(request.backup, BaseBackupSelector::Fitting)
                    && has_none(&lost) =>
            {
                run.events.warning(format!(
                    "{} is not used: there is no WAL of its cluster, {}",
                    reference.manifest.id, reference.cluster
                ))
            }
            Err(error) => return Err(error),
        }
    };
    let timeline = goal(&bases, &log.together, request.timeline).map_err(refused)?;
    if request.target == RecoveryTarget::Latest && request.timeline.is_none() {
        let branches = branches(&bases, &log).await?;
        if let Some(refusal) = ends_early(timeline, &branches) {
            return Err(refused(refusal));
        }
    }
    let windows = windows(&log, &bases, timeline).await?;
    let target = request.target.to_string();
    if fitting.is_empty() {
        let code = match request.target {
            RecoveryTarget::Transaction(_) => "transaction-too-early",
            _ => "too-early",
        };
        let message =
            format!("{target} is before the end of every base backup there is{}", restorable(&windows));
        return Err(refused(Refusal::nothing(code, message)));
    }
    let (mut passed, mut not_good, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut unproven: BTreeMap<BackupId, UnknownProvenance> = BTreeMap::new();
    let (mut chosen, mut damaged, mut doubted) = (None, None, None);
    let fitting = nearest_to_name(run, request, fitting, timeline, &log).await?;
    let mut fitting = fitting.into_iter().peekable();
    while let Some(base) = fitting.next() {
        // An older one leads to the same target, over more WAL; so it does where a parent is missing.
        if let (true, Some(parent)) = (request.delta, &base.physical.parent) {
            let why = format!(
                "with `--delta` it would have to be whole by itself, and it holds what changed since {parent}"
            );
            passed.push((base.manifest.id.clone(), why));
            continue;
        }
        let parents = parents(&base, bases.iter());
        let built_on = parents.as_ref().map(Vec::as_slice).unwrap_or_default();
        let (other, unknown) = provenance_of(run, &log, &base, built_on).await?;
        unproven.extend(unknown.map(|unknown| (base.manifest.id.clone(), unknown)));
        if let Some(other) = other {
            passed.push((base.manifest.id.clone(), other.clone()));
            others.push((base.manifest.id.clone(), other));
            continue;
        }
        match parents.and_then(|parents| Ok((parents, replay_from(&base, timeline, &log.together)?))) {
            // A name may be before the gap or after it, and one that is before it is not found from here:
            // PostgreSQL reports so, and nothing is started.
            Ok((_, ReplayRange { stop: stop @ ReplayEnd::Gap(_), .. }))
                if matches!(request.target, RecoveryTarget::Name(_)) && fitting.peek().is_some() =>
            {
                let why = why(&stop).unwrap_or_default();
                passed.push((base.manifest.id.clone(), format!("in the WAL after it {why}")));
            }
            Ok((parents, reach)) => {
                let links = || std::iter::once(&base).chain(&parents);
                let is_free = request.backup == BaseBackupSelector::Fitting;
                if let Some(bad) = links().find(|base| base.is_bad(&request.doubtful)).filter(|_| is_free) {
                    let why =
                        format!("the last `drctl verify` found {} bad in every repository", bad.manifest.id);
                    not_good.push((base.manifest.id.clone(), why.clone()));
                    passed.push((base.manifest.id.clone(), why));
                    doubted.get_or_insert((base, parents, reach));
                    continue;
                }
                let with_damage = links().find(|base| base.manifest.is_damaged());
                let with_damage = with_damage.map(|base| base.manifest.id.clone());
                match with_damage {
                    Some(with_damage) if is_free => {
                        let why = format!("{with_damage} holds data that was damaged when it was copied");
                        not_good.push((base.manifest.id.clone(), why.clone()));
                        passed.push((base.manifest.id.clone(), why));
                        damaged.get_or_insert((base, parents, reach));
                    }
                    with_damage => {
                        if let Some(with_damage) = with_damage {
                            run.events.warning(format!(
                                "{with_damage} holds data that was damaged when it was copied"
                            ));
                        }
                        chosen = Some((base, parents, reach));
                        break;
                    }
                }
            }
            Err(unfit) => passed.push((base.manifest.id.clone(), unfit.why(timeline))),
        }
    }
    for (id, why) in not_good.iter().filter(|_| chosen.is_some()) {
        run.events.warning(format!("{id} is not used: {why}; `--backup {id}` restores it all the same"));
    }
    for (id, why) in &others {
        run.events.warning(format!("{id} is not used: {why}"));
    }
    if let (None, Some((base, ..))) = (&chosen, &damaged) {
        run.events.warning(format!(
            "{} is used, although it, or one that it builds on, holds data that was damaged when it was copied: nothing else leads there",
            base.manifest.id
        ));
        passed.retain(|(id, _)| *id != base.manifest.id);
    }
    let chosen = chosen.or(damaged);
    if let (None, Some((base, ..))) = (&chosen, &doubted) {
        run.events.warning(format!(
            "{} is used, although the last `drctl verify` found it, or one that it builds on, bad in every repository: nothing else leads there",
            base.manifest.id
        ));
        passed.retain(|(id, _)| *id != base.manifest.id);
    }
    let Some((base, parents, reach)) = chosen.or(doubted) else {
        let last = passed.len().saturating_sub(1);
        let unusable = passed.into_iter().enumerate().map(|(n, (backup, why))| {
            // Once is enough.
            let windows = if n == last { restorable(&windows) } else { String::new() };
            let message = format!("backup `{backup}` cannot be used for {target}: {why}{windows}");
            Refusal::nothing("unusable-backup", message)
        });
        return Err(PhysicalRestoreError::Refused(unusable.collect()));
    };
    let mut reach = match log.damage(&reach, base.physical.start).await? {
        Some(damaged) if damaged.at < base.physical.stop => {
            return Err(refused(damaged_backup(&base, damaged, &windows)));
        }
        Some(damaged) => reach.until_damage(damaged),
        None => reach,
    };
    let time = match &request.target {
        // An exclusive target stops at a commit of exactly that time.
        RecoveryTarget::Time(time) if request.exclusive => Some(*time - TimeDelta::microseconds(1)),
        RecoveryTarget::Time(time) => Some(*time),
        _ => None,
    };
    let (found, way) = loop {
        let mut found = match time {
            Some(time) => log.find(&reach, time).await?,
            None => CommitSearch { after: None, moment: log.moment(&reach).await?, unsaid: vec![] },
        };
        if let Some(time) = time.filter(|_| found.after.is_none()) {
            if found.unsaid.len() > MANY {
                run.events.notice(format!(
                    "scanning {} segments for the recovery target, which takes a while: what was kept with them is lost",
                    found.unsaid.len()
                ));
            }
            found.after = wal_scan::commit_after(run, &log, &reach, &found.unsaid, time).await?;
        }
        let (way, after) = replay_effects::look(run, request, &log, &base, &reach, found.after, time).await?;
        found.after = after;
        let minimal = way.minimal.filter(|at| *at < reach.end.lsn);
        let Some((at, segment)) = minimal.and_then(|at| Some((at, reach.segment_holding(at)?))) else {
            break (found, way);
        };
        // It was archived without a note of that.
        reach = reach.until_damage(DamagedWal { segment, at, fault: WalFault::Minimal });
    };
    let mut found = found;
    let is_damaged = matches!(reach.stop, ReplayEnd::Damaged(_));
    let parted = match request.timeline {
        Some(_) => None,
        None => ambiguous_target::two_have_it(run, &log, (&base, &reach), timeline, &request.target).await?,
    };
    let newest = wal_scan::newest_before_leaving(run, &log, &reach).await?;
    found.moment.newest_commit = found.moment.newest_commit.max(newest);
    found.moment.complete = found.moment.complete.max(newest);
    if is_damaged {
        found.moment.complete = found.moment.complete.max(Some(base.manifest.recovery_point));
    }
    let stop_record = match &request.target {
        RecoveryTarget::Lsn(lsn) => replay_effects::record_at(run, &log, &reach, *lsn).await?,
        _ => None,
    };
    let is_met = match &request.target {
        RecoveryTarget::Name(_) => !way.named.is_empty(),
        RecoveryTarget::Transaction(number) if is_damaged => {
            let from = base.physical.start;
            replay_effects::end_of_transaction(run, &log, &reach, from, *number).await?.is_some()
        }
        _ => false,
    };
    let alone = log.holders.iter().filter_map(|(repository, held)| {
        Some((repository.name.clone(), replay_from(&base, timeline, held).ok()?))
    });
    let unproven = unproven.remove(&base.manifest.id);
    let facts = facts(run, &base).await?;
    let combined_by = base.manifest.server.as_ref().map(|server| server.major);
    let combined_by = combined_by.filter(|_| !parents.is_empty());
    let tablespaces = way.all_tablespaces(&base);
    let directories: Vec<PathBuf> =
        tablespace_directories(request, &tablespaces).into_iter().map(|(_, path)| path).collect();
    Ok(PhysicalSurvey {
        holders: log.holders.iter().map(|(repository, _)| repository.name.clone()).collect(),
        alone: alone.collect(),
        facts,
        timeline,
        reach,
        moment: found.moment,
        after: found.after,
        stop_record,
        is_met,
        lost: lost.into_iter().map(|lost| lost.name).collect(),
        windows,
        way,
        tablespaces,
        parted,
        unproven,
        here: HostFacts::look(request, &directories, combined_by).await?,
        parents,
        log: log.together,
        passed,
        base,
    })
}

/// Returns why the WAL is not of the server that a base backup, or one that it builds on, was taken from; or why that is
/// not known of the backup itself.
async fn provenance_of(
    run: &RunContext,
    log: &WalArchives,
    base: &BaseBackup,
    parents: &[BaseBackup],
) -> Result<(Option<String>, Option<UnknownProvenance>), PhysicalRestoreError> {
    let unknown = match provenance(run, log, base).await? {
        Provenance::Same => None,
        Provenance::Other(other) => return Ok((Some(other.to_string()), None)),
        Provenance::Unknown(why) => Some(why),
    };
    // The WAL of what it builds on is not needed, and may be gone.
    for parent in parents {
        if let Provenance::Other(other) = log.provenance(&parent.physical).await? {
            return Ok((Some(format!("of {}, that it builds on, {other}", parent.manifest.id)), None));
        }
    }
    Ok((None, unknown))
}

/// Returns whether the WAL is of the server that a base backup was taken from: by the metadata of a segment, or by
/// reading it.
async fn provenance(
    run: &RunContext,
    log: &WalArchives,
    base: &BaseBackup,
) -> Result<Provenance, PhysicalRestoreError> {
    let judged = log.provenance(&base.physical).await?;
    let Provenance::Unknown(UnknownProvenance::NotListed(segment)) = judged else { return Ok(judged) };
    let Some(scan) = wal_scan::scanned(run, log, segment).await else { return Ok(judged) };
    let listed = scan.checkpoints().map(|listed| (listed, scan.damaged()));
    Ok(Provenance::judge(&base.physical, listed))
}

/// For a name: returns the backups from before its last occurrence first, newest first.
async fn nearest_to_name(
    run: &RunContext,
    request: &PhysicalRestoreRequest,
    mut fitting: Vec<BaseBackup>,
    timeline: Timeline,
    log: &WalArchives,
) -> Result<Vec<BaseBackup>, PhysicalRestoreError> {
    let RecoveryTarget::Name(name) = &request.target else { return Ok(fitting) };
    // From the oldest backup that leads anywhere, over all of the WAL.
    let reach = fitting.iter().find_map(|base| replay_from(base, timeline, &log.together).ok());
    let Some(reach) = reach else { return Ok(fitting) };
    let Some(given) = replay_effects::names_given(run, log, &reach).await? else { return Ok(fitting) };
    let Some((_, last)) = given.iter().rfind(|(other, _)| other == name) else {
        // There may be more after a gap.
        if reach.stop != ReplayEnd::End {
            return Ok(fitting);
        }
        if let Some(refusal) = ambiguous_target::elsewhere(run, log, timeline, name).await? {
            return Err(PhysicalRestoreError::Refused(vec![refusal]));
        }
        let mut known: Vec<String> = given.into_iter().map(|(name, _)| name).collect();
        known.dedup();
        let known = match known.is_empty() {
            true => "; it has none".to_owned(),
            false => format!("; it has {}", quoted_list(&known)),
        };
        let message = format!("there is no restore point `{name}` in the archived WAL{known}");
        return Err(PhysicalRestoreError::Refused(vec![Refusal::nothing("no-restore-point", message)]));
    };
    fitting.sort_by_key(|base| {
        let is_behind = base.physical.stop > *last;
        (is_behind, std::cmp::Reverse(base.physical.stop))
    });
    Ok(fitting)
}

async fn stock(
    run: &RunContext,
    request: &PhysicalRestoreRequest,
) -> Result<BackupInventory, PhysicalRestoreError> {
    let listing = Listing::of_source(&run.repositories, &run.system, &request.source).await;
    let lost: Vec<_> = run.repositories.lost().iter().chain(&listing.unlisted).cloned().collect();
    if listing.repositories.is_empty() {
        return Err(PhysicalRestoreError::NoRepository(lost));
    }
    warn_lost(run, &lost);
    let inventory = Inventory::load(&listing, &run.system, &[BackupKind::Base]).await;
    for RejectedManifest { repository, error, .. } in &inventory.rejected {
        run.events.warning(format!("repository {repository}: {}", error_chain(error)));
    }
    let mut bases = Vec::new();
    for BackupRecord { manifest, mut holders } in inventory.backups {
        let (Some(physical), Some(cluster)) = (manifest.physical.clone(), manifest.cluster()) else {
            run.events.warning(format!(
                "the manifest of {} does not say which cluster it is of, or which WAL it needs",
                manifest.id
            ));
            continue;
        };
        holders.sort_by_key(|name| request.doubtful.contains(&(manifest.id.clone(), name.clone())));
        bases.push(BaseBackup { manifest, physical, cluster, holders });
    }
    let listed = listing.holders().into_keys().rev();
    let dumps = listed.filter(|id| id.kind() == BackupKind::Logical);
    Ok(BackupInventory { bases, dumps: dumps.collect() })
}

fn warn_lost(run: &RunContext, lost: &[Unavailable]) {
    for lost in lost {
        run.events.warning(format!("repository {} cannot be used: {}", lost.name, lost.reason()));
    }
}

/// The WAL that a backup requires to be consistent is damaged; for earlier targets there are other backups.
fn damaged_backup(base: &BaseBackup, damaged: DamagedWal, windows: &[RecoveryWindow]) -> Refusal {
    let message = format!(
        "backup `{}` cannot be used: it is incomplete without its WAL, of which {damaged} in every repository that has it{}",
        base.manifest.id,
        restorable(windows)
    );
    Refusal::nothing("unusable-backup", message)
}

/// `90 s`, `12 minutes`, `5 h 10 min`.
fn minutes(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Returns what can be restored where there is no base backup.
async fn without_bases(
    run: &RunContext,
    request: &PhysicalRestoreRequest,
    stock: &BackupInventory,
) -> Refusal {
    let (source, within) = (&request.source, in_repository(request.from.as_ref()));
    let wanted = match &request.target {
        RecoveryTarget::Time(time) => Some(*time),
        RecoveryTarget::Latest => Some(run.clock.now()),
        _ => None,
    };
    // The id has the time when it was started; the snapshot is taken shortly after.
    let fitting = stock.dumps.iter().find(|id| wanted.is_some_and(|wanted| id.begun() <= wanted));
    let (Some(id), Some(wanted)) = (fitting, wanted) else {
        let message = format!("there is no base backup of `{source}`{within}");
        return Refusal::nothing("no-backup", message);
    };
    let mut recovery_point = id.begun();
    for repository in run.repositories.iter() {
        if let Ok((read, _)) = manifest::read(&*repository.store, &run.system, id).await {
            recovery_point = read.recovery_point;
            break;
        }
    }
    let lost_seconds = (wanted - recovery_point).num_seconds().max(0);
    let message = format!(
        "there is no base backup of `{source}`{within}, only dumps: the last one before {} has the data of {} and would lose what was committed in the {} after it",
        request.target,
        shown(recovery_point),
        minutes(lost_seconds)
    );
    Refusal::nothing("only-dumps", message).with("source", source).with("backup", id)
}

async fn log(
    run: &RunContext,
    reference: &BaseBackup,
    bases: &[BaseBackup],
) -> Result<(WalArchives, Vec<Unavailable>), PhysicalRestoreError> {
    let archive = Archive {
        system: run.system.clone(),
        source: reference.manifest.source.clone(),
        cluster: reference.cluster,
    };
    let oldest = bases.iter().map(|base| {
        let physical = &base.physical;
        Segment::holding(physical.timeline, physical.start, physical.segment_size)
    });
    // All files of a timeline sort after its first, and what came before the oldest is of no use.
    let since = oldest.min();
    let (log, without) = WalArchives::gather(&run.repositories, archive, since, &run.identities).await?;
    warn_lost(run, &without);
    let lost = run.repositories.lost().iter().cloned().chain(without).collect();
    Ok((log, lost))
}

/// Returns what each repository alone can restore.
async fn windows(
    log: &WalArchives,
    bases: &[BaseBackup],
    timeline: Timeline,
) -> Result<Vec<RecoveryWindow>, PhysicalRestoreError> {
    let mut windows: Vec<RecoveryWindow> = Vec::new();
    for (repository, held) in &log.holders {
        let own = WalArchives {
            archive: log.archive.clone(),
            holders: vec![(repository.clone(), held.clone())],
            together: held.clone(),
            asked: Arc::default(),
        };
        let mut last: Option<ReplayRange> = None;
        let there = bases.iter().filter(|base| base.holders.contains(&repository.name));
        for base in there.clone().rev() {
            let reach = parents(base, there.clone()).and_then(|_| replay_from(base, timeline, held));
            let Ok(reach) = reach else { continue };
            if matches!(own.provenance(&base.physical).await?, Provenance::Other(_)) {
                continue;
            }
            let reach = match own.recent_damage(&reach, base.physical.start).await? {
                Some(damaged) if damaged.at < base.physical.stop => continue,
                Some(damaged) => reach.until_damage(damaged),
                None => reach,
            };
            // An older backup leads through this one.
            if last.as_ref().is_some_and(|last| last.end == reach.end) {
                continue;
            }
            let (id, from) = (base.manifest.id.clone(), base.manifest.recovery_point);
            let moment = own.moment(&reach).await?;
            windows.push(RecoveryWindow::new(repository.name.clone(), id, from, &reach, moment));
            last = Some(reach);
        }
    }
    Ok(windows)
}

async fn facts(run: &RunContext, base: &BaseBackup) -> Result<ClusterFacts, PhysicalRestoreError> {
    let Some(details) = base.manifest.artifact_of(DETAILS) else { return Ok(ClusterFacts::default()) };
    let bytes = read_small(run, &base.manifest, details, &base.holders).await?;
    let parsed: Details = serde_json::from_slice(&bytes).map_err(|error| {
        PhysicalRestoreError::NotUnderstood { artifact: details.name.clone(), reason: error.to_string() }
    })?;
    Ok(parsed.cluster.unwrap_or_default())
}
