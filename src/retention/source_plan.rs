//! Decides what of one source stays in one repository or region, and why. Pure: `now` is an argument, and the order of what is
//! given does not matter.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::holding::{
    HeldBackup, HeldScope, HeldWal, Hold, LeftAlone, SnapshotQuota, SourceHoldings, WalFile,
};
use super::proof::{Proof, assess, good_backups, lost_time, reached};
use super::reason::{KeepReason, ManifestFate, RemoveReason};
use super::refusal::{Refusal, RefusalCode};
use super::rule::period_rules;
use super::wal_plan::{WalPlan, WalRule, plan_wal, window_bases};
use super::wal_runs::WalRuns;
use crate::model::{
    AssuranceLevel, BackupId, BackupKind, Bucket, Location, Period, SourceName, SystemIdentifier,
};
use crate::policy::Rules;
use crate::text::{count, format_duration, format_time};

/// Removing so few needs no confirmation, whatever their share.
const FEW: usize = 5;
/// What is younger than so many days is thinned out in the normal course of things, and no share of it is large.
const SETTLED_DAYS: i64 = 14;

/// What is decided by, beside what there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceContext<'a> {
    pub now: DateTime<Utc>,
    /// `None`: the source is not in the policy, which says nothing about it.
    pub rules: Option<&'a Rules>,
    pub holds: &'a [Hold],
    /// How old the newest good backup of each kind that the policy takes may be.
    pub newest_within: &'a [(BackupKind, Duration)],
    /// In a repository: what becomes of the manifests of what AWS keeps. What is not in it stays.
    pub fates: Option<&'a BTreeMap<BackupId, ManifestFate>>,
}

/// What becomes of one source in one repository or region.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourcePlan {
    pub source: SourceName,
    #[serde(flatten)]
    pub location: Location,
    /// In words; absent where the source is not in the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The newest first.
    pub backups: Vec<PlannedBackup>,
    pub wal: Vec<WalPlan>,
    pub before: Proof,
    pub after: Proof,
    /// Why nothing of it is removed.
    pub refusals: Vec<Refusal>,
    /// Parts of a region that cannot be queried: what they have stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftAlone>,
    /// Of a region, where it has snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<SnapshotQuota>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedBackup {
    pub id: BackupId,
    pub recovery_point: DateTime<Utc>,
    pub bytes: u64,
    #[serde(flatten)]
    pub fate: Fate,
    /// What it builds on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<BackupId>,
    /// Whether it can be restored from there.
    pub is_good: bool,
    /// The store refuses to delete it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// All its reasons, never none.
    Keep(Vec<KeepReason>),
    Remove(RemoveReason),
}

impl PlannedBackup {
    pub fn is_removed(&self) -> bool {
        matches!(self.fate, Fate::Remove(_))
    }

    pub fn reasons(&self) -> &[KeepReason] {
        match &self.fate {
            Fate::Keep(reasons) => reasons,
            Fate::Remove(_) => &[],
        }
    }
}

impl SourcePlan {
    pub fn removed(&self) -> impl Iterator<Item = &PlannedBackup> {
        self.backups.iter().filter(|backup| backup.is_removed())
    }

    /// Returns those that this location can bring back: a manifest alone brings back nothing of what AWS keeps.
    pub fn restorable_here(&self) -> impl Iterator<Item = &PlannedBackup> {
        let is_region = self.location.is_region();
        self.backups.iter().filter(move |backup| is_region || !backup.id.kind().is_managed())
    }

    /// Returns the backups that AWS keeps, of which a repository has the manifests.
    pub fn manifests(&self) -> impl Iterator<Item = &PlannedBackup> {
        let is_region = self.location.is_region();
        self.backups.iter().filter(move |backup| !is_region && backup.id.kind().is_managed())
    }

    pub fn removes_anything(&self) -> bool {
        self.removed().next().is_some() || self.wal.iter().any(removes_wal)
    }

    /// Returns the lines that tell this plan's removals from others.
    pub(super) fn digest_lines(&self) -> Vec<String> {
        let place = format!("{}/{}", self.location, self.source);
        let backups = self.removed().map(|backup| backup.id.to_string());
        let wal = self.wal.iter().flat_map(|wal| {
            wal.remove.iter().map(move |range| format!("{} {}-{}", wal.cluster, range.first, range.last))
        });
        backups.chain(wal).map(|line| format!("{place} {line}")).collect()
    }
}

/// One backup while it is decided.
struct Candidate<'h> {
    held: &'h HeldBackup,
    is_good: bool,
    is_future: bool,
    /// Which one stands for its period, where a rule still reaches that far back.
    keeper: Option<(Bucket, BackupId)>,
    reasons: Vec<KeepReason>,
    /// Of a manifest: why it goes, where nothing keeps it.
    goes: Option<RemoveReason>,
}

impl Candidate<'_> {
    fn keep(&mut self, reason: KeepReason) {
        self.reasons.push(reason);
    }

    fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }

    fn counts(&self) -> bool {
        self.is_good && !self.is_future
    }
}

/// Plans one source in one repository or region.
pub(super) fn plan_source(
    source: &SourceName,
    location: &Location,
    holdings: &SourceHoldings,
    context: SourceContext<'_>,
) -> SourcePlan {
    let mut held: Vec<&HeldBackup> = holdings.backups.iter().collect();
    held.sort_by_key(|held| Reverse((held.recovery_point, &held.id)));
    held.dedup_by_key(|held| &held.id);
    let runs: BTreeMap<SystemIdentifier, WalRuns> =
        holdings.wal.iter().map(|wal| (wal.cluster, WalRuns::new(wal, |_| true))).collect();
    let good = good_backups(&held, &runs);
    let candidate = |held| candidate(held, &good, context.now);
    let mut all: Vec<Candidate<'_>> = held.iter().copied().map(candidate).collect();
    keep_whatever_the_rules(&mut all, context);
    let is_planned = |kind: &BackupKind| location.is_region() || !kind.is_managed();
    if !location.is_region() {
        decide_manifests(&mut all, context);
    }
    if let Some(rules) = context.rules {
        let kinds: BTreeSet<BackupKind> = all.iter().map(|one| one.held.id.kind()).collect();
        for kind in kinds.into_iter().filter(is_planned) {
            let mut of_kind: Vec<_> = all.iter_mut().filter(|one| one.held.id.kind() == kind).collect();
            keep_floor(&mut of_kind, rules);
            keep_by_age(&mut of_kind, rules, context.now);
        }
        keep_window(&mut all, &holdings.wal, &runs, rules, context.now);
    }
    let current = current_cluster(holdings, context.now);
    let of_current = all.iter_mut().find(|one| {
        one.counts() && one.held.physical.is_some() && current.is_some() && one.held.cluster == current
    });
    of_current
        .into_iter()
        .filter(|one| !one.reasons.contains(&KeepReason::Newest))
        .for_each(|one| one.keep(KeepReason::Newest));
    keep_parents(&mut all);
    // What is dated in the future may have been written last.
    let may_be_current = |wal: &HeldWal| {
        current == Some(wal.cluster) || wal.files.iter().any(|file| file.modified > context.now)
    };
    let wal: Vec<WalPlan> = holdings
        .wal
        .iter()
        .map(|wal| plan_wal(wal, wal_rule(wal, &all, may_be_current(wal), source, context)))
        .collect();
    let proven = || all.iter().filter(|one| is_planned(&one.held.id.kind()));
    let held: Vec<&HeldBackup> = proven().map(|one| one.held).collect();
    let kept: Vec<&HeldBackup> = proven().filter(|one| one.is_kept()).map(|one| one.held).collect();
    let rules: BTreeMap<SystemIdentifier, &WalRule> =
        wal.iter().map(|wal| (wal.cluster, &wal.rule)).collect();
    let stays = |cluster, file: &WalFile| rules.get(&cluster).is_none_or(|rule: &&WalRule| rule.keeps(file));
    let before = assess(&held, &holdings.wal, &|_, _| true, context.now);
    let after = assess(&kept, &holdings.wal, &stays, context.now);
    let mut plan = SourcePlan {
        source: source.clone(),
        location: location.clone(),
        rules: context.rules.map(super::rule::in_words),
        backups: all.iter().map(planned).collect(),
        wal,
        before,
        after,
        refusals: holdings.refusals.clone(),
        left: holdings.left.clone(),
        quota: None,
    };
    if plan.removed().any(|backup| is_planned(&backup.id.kind())) || plan.wal.iter().any(removes_wal) {
        plan.refusals.extend(refusals(&plan, context));
    }
    plan
}

fn removes_wal(wal: &WalPlan) -> bool {
    wal.removed_files > 0
}

fn candidate<'h>(held: &'h HeldBackup, good: &BTreeSet<&BackupId>, now: DateTime<Utc>) -> Candidate<'h> {
    Candidate {
        held,
        is_good: good.contains(&held.id),
        is_future: held.recovery_point > now,
        keeper: None,
        reasons: vec![],
        goes: None,
    }
}

fn planned(one: &Candidate<'_>) -> PlannedBackup {
    let fate = match (&one.reasons[..], &one.goes, &one.keeper) {
        ([], Some(why), _) => Fate::Remove(why.clone()),
        ([], None, Some((bucket, by))) => {
            Fate::Remove(RemoveReason::Superseded { bucket: *bucket, by: by.clone() })
        }
        ([], None, None) => Fate::Remove(RemoveReason::Expired),
        (reasons, _, _) => Fate::Keep(reasons.to_vec()),
    };
    PlannedBackup {
        id: one.held.id.clone(),
        recovery_point: one.held.recovery_point,
        bytes: one.held.bytes,
        fate,
        parent: one.held.parent.clone(),
        is_good: one.is_good,
        locked_until: one.held.locked_until,
    }
}

/// Holds, what the policy says nothing about, and what no clock explains.
fn keep_whatever_the_rules(all: &mut [Candidate<'_>], context: SourceContext<'_>) {
    let holds: Vec<&Hold> = context.holds.iter().filter(|hold| !hold.is_over(context.now)).collect();
    for one in all {
        for hold in holds.iter().filter(|hold| hold.keeps(&one.held.id)) {
            one.keep(KeepReason::Hold { id: hold.id.clone(), reason: hold.reason.clone() });
        }
        if context.rules.is_none() {
            one.keep(KeepReason::UnknownSource);
        }
        if let Some(stays) = one.held.cloud.as_ref().and_then(|cloud| cloud.stays.clone()) {
            one.keep(stays);
        }
        if one.is_future {
            one.keep(KeepReason::Future);
        }
    }
}

/// A manifest stays as long as any region has what it describes: it is all that finds that again.
fn decide_manifests(all: &mut [Candidate<'_>], context: SourceContext<'_>) {
    for one in all.iter_mut().filter(|one| one.held.id.kind().is_managed()) {
        match context.fates.and_then(|fates| fates.get(&one.held.id)) {
            Some(ManifestFate::Goes(why)) => one.goes = Some(why.clone()),
            Some(ManifestFate::Stays(regions)) => one.keep(KeepReason::Managed(regions.clone())),
            None => one.keep(KeepReason::Managed(vec![])),
        }
    }
}

/// What stays however old it is. `of_kind`: the newest first.
fn keep_floor(of_kind: &mut [&mut Candidate<'_>], rules: &Rules) {
    let mut good = 0;
    let mut independent = 0;
    for one in of_kind.iter_mut().filter(|one| !one.is_future) {
        if !one.is_good {
            if good == 0 {
                one.keep(KeepReason::Unproven);
            }
            continue;
        }
        if good == 0 {
            one.keep(KeepReason::Newest);
        }
        if good < rules.keep_last {
            one.keep(KeepReason::KeepLast(rules.keep_last));
        }
        good += 1;
        let is_independent = one.held.parent.is_none();
        if is_independent && independent < rules.minimum_redundancy {
            one.keep(KeepReason::Redundancy(rules.minimum_redundancy));
        }
        independent += u32::from(is_independent);
    }
    keep_earlier_cluster(of_kind, rules);
}

/// After an upgrade, or a cluster in the place of another, what there is of the new one is no redundancy yet.
fn keep_earlier_cluster(of_kind: &mut [&mut Candidate<'_>], rules: &Rules) {
    let newest = of_kind.iter().find(|one| !one.is_future).and_then(|one| one.held.cluster);
    let Some(newest) = newest else { return };
    let of_newest = of_kind.iter().filter(|one| one.counts() && one.held.cluster == Some(newest)).count();
    if of_newest >= rules.keep_last as usize {
        return;
    }
    let is_earlier = |one: &Candidate<'_>| one.held.cluster.is_some_and(|cluster| cluster != newest);
    let before = of_kind.iter().find(|one| one.counts() && is_earlier(one)).and_then(|one| one.held.cluster);
    let of_before = of_kind.iter_mut().filter(|one| one.counts() && one.held.cluster == before);
    let before_is_known = before.is_some();
    of_before
        .take(rules.keep_last as usize)
        .filter(|_| before_is_known)
        .for_each(|one| one.keep(KeepReason::EarlierCluster));
}

/// What is young enough, and what stands for a period. `of_kind`: the newest first.
fn keep_by_age(of_kind: &mut [&mut Candidate<'_>], rules: &Rules, now: DateTime<Utc>) {
    if let Some(span) = rules.keep_within {
        let young = of_kind.iter_mut().filter(|one| span.reaches(one.held.recovery_point, now));
        young.for_each(|one| one.keep(KeepReason::KeepWithin(span)));
    }
    let table = period_rules(rules);
    if let Some(finest) = table.first() {
        let current = finest.period.bucket(now);
        let of_it = |one: &Candidate<'_>| finest.period.bucket(one.held.recovery_point) == current;
        let running = of_kind.iter_mut().filter(|one| of_it(one));
        running.for_each(|one| one.keep(KeepReason::CurrentPeriod(current)));
    }
    for rule in table {
        let mut keepers: HashMap<Bucket, usize> = HashMap::new();
        for (n, one) in of_kind.iter().enumerate().filter(|(_, one)| !one.is_future) {
            let best = keepers.entry(rule.period.bucket(one.held.recovery_point)).or_insert(n);
            if rank(one, rule.period) > rank(of_kind[*best], rule.period) {
                *best = n;
            }
        }
        let ids: HashMap<Bucket, BackupId> =
            keepers.iter().map(|(bucket, n)| (*bucket, of_kind[*n].held.id.clone())).collect();
        for (n, one) in of_kind.iter_mut().enumerate() {
            if one.is_future || !rule.span.reaches(one.held.recovery_point, now) {
                continue;
            }
            let bucket = rule.period.bucket(one.held.recovery_point);
            if keepers.get(&bucket) == Some(&n) {
                one.keep(KeepReason::Keeper { period: rule.period, bucket });
            } else if one.keeper.is_none() {
                one.keeper = ids.get(&bucket).map(|id| (bucket, id.clone()));
            }
        }
    }
}

/// The greatest of a period stands for it.
type Rank<'c> = (bool, AssuranceLevel, bool, Reverse<(DateTime<Utc>, &'c BackupId)>);

/// What of a period stands for it: good before bad, verified before unverified, and then the first, so that it stays
/// the same while the period goes on. Over a week and more one that needs no other costs less.
fn rank<'c>(one: &'c Candidate<'_>, period: Period) -> Rank<'c> {
    let is_whole = one.held.parent.is_none();
    let counts_as_whole = period == Period::Day || is_whole;
    (one.is_good, one.held.level, counts_as_whole, Reverse((one.held.recovery_point, &one.held.id)))
}

/// Base backups that times in the window of point-in-time recovery are recovered from; without a window, what leads to
/// the newest of them.
fn keep_window(
    all: &mut [Candidate<'_>],
    wal: &[HeldWal],
    runs: &BTreeMap<SystemIdentifier, WalRuns>,
    rules: &Rules,
    now: DateTime<Utc>,
) {
    let lines: Vec<_> = wal
        .iter()
        .filter_map(|wal| {
            let of_it = all.iter().filter(|one| one.counts() && one.held.cluster == Some(wal.cluster));
            let bases: Vec<&HeldBackup> = of_it.map(|one| one.held).collect();
            Some(reached(&bases, wal, runs.get(&wal.cluster)?))
        })
        .collect();
    let Some(newest) = lines.iter().flatten().map(|reached| reached.until).max() else { return };
    let from = window_begin(rules, now).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let chosen: BTreeSet<&BackupId> =
        lines.iter().flat_map(|bases| window_bases(bases, from, newest)).collect();
    let chosen = all.iter_mut().filter(|one| chosen.contains(&one.held.id));
    chosen.for_each(|one| one.keep(KeepReason::PointInTime));
}

/// Returns from when on any time is to be recoverable; `None`: the policy asks for no window.
fn window_begin(rules: &Rules, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let window = TimeDelta::from_std(rules.pitr?).unwrap_or(TimeDelta::MAX);
    Some(now.checked_sub_signed(window).unwrap_or(DateTime::<Utc>::MIN_UTC))
}

fn keep_parents(all: &mut [Candidate<'_>]) {
    let by_id: HashMap<BackupId, usize> =
        all.iter().enumerate().map(|(n, one)| (one.held.id.clone(), n)).collect();
    let mut next: Vec<usize> = (0..all.len()).filter(|n| all[*n].is_kept()).collect();
    while let Some(child) = next.pop() {
        let Some(at) = all[child].held.parent.as_ref().and_then(|id| by_id.get(id)).copied() else {
            continue;
        };
        let reason = KeepReason::ParentOf(all[child].held.id.clone());
        if !all[at].is_kept() {
            next.push(at);
        }
        all[at].keep(reason);
    }
}

/// The cluster that wrote last. Files that are dated in the future say nothing of the others of their cluster.
fn current_cluster(holdings: &SourceHoldings, now: DateTime<Utc>) -> Option<SystemIdentifier> {
    let bases = holdings.backups.iter().filter_map(|backup| Some((backup.recovery_point, backup.cluster?)));
    let wal = holdings.wal.iter().filter_map(|wal| {
        let written = wal.files.iter().map(|file| file.modified).filter(|at| *at <= now).max()?;
        Some((written, wal.cluster))
    });
    bases.chain(wal).filter(|(at, _)| *at <= now).max().map(|(_, cluster)| cluster)
}

fn wal_rule(
    wal: &HeldWal,
    all: &[Candidate<'_>],
    is_current: bool,
    source: &SourceName,
    context: SourceContext<'_>,
) -> WalRule {
    let size = wal.segment_size;
    let Some(rules) = context.rules else {
        return WalRule::everything(size, "everything: its source is not in the policy");
    };
    let is_held = |hold: &Hold| hold.on == HeldScope::Source(source.clone()) && !hold.is_over(context.now);
    if context.holds.iter().any(is_held) {
        return WalRule::everything(size, "everything: its source is on hold");
    }
    let of_it = || all.iter().filter(|one| one.held.cluster == Some(wal.cluster) && one.is_kept());
    if is_current && !of_it().any(|one| one.is_good) {
        return WalRule::everything(size, "everything: no good base backup begins before it");
    }
    let physical = |one: &'_ Candidate<'_>| one.held.physical.clone();
    let kept: Vec<_> = of_it().filter_map(physical).collect();
    let from = window_begin(rules, context.now);
    let begins = |one: &&Candidate<'_>| from.is_none() || one.reasons.contains(&KeepReason::PointInTime);
    let continuous: Vec<_> = of_it().filter(begins).filter_map(physical).collect();
    WalRule::new(size, kept.iter(), continuous.iter(), from)
}

fn refusals(plan: &SourcePlan, context: SourceContext<'_>) -> Vec<Refusal> {
    let mut found = Vec::new();
    found.extend(newest_too_old(plan, context));
    found.extend(large_share(plan, context));
    found.extend(contradicted(plan, context).map(|message| {
        Refusal::new(
            RefusalCode::ProofFailed,
            message,
            "this is a defect of drctl: please report it, with `drctl retention plan --output json`",
        )
    }));
    found
}

fn newest_too_old(plan: &SourcePlan, context: SourceContext<'_>) -> Option<Refusal> {
    let (source, location) = (&plan.source, &plan.location);
    let hint = "take a backup (`drctl backup`), or find out why none arrives (`drctl status`)";
    let Some(newest) = plan.before.newest() else {
        let message = format!("no backup of {source} in `{location}` can be restored");
        return Some(Refusal::new(RefusalCode::NoGoodBackup, message, hint));
    };
    let too_old = |what: &str, newest: DateTime<Utc>, limit: Duration| {
        let limit = TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
        let message = format!(
            "the newest good {what} of {source} in `{location}` is of {}, more than {} ago",
            format_time(newest),
            format_duration(limit.to_std().unwrap_or_default()),
        );
        (context.now - newest > limit).then(|| Refusal::new(RefusalCode::NewestTooOld, message, hint))
    };
    let longest = context.newest_within.iter().map(|(_, limit)| *limit).max()?;
    let of_kinds = context.newest_within.iter().find_map(|(kind, limit)| {
        let good = plan.restorable_here().filter(|backup| backup.id.kind() == *kind && backup.is_good);
        let newest = good.map(|backup| backup.recovery_point).filter(|at| *at <= context.now).max()?;
        too_old(&format!("{kind} backup"), newest, *limit)
    });
    too_old("backup", newest, longest).or(of_kinds)
}

/// Of what is old enough to have been thinned out long ago.
fn large_share(plan: &SourcePlan, context: SourceContext<'_>) -> Option<Refusal> {
    let settled = context.now - TimeDelta::days(SETTLED_DAYS);
    let old = || plan.restorable_here().filter(|backup| backup.recovery_point < settled);
    let (all, going) = (old().count(), old().filter(|backup| backup.is_removed()).count());
    (going > FEW && going * 2 > all).then(|| {
        let message = format!(
            "{going} of the {} of {} in `{}` that are older than {SETTLED_DAYS} days would go",
            count(all as u64, "backup"),
            plan.source,
            plan.location
        );
        Refusal::new(RefusalCode::LargeShare, message, "look at the plan; where it is meant, confirm it")
    })
}

/// Why the plan would break what it promises: it never does, and nothing is removed on a promise alone.
fn contradicted(plan: &SourcePlan, context: SourceContext<'_>) -> Option<String> {
    let rules = context.rules?;
    let kept: BTreeSet<&BackupId> =
        plan.restorable_here().filter(|backup| !backup.is_removed()).map(|backup| &backup.id).collect();
    let known: BTreeSet<&BackupId> = plan.restorable_here().map(|backup| &backup.id).collect();
    for backup in plan.restorable_here().filter(|backup| !backup.is_removed()) {
        let parent = backup.parent.as_ref().filter(|parent| known.contains(parent));
        if let Some(parent) = parent.filter(|parent| !kept.contains(parent)) {
            return Some(format!("{parent} would go, and {} builds on it", backup.id));
        }
        if backup.is_good && !plan.after.good.contains(&backup.id) {
            return Some(format!("{} would stay, and could not be restored any more", backup.id));
        }
    }
    if let Some(lost) =
        window_begin(rules, context.now).and_then(|from| lost_time(&plan.before, &plan.after, from))
    {
        return Some(format!("{} could not be recovered any more", format_time(lost)));
    }
    let floor = |before: u64, least: u32| before.min(u64::from(least));
    let (before, after) = (&plan.before, &plan.after);
    if after.good_backups < floor(before.good_backups, rules.keep_last)
        || after.independent < floor(before.independent, rules.minimum_redundancy)
        || after.newest() < before.newest()
    {
        return Some("fewer good backups would stay than the policy asks for".to_owned());
    }
    None
}
