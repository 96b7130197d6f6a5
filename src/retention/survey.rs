//! Asks the repositories what there is. Reads no backup: names, sizes and times of objects, the manifests that the
//! catalog knows, histories, leases and holds.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::hold_store::{self, Holds};
use super::holding::{
    ActiveRun, HeldBackup, HeldPhysical, HeldWal, RepositoryHoldings, RetentionSurvey, SourceHoldings,
    WalFile,
};
use super::leftover::{Claim, Leftover, leftovers};
use super::refusal::{Refusal, RefusalCode};
use crate::catalog::{BackupEntry, BackupHistory, UnknownRecord};
use crate::model::{
    BackupId, Manifest, RepositoryName, RunId, SourceName, SystemIdentifier, SystemName, Timeline, WalName,
    parent,
};
use crate::recoverability::assess::KnownRepository;
use crate::recoverability::missing_copies::{MissingCopy, missing_copies};
use crate::repository::journal::JournalRecord;
use crate::repository::{Repositories, Repository, layout, lease};
use crate::store::{StoreError, require_admin};
use crate::text::{error_chain, format_duration};
use crate::wal::{Archive, Provenance, checkpoint_segment, cluster, tags};

/// A host whose clock differs by more from a store's does not know what day it is.
const MOST_SKEW: TimeDelta = TimeDelta::minutes(5);
pub use crate::repository::journal::RETENTION as VERB;

/// What the catalog knows, brought up to the repositories.
#[derive(Clone, Copy, Debug)]
pub struct KnownBackups<'c> {
    /// Newest first; also those that no repository has any more.
    pub entries: &'c [BackupEntry],
    pub runs: &'c [JournalRecord],
    /// Manifests that cannot be accepted.
    pub refused: &'c [(RepositoryName, BackupId)],
    /// Records of the journal that nobody can read: there may be a tombstone, or a check that found a copy bad, among them.
    pub unknown_records: &'c [UnknownRecord],
}

/// A survey, and what it takes to carry out a plan that is made of it.
#[derive(Debug, Default)]
pub struct Surveyed {
    pub survey: RetentionSurvey,
    /// Files of WAL whose keys end otherwise than the others.
    pub unencrypted: BTreeSet<(RepositoryName, SourceName, SystemIdentifier, String)>,
    /// Objects of no backup, by repository.
    pub leftovers: Vec<Leftover>,
    /// Holds and releases of every repository that could be read.
    pub holds: Holds,
}

/// Objects by backup: name, size, and when it was written.
type Objects = BTreeMap<BackupId, Vec<(String, u64, DateTime<Utc>)>>;

/// Everything that one listing of a repository shows.
#[derive(Debug, Default)]
struct ListedKeys {
    manifests: BTreeSet<BackupId>,
    /// Objects of backups, beside the manifest.
    objects: Objects,
    wal: BTreeMap<(SourceName, SystemIdentifier), Vec<WalFile>>,
    unencrypted: Vec<(SourceName, SystemIdentifier, WalName)>,
}

/// Surveys every repository of the policy. `own`: the run whose leases are not those of others.
pub async fn survey(
    repositories: &Repositories,
    names: &[RepositoryName],
    system: &SystemName,
    known: KnownBackups<'_>,
    own: &RunId,
    now: DateTime<Utc>,
) -> Surveyed {
    let mut surveyed = Surveyed::default();
    let history = BackupHistory::from_records(known.runs);
    let mut holds = Holds::default();
    let mut orphans = Vec::new();
    for name in names {
        let Some(repository) = repositories.find(name) else {
            let lost = repositories.lost().iter().find(|lost| lost.name == *name);
            let why = lost.map_or_else(|| "it is not in use".to_owned(), |lost| lost.reason());
            surveyed.survey.repositories.push(unlisted(name, &why));
            continue;
        };
        let is_writable = repositories.writable().any(|writable| writable.name == *name);
        match survey_one(repository, system, (known, &history), own, now, &mut surveyed, &mut holds).await {
            Ok((mut holdings, objects)) => {
                orphans.push((name, objects));
                // One that is still empty holds nothing to remove.
                if !is_writable && !holdings.sources.is_empty() {
                    holdings.refusals.push(Refusal::new(
                        RefusalCode::ReadOnly,
                        format!("`{name}` is of a newer version of drctl, or has no marker"),
                        "use that version; `drctl doctor` says what is there",
                    ));
                }
                surveyed.survey.repositories.push(holdings);
            }
            Err(why) => surveyed.survey.repositories.push(unlisted(name, &why)),
        }
    }
    let took = known.entries.iter().map(|entry| entry.manifest.ended - entry.manifest.begun);
    surveyed.survey.longest_backup = took.max().and_then(|took| took.to_std().ok());
    surveyed.survey.holds = holds.in_force().cloned().collect();
    // A hold that is in one repository counts in all.
    let unread: Vec<_> = names.iter().filter(|name| !orphans.iter().any(|(read, _)| read == name)).collect();
    surveyed.survey.refusals.extend(unread.into_iter().map(holds_unknown));
    for (name, objects) in orphans {
        let claim = |id: &BackupId| match () {
            () if holds.in_force().any(|hold| hold.keeps(id)) => Claim::Held,
            () if history.taken.contains(id) || find(known.entries, id).is_some() => Claim::Committed,
            // It may be the one that a record, which nobody can read, says was taken.
            () if !known.unknown_records.is_empty() => Claim::Committed,
            () => Claim::None,
        };
        surveyed.leftovers.extend(leftovers(name, objects, known.runs, claim, now));
    }
    surveyed.holds = holds;
    let mut applied: Vec<_> = known.runs.iter().filter(|run| run.verb == VERB).collect();
    applied.sort_by_key(|run| run.begun);
    surveyed.survey.applied_rules = applied.iter().rev().find_map(|run| run.detail.rules.clone());
    surveyed
}

fn holds_unknown(name: &RepositoryName) -> Refusal {
    Refusal::new(
        RefusalCode::HoldsUnknown,
        format!("the holds in `{name}` are not known, and there may be one that no other repository has"),
        "run it again when the repository can be reached; where there is no such hold, confirm the plan",
    )
}

fn unlisted(name: &RepositoryName, why: &str) -> RepositoryHoldings {
    let message = format!("`{name}` could not be listed: {why}");
    let refusal = Refusal::new(
        RefusalCode::ListingIncomplete,
        message,
        "run it again when the repository can be reached",
    );
    RepositoryHoldings { name: name.clone(), sources: BTreeMap::new(), refusals: vec![refusal] }
}

async fn survey_one(
    repository: &Repository,
    system: &SystemName,
    (known, history): (KnownBackups<'_>, &BackupHistory),
    own: &RunId,
    now: DateTime<Utc>,
    surveyed: &mut Surveyed,
    holds: &mut Holds,
) -> Result<(RepositoryHoldings, Objects), String> {
    let (name, store) = (&repository.name, &*repository.store);
    let in_words = |error: StoreError| error_chain(&error);
    let mut refusals = Vec::new();
    let skew = require_admin(store).map_err(in_words)?.server_time().await.map_err(in_words)? - now;
    if skew.abs() > MOST_SKEW {
        refusals.push(clock_skew(name, skew));
    }
    let unknown = known.unknown_records.iter().filter(|record| record.repository == *name);
    refusals.extend(unknown.map(|record| {
        Refusal::new(
            RefusalCode::ListingIncomplete,
            format!("the record `{}` in `{name}` cannot be read: {}", record.key, record.reason),
            "bring back an older version of it (`drctl copies undelete`), or copy it from a backup of the bucket; where drctl never wrote it, remove it",
        )
    }));
    match require_admin(store).map_err(in_words)?.lifecycle().await {
        Ok(rules) => {
            surveyed.survey.lifecycle.insert(name.clone(), rules);
        }
        Err(error) => surveyed.survey.lifecycle_unknown.push((name.clone(), error_chain(&error))),
    }
    // Leases before backups: what ends meanwhile is listed, and what begins meanwhile builds on what is there.
    for (lease, holder) in lease::held(store, system).await.map_err(in_words)? {
        let source = layout::parse_lease_source(&lease).filter(|_| holder.run != *own);
        let is_known = |run: &ActiveRun| Some(&run.source) == source.as_ref();
        if let Some(source) = source.clone().filter(|_| !surveyed.survey.active.iter().any(is_known)) {
            surveyed.survey.active.push(ActiveRun { source, verb: holder.verb, host: holder.host });
        }
    }
    holds.merge(hold_store::read(store, system).await.map_err(|error| error_chain(&error))?);
    let mut listed = list(repository, system).await.map_err(in_words)?;
    let mut sources: BTreeMap<SourceName, SourceHoldings> = BTreeMap::new();
    for id in &listed.manifests {
        let holdings = sources.entry(id.source().clone()).or_default();
        let entry = find(known.entries, id);
        let copy = entry.and_then(|entry| entry.copy(name)).filter(|copy| copy.is_held());
        match (entry, copy) {
            (Some(entry), Some(copy)) => {
                let lacks = missing_object(&entry.manifest, listed.objects.get(id));
                // An intact backup is never removed for one of damaged data.
                let is_bad = lacks.is_some()
                    || entry.manifest.is_damaged()
                    || is_of_other_history(repository, &entry.manifest).await.map_err(in_words)?
                    || copy.last_check.as_ref().is_some_and(|check| !check.is_good());
                holdings.refusals.extend(lacks.map(|object| incomplete(id, name, object)));
                holdings.backups.push(held_backup(&entry.manifest, copy.state, is_bad));
            }
            _ if known.refused.contains(&(name.clone(), id.clone())) => holdings.refusals.push(Refusal::new(
                RefusalCode::ListingIncomplete,
                format!("the manifest of {id} in `{name}` cannot be accepted: what it needs is not known"),
                "`drctl verify` says why; restore it from another copy, or remove it",
            )),
            _ => holdings.refusals.push(changed(id, name, "came")),
        }
    }
    let held_before = known.entries.iter().filter(|entry| {
        entry.copy(name).is_some_and(|copy| copy.is_held()) && !listed.manifests.contains(entry.id())
    });
    for entry in held_before {
        let holdings = sources.entry(entry.manifest.source.clone()).or_default();
        holdings.refusals.push(changed(entry.id(), name, "went"));
    }
    for missing in gone(known.entries, history, name) {
        // What went while it was listed is refused above.
        if !listed.manifests.contains(&missing.backup) {
            let holdings = sources.entry(missing.backup.source().clone()).or_default();
            holdings.refusals.push(vanished(&missing));
        }
    }
    for ((source, cluster), files) in listed.wal {
        let holdings = sources.entry(source.clone()).or_default();
        match held_wal(repository, system, &source, cluster, files).await {
            Ok(wal) => holdings.wal.push(wal),
            Err(why) => holdings.refusals.push(Refusal::new(
                RefusalCode::ListingIncomplete,
                format!("the WAL of {source} in `{name}` is not known: {why}"),
                "`drctl wal status` and `drctl copies sync` may repair it; a host that may not read histories needs the permissions of `drctl iam show retention`",
            )),
        }
    }
    for (source, cluster, file) in listed.unencrypted {
        surveyed.unencrypted.insert((name.clone(), source, cluster, file.to_string()));
    }
    listed.objects.retain(|id, _| !listed.manifests.contains(id));
    Ok((RepositoryHoldings { name: name.clone(), sources, refusals }, listed.objects))
}

/// Returns whether the WAL of a repository is of another server than the one that a base backup was taken from.
async fn is_of_other_history(repository: &Repository, manifest: &Manifest) -> Result<bool, StoreError> {
    let (Some(archive), Some(physical)) = (Archive::from_manifest(manifest), &manifest.physical) else {
        return Ok(false);
    };
    let Some(segment) = checkpoint_segment(physical) else { return Ok(false) };
    let found = tags(&*repository.store, &archive, WalName::Segment(segment)).await?;
    Ok(matches!(Provenance::of(physical, found.as_ref()), Provenance::Other(_)))
}

fn find<'e>(entries: &'e [BackupEntry], id: &BackupId) -> Option<&'e BackupEntry> {
    // The newest first.
    let at = entries.partition_point(|entry| entry.id() > id);
    entries.get(at).filter(|entry| entry.id() == id)
}

/// Returns an object of the backup that is not listed, or has another size than its manifest records.
fn missing_object<'m>(
    manifest: &'m Manifest,
    listed: Option<&Vec<(String, u64, DateTime<Utc>)>>,
) -> Option<&'m str> {
    let is_there = |name: &str, size: u64| {
        listed.into_iter().flatten().any(|(object, bytes, _)| object == name && *bytes == size)
    };
    let mut objects = manifest.artifacts.iter().flat_map(|artifact| &artifact.objects);
    objects.find(|object| !is_there(&object.name, object.stored.size)).map(|object| object.name.as_str())
}

fn incomplete(id: &BackupId, name: &RepositoryName, object: &str) -> Refusal {
    Refusal::new(
        RefusalCode::ListingIncomplete,
        format!("{id} in `{name}` is incomplete: its object `{object}` is missing or has another size"),
        "`drctl verify` names what is missing, and `drctl copies sync` repairs it from an intact copy",
    )
}

/// Returns the backups that were in the repository and vanished.
fn gone(
    entries: &[BackupEntry],
    history: &BackupHistory,
    name: &RepositoryName,
) -> impl Iterator<Item = MissingCopy> {
    let repository = KnownRepository { name: name.clone(), reached: true };
    missing_copies(entries, history, &[repository]).into_iter().filter(MissingCopy::is_gone)
}

fn vanished(missing: &MissingCopy) -> Refusal {
    let MissingCopy { backup, repository, .. } = missing;
    Refusal::new(
        RefusalCode::ListingIncomplete,
        format!("{backup} in `{repository}`: {missing}"),
        "`drctl copies sync` copies it back from another repository; `drctl copies forget` records that it was removed on purpose",
    )
}

fn clock_skew(name: &RepositoryName, skew: TimeDelta) -> Refusal {
    let apart = format_duration(std::time::Duration::from_secs(skew.num_seconds().unsigned_abs()));
    let message = format!("the clocks of this host and of `{name}` are {apart} apart");
    Refusal::new(RefusalCode::ClockSkew, message, "set the clock of this host (NTP)")
}

fn changed(id: &BackupId, name: &RepositoryName, how: &str) -> Refusal {
    let message = format!("{id} {how} in `{name}` while it was listed");
    Refusal::new(RefusalCode::CatalogChanged, message, "run it again")
}

async fn list(repository: &Repository, system: &SystemName) -> Result<ListedKeys, StoreError> {
    let mut listed = ListedKeys::default();
    let mut after: Option<String> = None;
    loop {
        let page = repository.store.list(&layout::system(system), after.as_deref()).await?;
        for object in page.objects {
            if let Some(key) = layout::parse_wal_key(system, &object.key) {
                if key.suffix == ".zst" {
                    listed.unencrypted.push((key.source.clone(), key.cluster, key.name));
                }
                let file = WalFile { name: key.name, bytes: object.size, modified: object.modified };
                listed.wal.entry((key.source, key.cluster)).or_default().push(file);
            } else if let Some((id, name)) = layout::parse_object(system, &object.key) {
                if name == layout::MANIFEST {
                    listed.manifests.insert(id);
                } else {
                    let object = (name.to_owned(), object.size, object.modified);
                    listed.objects.entry(id).or_default().push(object);
                }
            }
        }
        // `manifest.json` is not the last of a folder: what was listed before has its manifest by now.
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(listed)
}

fn held_backup(manifest: &Manifest, level: crate::model::AssuranceLevel, is_bad: bool) -> HeldBackup {
    HeldBackup {
        id: manifest.id.clone(),
        recovery_point: manifest.recovery_point,
        bytes: manifest.stored_size(),
        level,
        is_bad,
        cluster: manifest.cluster(),
        major: manifest.server.as_ref().map(|server| server.major),
        physical: manifest.physical.as_ref().map(|physical| HeldPhysical {
            timeline: physical.timeline,
            start: physical.start,
            stop: physical.stop,
            segment_size: physical.segment_size,
        }),
        parent: parent(manifest).cloned(),
        locked_until: None,
        cloud: None,
    }
}

/// With where its timelines came from, which has to be known: a base backup may lead over a fork.
async fn held_wal(
    repository: &Repository,
    system: &SystemName,
    source: &SourceName,
    cluster: SystemIdentifier,
    files: Vec<WalFile>,
) -> Result<HeldWal, String> {
    let archive = Archive { system: system.clone(), source: source.clone(), cluster };
    let store = &*repository.store;
    let record = cluster::known(store, &archive).await.map_err(|error| error_chain(&error))?;
    let record = record.ok_or("its `cluster.json` is missing")?;
    let mut timelines: BTreeSet<Timeline> = files.iter().map(|file| file.name.timeline()).collect();
    timelines.remove(&Timeline::FIRST);
    let mut parents = BTreeMap::new();
    for timeline in timelines {
        let tags = tags(store, &archive, WalName::History(timeline)).await;
        let parent = tags.map_err(|error| error_chain(&error))?.and_then(|tags| tags.parent);
        let parent = parent.ok_or_else(|| {
            format!("where timeline {timeline} came from is not kept with {}.history", timeline.in_names())
        })?;
        parents.insert(timeline, parent);
    }
    Ok(HeldWal { cluster, segment_size: record.segment_size, files, parents })
}
