//! Carries out a plan: tombstones first, then what AWS keeps in each region, and then in each repository manifests, the
//! objects they named, and WAL.
//!
//! *Invariants.* Decides nothing: what is not in the plan stays. A backup goes before what it builds on, and WAL after
//! the base backups that need it; where one of them could not be removed, what it needs stays too. A manifest stays while
//! a region has what it describes. Killed between any two steps, it leaves no backup in a repository that is listed and
//! cannot be restored; carried out again, it comes to the same end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::cloud::{CloudRegion, RegionRemoval, remove_from_regions};
use super::hold_store;
use super::holding::{HeldWal, SourceHoldings};
use super::leftover::GRACE;
use super::lock_objects::{ended_hold, extend_locks};
use super::plan::RetentionPlan;
use super::refusal::{Refusal, RefusalCode};
use super::report::{
    ApplyReport, EndedHold, FailedRemoval, LockedBackup, LockedWal, RefusedSource, RemovedBackup, RemovedWal,
    SkippedLocation,
};
use super::source_plan::{Fate, PlannedBackup, SourcePlan};
use super::survey::{Surveyed, VERB};
use super::tombstone;
use super::wal_plan::{WalPlan, WalRule, plan_wal};
use crate::catalog::BackupEntry;
use crate::event::Event;
use crate::model::{BackupId, Location, Manifest, Outcome, RepositoryName, RunId, SourceName};
use crate::repository::journal::{Detail, Removal, Tombstones, WalRemoval};
use crate::repository::{Repository, layout};
use crate::run::RunContext;
use crate::store::{StoreError, StoreErrorKind, StoreProtection, require_admin};
use crate::text::{count, error_chain};
use crate::wal::Archive;

/// Objects that are deleted between two looks at whether to stop.
const AT_ONCE: usize = 1000;

/// What of one source goes from one repository in this run.
struct Removing<'p> {
    plan: &'p SourcePlan,
    repository: &'p Repository,
    holdings: &'p SourceHoldings,
    /// With their manifests; those that build on others first.
    backups: Vec<(&'p PlannedBackup, &'p Manifest)>,
    /// Stay after all: what they need stays too.
    spared: BTreeSet<BackupId>,
    purges: bool,
}

/// What the plan is carried out with, beside the run.
#[derive(Clone, Copy)]
pub struct ApplyParts<'a> {
    pub surveyed: &'a Surveyed,
    /// The manifests that the plan was made of.
    pub entries: &'a [BackupEntry],
    /// The regions of AWS that were surveyed.
    pub regions: &'a [Box<dyn CloudRegion>],
    /// The sources that no other run works on.
    pub leased: &'a BTreeSet<SourceName>,
    /// Someone saw the plan and said that it is meant.
    pub is_confirmed: bool,
}

/// What of a plan may go.
#[derive(Default)]
struct Cleared<'p> {
    repositories: Vec<(&'p SourcePlan, &'p Repository, &'p SourceHoldings)>,
    regions: Vec<RegionRemoval<'p>>,
}

/// Carries out the plan, and records the run.
pub async fn execute(run: &RunContext, plan: &RetentionPlan, parts: ApplyParts<'_>) -> ApplyReport {
    let ApplyParts { surveyed, entries, leased, is_confirmed, .. } = parts;
    run.events.emit(&Event::RunBegan { run: run.id.clone(), verb: VERB });
    let mut report = ApplyReport {
        skipped: skipped(plan),
        left: plan.sources.iter().flat_map(|source| source.left.iter().cloned()).collect(),
        ..ApplyReport::default()
    };
    let manifests: HashMap<&BackupId, &Manifest> =
        entries.iter().map(|entry| (entry.id(), &entry.manifest)).collect();
    let cleared = clear(run, plan, parts, &mut report);
    hold_store::complete(&run.repositories, &run.system, &surveyed.holds).await;
    extend_locks(run, plan, entries, is_confirmed, &mut report).await;
    let mut used = BTreeSet::from([run.id.clone()]);
    let gone = match run.cancel.is_cancelled() {
        true => BTreeSet::new(),
        false => remove_from_regions(run, &cleared.regions, &manifests, &mut used, &mut report).await,
    };
    let in_aws = surveyed.survey.in_regions_beside(&gone);
    let mut all = Vec::new();
    for (source, repository, holdings) in cleared.repositories {
        all.extend(removing(run, (source, repository, holdings), &manifests, &in_aws, &mut report).await);
    }

    if run.cancel.is_cancelled() {
        // What is not removed gets no tombstone.
        all.clear();
    }
    write_tombstones(run, &mut all, &mut used, &mut report).await;
    for one in &mut all {
        if run.cancel.is_cancelled() {
            break;
        }
        remove_backups(run, one, &mut report).await;
        remove_wal(run, one, surveyed, &mut report).await;
    }
    sweep(run, plan, surveyed, leased, is_confirmed, &mut report).await;
    report.ended_holds = ended_holds(&report, surveyed, entries);
    report.interrupted = run.cancel.is_cancelled();
    let is_applied = is_confirmed || surveyed.survey.applied_rules.as_ref() == Some(&plan.rules_digest);
    let detail = Detail {
        backups: report
            .removed
            .iter()
            .map(|removed| removed.backup.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        reasons: report.reasons(),
        rules: is_applied.then(|| plan.rules_digest.clone()),
        ..Detail::default()
    };
    let outcome = match () {
        () if report.interrupted => Outcome::Interrupted,
        () if report.is_complete() => Outcome::Succeeded,
        () if report.removed_anything() => Outcome::Degraded,
        () => Outcome::Failed,
    };
    report.unrecorded = run.conclude(VERB, outcome, detail).await;
    report
}

/// Reports what is refused, and returns the rest.
fn clear<'p>(
    run: &'p RunContext,
    plan: &'p RetentionPlan,
    parts: ApplyParts<'p>,
    report: &mut ApplyReport,
) -> Cleared<'p> {
    let survey = &parts.surveyed.survey;
    let mut cleared = Cleared::default();
    for source in plan.sources.iter().filter(|source| source.removes_anything()) {
        let (location, name) = (source.location.clone(), source.source.clone());
        let mut refusals: Vec<Refusal> = plan.refusals_of(source, parts.is_confirmed).cloned().collect();
        if refusals.is_empty() && !parts.leased.contains(&name) {
            refusals.push(Refusal::new(
                RefusalCode::SourceBusy,
                format!("the lease of {name} could not be taken: another run may be working on it"),
                "run it again later",
            ));
        }
        if !refusals.is_empty() {
            report.refused.push(RefusedSource { location, source: name, refusals });
            continue;
        }
        let found = match &location {
            Location::Repository(repository) => {
                let holdings = survey.repositories.iter().find(|one| one.name == *repository);
                let holdings = holdings.and_then(|one| one.sources.get(&name));
                let repository = run.repositories.writable().find(|one| one.name == *repository);
                let found = repository.zip(holdings);
                cleared
                    .repositories
                    .extend(found.map(|(repository, holdings)| (source, repository, holdings)));
                found.is_some()
            }
            Location::Region(region) => {
                let holdings = survey.regions.iter().find(|one| one.source == name && one.region == *region);
                let access = parts.regions.iter().find(|one| one.source() == &name && one.region() == region);
                let found = holdings.zip(access);
                cleared.regions.extend(found.map(|(holdings, access)| RegionRemoval {
                    plan: source,
                    holdings,
                    access: &**access,
                }));
                found.is_some()
            }
        };
        if !found {
            let reason = match location {
                Location::Repository(_) => "the repository cannot be written to",
                Location::Region(_) => "the region was not surveyed",
            };
            report.failed.push(FailedRemoval {
                location,
                what: format!("backups of {name}"),
                reason: reason.to_owned(),
                is_denied: false,
            });
        }
    }
    cleared
}

/// Returns the repositories and regions that refuse everything and of which nothing is planned: they could not be listed.
fn skipped(plan: &RetentionPlan) -> Vec<SkippedLocation> {
    let is_planned = |name: &RepositoryName| {
        let mut planned = plan.sources.iter().filter_map(|source| source.location.repository());
        planned.any(|repository| repository == name)
    };
    let unknown =
        plan.repositories.iter().filter(|(name, refusals)| !refusals.is_empty() && !is_planned(name));
    let unknown = unknown.map(|(name, refusals)| SkippedLocation {
        location: Location::Repository(name.clone()),
        refusals: refusals.clone(),
    });
    let regions = plan.sources.iter().filter(|source| {
        source.location.is_region() && !source.refusals.is_empty() && !source.removes_anything()
    });
    let regions = regions.map(|source| SkippedLocation {
        location: source.location.clone(),
        refusals: source.refusals.clone(),
    });
    unknown.chain(regions).collect()
}

/// What the store has locked, and what that builds on, is left out. `None`: how the store protects objects is not known,
/// and a deletion might hide what is locked.
///
/// `in_aws`: backups that a region still has, of which the manifest stays.
async fn removing<'p>(
    run: &RunContext,
    (plan, repository, holdings): (&'p SourcePlan, &'p Repository, &'p SourceHoldings),
    manifests: &HashMap<&BackupId, &'p Manifest>,
    in_aws: &BTreeSet<BackupId>,
    report: &mut ApplyReport,
) -> Option<Removing<'p>> {
    let protection = match require_admin(&*repository.store) {
        Ok(admin) => admin.protection().await,
        Err(_) => Ok(StoreProtection::default()),
    };
    let protection = match protection {
        Ok(protection) => protection,
        Err(error) => {
            report.failed.push(FailedRemoval {
                location: Location::Repository(repository.name.clone()),
                what: format!("backups of {}", plan.source),
                reason: format!(
                    "whether the store keeps versions and locks is not known: {}",
                    error_chain(&error)
                ),
                is_denied: false,
            });
            return None;
        }
    };
    let mut removing = Removing {
        plan,
        repository,
        holdings,
        backups: vec![],
        spared: BTreeSet::new(),
        purges: protection.keeps_versions.unwrap_or_default(),
    };
    for backup in plan.removed().filter(|backup| !in_aws.contains(&backup.id)) {
        let Some(manifest) = manifests.get(&backup.id) else { continue };
        removing.backups.push((backup, manifest));
        if protection.locks_objects != Some(true) {
            continue;
        }
        let key = layout::manifest(&run.system, &backup.id);
        let locked = match require_admin(&*repository.store) {
            Ok(admin) => admin.locked_until(&key).await,
            Err(error) => Err(error),
        };
        match locked {
            Ok(Some(until)) if until > run.clock.now() => {
                let until = Some(until).filter(|until| *until != DateTime::<Utc>::MAX_UTC);
                let location = Location::Repository(repository.name.clone());
                removing.spared.insert(backup.id.clone());
                report.locked.push(LockedBackup { location, backup: backup.id.clone(), until });
            }
            // Where it cannot be read, the store refuses what is locked.
            Ok(_) | Err(_) => {}
        }
    }
    // A backup that is not there builds on none, so the newest come first.
    removing.backups.sort_by(|(a, _), (b, _)| (b.recovery_point, &b.id).cmp(&(a.recovery_point, &a.id)));
    removing.spare_parents();
    Some(removing)
}

/// Returns the holds that keep nothing by the rules any more, of what the store still holds.
fn ended_holds(report: &ApplyReport, surveyed: &Surveyed, entries: &[BackupEntry]) -> Vec<EndedHold> {
    let mut ended: Vec<EndedHold> = Vec::new();
    // A lock has an end.
    for locked in report.locked.iter().filter(|locked| locked.until.is_none() && !locked.location.is_region())
    {
        let hold = ended_hold(&surveyed.holds, entries, &locked.backup);
        let one = hold.map(|hold| EndedHold { location: locked.location.clone(), hold: hold.id.clone() });
        ended.extend(one.filter(|one| !ended.contains(one)));
    }
    ended
}

impl Removing<'_> {
    /// Returns what goes of the WAL, without what spared base backups need.
    fn wal_plans(&self) -> Vec<WalPlan> {
        let planned = self.plan.wal.iter().zip(&self.holdings.wal);
        planned.map(|(plan, wal)| plan_wal(wal, self.wal_rule(plan, wal))).collect()
    }

    /// Returns the plan's rule, which keeps also what base backups need that are still there, whatever the plan said.
    fn wal_rule(&self, plan: &WalPlan, wal: &HeldWal) -> WalRule {
        let spared = self.holdings.backups.iter().filter(|held| self.spared.contains(&held.id));
        let of_cluster = spared.filter(|held| held.cluster == Some(wal.cluster));
        let mut rule = plan.rule.clone();
        rule.require(of_cluster.filter_map(|held| held.physical.as_ref()));
        rule
    }

    /// What a spared backup builds on stays too.
    fn spare_parents(&mut self) {
        let parents: HashMap<&BackupId, &BackupId> = self
            .backups
            .iter()
            .filter_map(|(backup, _)| Some((&backup.id, backup.parent.as_ref()?)))
            .collect();
        let mut next: Vec<BackupId> = self.spared.iter().cloned().collect();
        while let Some(child) = next.pop() {
            if let Some(parent) = parents.get(&child).filter(|parent| !self.spared.contains(**parent)) {
                next.push((*parent).clone());
            }
            self.spared.insert(child);
        }
    }

    fn going(&self) -> impl Iterator<Item = &(&PlannedBackup, &Manifest)> {
        self.backups.iter().filter(|(backup, _)| !self.spared.contains(&backup.id))
    }

    fn fail(&self, report: &mut ApplyReport, what: impl Into<String>, error: &StoreError) {
        report.failed.push(FailedRemoval {
            location: Location::Repository(self.repository.name.clone()),
            what: what.into(),
            reason: error_chain(error),
            is_denied: error.kind == StoreErrorKind::Forbidden,
        });
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let store = &*self.repository.store;
        match require_admin(store) {
            Ok(admin) if self.purges => admin.purge(keys).await,
            _ => store.delete(keys).await,
        }
    }
}

/// Writes down what is going to be removed, in every repository. Nothing goes from one that did not take it.
async fn write_tombstones(
    run: &RunContext,
    all: &mut Vec<Removing<'_>>,
    used: &mut BTreeSet<RunId>,
    report: &mut ApplyReport,
) {
    let mut removals = Vec::new();
    let mut wal_removals = Vec::new();
    let records = run.records().await;
    for one in &*all {
        let own = one.going().map(|(backup, manifest)| {
            let objects = manifest.artifacts.iter().flat_map(|artifact| &artifact.objects);
            Removal {
                backup: backup.id.clone(),
                repository: one.repository.name.clone(),
                objects: objects.map(|object| object.name.clone()).collect(),
                reason: match &backup.fate {
                    Fate::Remove(reason) => reason.to_string(),
                    Fate::Keep(_) => String::new(),
                },
            }
        });
        let own: Vec<Removal> = own.collect();
        let mut own_wal = Vec::new();
        for wal in one.wal_plans() {
            own_wal.extend(wal.remove.iter().map(|range| WalRemoval {
                source: one.plan.source.clone(),
                repository: one.repository.name.clone(),
                system_identifier: wal.cluster,
                first: range.first.clone(),
                last: range.last.clone(),
            }));
        }
        // One that could not be carried out is not written down each time; but one that only others took is.
        let names_one = |known: &Tombstones| {
            own.iter().any(|removal| known.has_removal(removal))
                || own_wal.iter().any(|removal| known.has_wal_removal(removal))
        };
        let known = tombstone::written(run, one.repository, &records, names_one).await;
        removals.extend(own.into_iter().filter(|removal| !known.has_removal(removal)));
        wal_removals.extend(own_wal.into_iter().filter(|removal| !known.has_wal_removal(removal)));
    }
    let removals = tombstone::chunks(&removals).map(|removals| Detail { removals, ..Detail::default() });
    let wal_removals =
        tombstone::chunks(&wal_removals).map(|wal_removals| Detail { wal_removals, ..Detail::default() });
    let details: Vec<Detail> = removals.chain(wal_removals).collect();
    for detail in details {
        for lost in tombstone::append(run, detail, used).await {
            let Some(one) = all.iter().find(|one| one.repository.name == lost.name) else { continue };
            report.failed.push(FailedRemoval {
                location: Location::Repository(lost.name.clone()),
                what: format!("backups of {}", one.plan.source),
                reason: format!("its journal took no record of what goes: {}", lost.reason()),
                is_denied: false,
            });
            all.retain(|one| one.repository.name != lost.name);
        }
    }
}

/// Manifests first: what has none is no backup. Those that build on others go before them.
async fn remove_backups(run: &RunContext, one: &mut Removing<'_>, report: &mut ApplyReport) {
    let mut left: Vec<(BackupId, Option<BackupId>)> =
        one.going().map(|(backup, _)| (backup.id.clone(), backup.parent.clone())).collect();
    let mut gone: BTreeSet<BackupId> = BTreeSet::new();
    while !left.is_empty() && !run.cancel.is_cancelled() {
        let parents: BTreeSet<&BackupId> = left.iter().filter_map(|(_, parent)| parent.as_ref()).collect();
        let wave: Vec<BackupId> =
            left.iter().map(|(id, _)| id).filter(|id| !parents.contains(id)).take(AT_ONCE).cloned().collect();
        if wave.is_empty() {
            break;
        }
        let keys: Vec<String> = wave.iter().map(|id| layout::manifest(&run.system, id)).collect();
        for (id, outcome) in wave.iter().zip(one.delete(&keys).await) {
            match outcome {
                Ok(()) => {
                    gone.insert(id.clone());
                }
                Err(error) => {
                    spare(run, one, id, &error, report).await;
                }
            }
        }
        one.spare_parents();
        left.retain(|(id, _)| !gone.contains(id) && !one.spared.contains(id));
    }
    // Interrupted: what is still listed stays, with what it needs.
    one.spared.extend(left.into_iter().map(|(id, _)| id));
    let mut keys = Vec::new();
    for (backup, manifest) in one.backups.iter().filter(|(backup, _)| gone.contains(&backup.id)) {
        report.removed.push(RemovedBackup {
            location: Location::Repository(one.repository.name.clone()),
            backup: backup.id.clone(),
            bytes: backup.bytes,
        });
        let objects = manifest.artifacts.iter().flat_map(|artifact| &artifact.objects);
        keys.extend(
            objects.map(|object| (&backup.id, layout::object(&run.system, &backup.id, &object.name))),
        );
    }
    let mut failed: BTreeMap<&BackupId, StoreError> = BTreeMap::new();
    for some in keys.chunks(AT_ONCE) {
        if run.cancel.is_cancelled() {
            return;
        }
        let names: Vec<String> = some.iter().map(|(_, key)| key.clone()).collect();
        for ((id, _), outcome) in some.iter().zip(one.delete(&names).await) {
            if let Err(error) = outcome {
                failed.entry(id).or_insert(error);
            }
        }
    }
    for (id, error) in failed {
        one.fail(report, format!("objects of {id}, which is not listed any more"), &error);
    }
}

/// It could not be removed, and stays as it is.
async fn spare(
    run: &RunContext,
    one: &mut Removing<'_>,
    id: &BackupId,
    error: &StoreError,
    report: &mut ApplyReport,
) {
    one.spared.insert(id.clone());
    let locked = match error.kind {
        StoreErrorKind::Forbidden => {
            locked_until(one.repository, &layout::manifest(&run.system, id), run.clock.now()).await
        }
        _ => None,
    };
    match locked {
        Some(until) => report.locked.push(LockedBackup {
            location: Location::Repository(one.repository.name.clone()),
            backup: id.clone(),
            until: Some(until).filter(|until| *until != DateTime::<Utc>::MAX_UTC),
        }),
        None => one.fail(report, id.to_string(), error),
    }
}

/// Returns until when the store keeps an object, if it is locked now.
async fn locked_until(repository: &Repository, key: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let admin = require_admin(&*repository.store).ok()?;
    admin.locked_until(key).await.ok().flatten().filter(|until| *until > now)
}

/// What base backups need that are still there, whatever the plan said, stays.
async fn remove_wal(run: &RunContext, one: &Removing<'_>, surveyed: &Surveyed, report: &mut ApplyReport) {
    for (plan, wal) in one.plan.wal.iter().zip(&one.holdings.wal) {
        let rule = one.wal_rule(plan, wal);
        let archive =
            Archive { system: run.system.clone(), source: one.plan.source.clone(), cluster: wal.cluster };
        let is_unencrypted = |name: String| {
            let key = (one.repository.name.clone(), one.plan.source.clone(), wal.cluster, name);
            surveyed.unencrypted.contains(&key)
        };
        let mut going: Vec<_> = wal.files.iter().filter(|file| !rule.keeps(file)).collect();
        // The oldest first: what is left when it is interrupted has no gap.
        going.sort_by_key(|file| (file.name.timeline(), file.name.to_string()));
        let mut removed = RemovedWal {
            location: Location::Repository(one.repository.name.clone()),
            source: one.plan.source.clone(),
            files: 0,
            bytes: 0,
        };
        let mut failed: Vec<(String, StoreError)> = Vec::new();
        for some in going.chunks(AT_ONCE) {
            if run.cancel.is_cancelled() {
                break;
            }
            let key = |file: &&super::holding::WalFile| {
                let suffix = if is_unencrypted(file.name.to_string()) { ".zst" } else { ".zst.age" };
                archive.key(file.name, suffix)
            };
            let keys: Vec<String> = some.iter().map(key).collect();
            for ((file, key), outcome) in some.iter().zip(&keys).zip(one.delete(&keys).await) {
                match outcome {
                    Ok(()) => {
                        removed.files += 1;
                        removed.bytes += file.bytes;
                    }
                    Err(error) => failed.push((key.clone(), error)),
                }
            }
        }
        if removed.files > 0 {
            report.wal.push(removed);
        }
        // They are locked from their upload on, so the oldest says it of all.
        let locked = match failed.iter().find(|(_, error)| error.kind == StoreErrorKind::Forbidden) {
            Some((key, _)) => locked_until(one.repository, key, run.clock.now()).await,
            None => None,
        };
        if let Some(until) = locked {
            let all = failed.len();
            failed.retain(|(_, error)| error.kind != StoreErrorKind::Forbidden);
            report.locked_wal.push(LockedWal {
                location: Location::Repository(one.repository.name.clone()),
                source: one.plan.source.clone(),
                files: (all - failed.len()) as u64,
                until: Some(until).filter(|until| *until != DateTime::<Utc>::MAX_UTC),
            });
        }
        if let Some((_, error)) = failed.first() {
            let what = format!("{} of {}", count(failed.len() as u64, "WAL file"), one.plan.source);
            one.fail(report, what, error);
        }
    }
}

/// Removes objects of no backup that are due, and aborts uploads that never ended.
async fn sweep(
    run: &RunContext,
    plan: &RetentionPlan,
    surveyed: &Surveyed,
    leased: &BTreeSet<SourceName>,
    is_confirmed: bool,
    report: &mut ApplyReport,
) {
    let is_blocked = |name: &RepositoryName| {
        let of_repository = plan.repositories.iter().filter(|(known, _)| known == name);
        let all = plan.refusals.iter().chain(of_repository.flat_map(|(_, refusals)| refusals));
        all.into_iter().any(|refusal| !(is_confirmed && refusal.code.can_be_confirmed()))
    };
    for repository in run.repositories.writable().filter(|repository| !is_blocked(&repository.name)) {
        let is_refused = |source: &SourceName| {
            let mut own =
                plan.sources.iter().filter(|own| own.location.repository() == Some(&repository.name));
            own.any(|own| own.source == *source && !own.refusals.is_empty())
        };
        let due = surveyed.leftovers.iter().filter(|left| {
            let source = left.backup.source();
            left.repository == repository.name
                && left.is_due
                && leased.contains(source)
                && (left.has_tombstone || !is_refused(source))
        });
        for left in due {
            if run.cancel.is_cancelled() {
                return;
            }
            let keys: Vec<String> =
                left.objects.iter().map(|name| layout::object(&run.system, &left.backup, name)).collect();
            let error = delete_leftover(repository, &keys).await.err();
            let locked = match (&error, keys.first()) {
                (Some(error), Some(key)) if error.kind == StoreErrorKind::Forbidden => {
                    locked_until(repository, key, run.clock.now()).await
                }
                _ => None,
            };
            match error {
                _ if locked.is_some() => report.locked.push(LockedBackup {
                    location: Location::Repository(repository.name.clone()),
                    backup: left.backup.clone(),
                    until: locked.filter(|until| *until != DateTime::<Utc>::MAX_UTC),
                }),
                None => {
                    report.leftover_objects += keys.len() as u64;
                    report.leftover_bytes += left.bytes;
                }
                Some(error) => report.failed.push(FailedRemoval {
                    location: Location::Repository(repository.name.clone()),
                    what: format!("objects of {}, which has no manifest", left.backup),
                    reason: error_chain(&error),
                    is_denied: error.kind == StoreErrorKind::Forbidden,
                }),
            }
        }
        for source in leased {
            match abort_uploads(run, repository, source).await {
                Ok(aborted) => report.aborted_uploads += aborted,
                // Where it may not list them, they are the store's to end.
                Err(error) => tracing::info!("{error}"),
            }
        }
    }
}

async fn delete_leftover(repository: &Repository, keys: &[String]) -> Result<(), StoreError> {
    let keeps_versions = match require_admin(&*repository.store) {
        Ok(admin) => admin.protection().await?.keeps_versions == Some(true),
        Err(_) => false,
    };
    let outcomes = match require_admin(&*repository.store) {
        Ok(admin) if keeps_versions => admin.purge(keys).await,
        _ => repository.store.delete(keys).await,
    };
    outcomes.into_iter().collect()
}

async fn abort_uploads(
    run: &RunContext,
    repository: &Repository,
    source: &SourceName,
) -> Result<u64, StoreError> {
    let admin = require_admin(&*repository.store)?;
    let since = run.clock.now() - GRACE;
    let mut aborted = 0;
    for prefix in [layout::backups(&run.system, source), layout::wal(&run.system, source)] {
        for upload in admin.pending_uploads(&prefix).await? {
            if upload.begun < since {
                admin.abort_upload(&upload).await?;
                aborted += 1;
            }
        }
    }
    Ok(aborted)
}
