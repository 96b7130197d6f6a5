//! The plan of all sources in all repositories. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::diverged::{Earliest, diverged};
use super::holding::{RegionHoldings, RetentionSurvey};
use super::lock_plan::{PlannedLock, lock_targets};
use super::manifest_fate::manifest_fates;
use super::refusal::{Refusal, RefusalCode};
use super::rule::{digest, short_digest};
use super::source_plan::{SourceContext, SourcePlan, plan_source};
use crate::model::{BackupKind, Location, RepositoryName, SourceName, SystemName};
use crate::policy::{LockMode, Retention};
use crate::recoverability::lifecycle::{LifecycleConflict, LifecycleNeeds, lifecycle_conflicts};

/// What a plan needs to know of the policy.
#[derive(Clone, Debug)]
pub struct PlannedPolicy<'p> {
    pub system: &'p SystemName,
    pub retention: &'p Retention,
    /// Its sources, and how old the newest good backup of each of their kinds may be.
    pub sources: Vec<(SourceName, Vec<(BackupKind, Duration)>)>,
    /// Repositories whose locks follow the rules.
    pub locks: Vec<(RepositoryName, LockMode)>,
}

/// What stays, what goes, and what is refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetentionPlan {
    pub now: DateTime<Utc>,
    /// Tells the policy's rules from others.
    pub rules_digest: String,
    /// Tells these rules and removals from others: what `--confirm` takes.
    pub digest: String,
    /// By repository in the policy's order, then by source; then what AWS keeps, by source and region.
    pub sources: Vec<SourcePlan>,
    /// Why nothing is removed anywhere.
    pub refusals: Vec<Refusal>,
    /// Why nothing is removed from a repository.
    pub repositories: Vec<(RepositoryName, Vec<Refusal>)>,
    /// How long stores are to lock what stays.
    pub locks: Vec<PlannedLock>,
    /// Repositories of which it is not known by which rules their buckets remove objects, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifecycle_unknown: Vec<(RepositoryName, String)>,
}

/// Plans everything.
pub fn plan(policy: &PlannedPolicy<'_>, survey: &RetentionSurvey, now: DateTime<Utc>) -> RetentionPlan {
    let of_regions: Vec<SourcePlan> =
        survey.regions.iter().map(|region| plan_region(policy, survey, region, now)).collect();
    let fates = manifest_fates(&survey.regions, &of_regions);
    let (mut sources, mut locks) = (Vec::new(), Vec::new());
    for repository in &survey.repositories {
        for (source, holdings) in &repository.sources {
            let limits = policy.newest_within(source, |kind| !kind.is_managed());
            let context = SourceContext {
                now,
                rules: policy.knows(source).then(|| policy.retention.rules_in(source, &repository.name)),
                holds: &survey.holds,
                newest_within: &limits,
                fates: Some(&fates),
            };
            let location = Location::Repository(repository.name.clone());
            let mut planned = plan_source(source, &location, holdings, context);
            planned.refusals.extend(busy(&planned, survey));
            if planned.removes_anything() {
                let earliest = Earliest::beside(survey, &repository.name, source);
                planned.refusals.extend(diverged(source, &location, &holdings.wal, &earliest, now));
            }
            let locked = policy.locks.iter().find(|(name, _)| *name == repository.name);
            if let Some((locked, rules)) = locked.zip(context.rules) {
                locks.extend(lock_targets(&planned, locked, rules, now));
            }
            sources.push(planned);
        }
    }
    sources.extend(of_regions);
    let rules_digest = digest(policy.retention);
    let mut lines: Vec<String> = sources.iter().flat_map(SourcePlan::digest_lines).collect();
    lines.sort();
    lines.insert(0, rules_digest.clone());
    let mut refusals = survey.refusals.clone();
    if survey.applied_rules.as_ref() != Some(&rules_digest) {
        let message = match &survey.applied_rules {
            None => "these rules were never applied",
            Some(_) => "the rules are not those that were applied last",
        };
        refusals.push(Refusal::new(
            RefusalCode::RulesChanged,
            message,
            "look at the plan; where it is meant, confirm it",
        ));
    }
    RetentionPlan {
        now,
        rules_digest,
        digest: short_digest(&lines),
        sources,
        refusals,
        locks,
        repositories: survey
            .repositories
            .iter()
            .map(|repository| {
                let own = repository.refusals.iter().cloned();
                (repository.name.clone(), own.chain(lifecycle(policy, survey, &repository.name)).collect())
            })
            .collect(),
        lifecycle_unknown: survey.lifecycle_unknown.clone(),
    }
}

impl PlannedPolicy<'_> {
    fn knows(&self, source: &SourceName) -> bool {
        self.sources.iter().any(|(name, _)| name == source)
    }

    fn newest_within(
        &self,
        source: &SourceName,
        counts: impl Fn(BackupKind) -> bool,
    ) -> Vec<(BackupKind, Duration)> {
        let known = self.sources.iter().find(|(name, _)| name == source);
        let limits = known.into_iter().flat_map(|(_, limits)| limits);
        limits.filter(|(kind, _)| counts(*kind)).copied().collect()
    }
}

/// Returns why nothing is removed from a repository whose bucket removes things by itself: what remains then is not what
/// the proof says.
fn lifecycle(policy: &PlannedPolicy<'_>, survey: &RetentionSurvey, name: &RepositoryName) -> Vec<Refusal> {
    let rules = survey.lifecycle.get(name).map_or(&[][..], |rules| rules);
    let needs = LifecycleNeeds::new(Some(policy.retention), name, survey.longest_backup);
    let refusal = |conflict: LifecycleConflict| {
        // Which objects are of that size, a person may know.
        let code = match conflict.loses_backups && !conflict.is_partial {
            true => RefusalCode::LifecycleRemoves,
            false => RefusalCode::LifecycleShortens,
        };
        let hint = match code {
            RefusalCode::LifecycleRemoves => {
                "remove the rule from the bucket: `drctl retention apply` removes what the policy does not keep"
            }
            _ => "have the rule wait longer; where it is meant, confirm the plan",
        };
        Refusal::new(code, format!("`{name}`: {}", conflict.message), hint)
    };
    // `drctl doctor` names those that reach only what has a tag, which is nothing unless someone gives it one.
    let conflicts = lifecycle_conflicts(rules, policy.system, &needs).into_iter();
    conflicts.filter(|conflict| !conflict.is_of_tags).map(refusal).collect()
}

/// Plans what AWS keeps of one source in one region: by the rules of the source, with a floor of its own.
fn plan_region(
    policy: &PlannedPolicy<'_>,
    survey: &RetentionSurvey,
    region: &RegionHoldings,
    now: DateTime<Utc>,
) -> SourcePlan {
    // Where the policy has backups made no more, none is late.
    let limits = policy.newest_within(&region.source, |kind| region.is_in_policy && kind.is_managed());
    let context = SourceContext {
        now,
        rules: policy.knows(&region.source).then(|| policy.retention.rules_for(&region.source)),
        holds: &survey.holds,
        newest_within: &limits,
        fates: None,
    };
    let location = Location::Region(region.region.clone());
    let mut planned = plan_source(&region.source, &location, &region.holdings, context);
    planned.quota = region.quota;
    planned.refusals.extend(busy(&planned, survey));
    planned
}

/// Nothing is removed of a source that a run works on.
fn busy(planned: &SourcePlan, survey: &RetentionSurvey) -> Option<Refusal> {
    let run = survey.active.iter().find(|run| run.source == planned.source)?;
    planned.removes_anything().then(|| {
        Refusal::new(
            RefusalCode::SourceBusy,
            format!("a {} of {} is running on {}", run.verb, run.source, run.host),
            "run it again once that has ended",
        )
    })
}

impl RetentionPlan {
    /// Returns why nothing of a source is removed from a repository or region. `is_confirmed`: someone who saw the plan said that
    /// it is meant.
    pub fn refusals_of<'p>(
        &'p self,
        source: &'p SourcePlan,
        is_confirmed: bool,
    ) -> impl Iterator<Item = &'p Refusal> {
        // What goes from a region needs one repository that would take the record of it.
        let is_blocked = self.repositories.iter().all(|(_, refusals)| !refusals.is_empty());
        let is_meant = move |name: &RepositoryName| match &source.location {
            Location::Repository(own) => own == name,
            Location::Region(_) => is_blocked,
        };
        let of_repository = self.repositories.iter().filter(move |(name, _)| is_meant(name));
        let of_repository = of_repository.flat_map(|(_, refusals)| refusals);
        let all = self.refusals.iter().chain(of_repository).chain(&source.refusals);
        all.filter(move |refusal| !(is_confirmed && refusal.code.can_be_confirmed()))
    }

    pub fn removes_anything(&self) -> bool {
        self.sources.iter().any(SourcePlan::removes_anything)
    }
}
