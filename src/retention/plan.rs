//! The plan of all sources in all repositories. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::holding::RetentionSurvey;
use super::refusal::{Refusal, RefusalCode};
use super::rule::{digest, short_digest};
use super::source_plan::{SourceContext, SourcePlan, plan_source};
use crate::model::{BackupKind, RepositoryName, SourceName};
use crate::policy::Retention;

/// What a plan needs to know of the policy.
#[derive(Clone, Debug)]
pub struct PlannedPolicy<'p> {
    pub retention: &'p Retention,
    /// Its sources, and how old the newest good backup of each of their kinds may be.
    pub sources: Vec<(SourceName, Vec<(BackupKind, Duration)>)>,
}

/// What stays, what goes, and what is refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetentionPlan {
    pub now: DateTime<Utc>,
    /// Tells the policy's rules from others.
    pub rules_digest: String,
    /// Tells these rules and removals from others: what `--confirm` takes.
    pub digest: String,
    /// By repository in the policy's order, then by source.
    pub sources: Vec<SourcePlan>,
    /// Why nothing is removed anywhere.
    pub refusals: Vec<Refusal>,
    /// Why nothing is removed from a repository.
    pub repositories: Vec<(RepositoryName, Vec<Refusal>)>,
}

/// Plans everything.
pub fn plan(policy: &PlannedPolicy<'_>, survey: &RetentionSurvey, now: DateTime<Utc>) -> RetentionPlan {
    let mut sources = Vec::new();
    for repository in &survey.repositories {
        for (source, holdings) in &repository.sources {
            let known = policy.sources.iter().find(|(name, _)| name == source);
            let context = SourceContext {
                now,
                rules: known.map(|_| policy.retention.rules_in(source, &repository.name)),
                holds: &survey.holds,
                newest_within: known.map_or(&[], |(_, kinds)| kinds),
            };
            let mut planned = plan_source(source, &repository.name, holdings, context);
            if planned.removes_anything() {
                let busy = survey.active.iter().find(|run| run.source == *source);
                planned.refusals.extend(busy.map(|run| {
                    Refusal::new(
                        RefusalCode::SourceBusy,
                        format!("a {} of {source} is running on {}", run.verb, run.host),
                        "run it again once that has ended",
                    )
                }));
            }
            sources.push(planned);
        }
    }
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
        repositories: survey
            .repositories
            .iter()
            .map(|repository| (repository.name.clone(), repository.refusals.clone()))
            .collect(),
    }
}

impl RetentionPlan {
    /// Returns why nothing of a source is removed from a repository. `is_confirmed`: someone who saw the plan said that
    /// it is meant.
    pub fn refusals_of<'p>(
        &'p self,
        source: &'p SourcePlan,
        is_confirmed: bool,
    ) -> impl Iterator<Item = &'p Refusal> {
        let of_repository = self.repositories.iter().filter(|(name, _)| *name == source.repository);
        let of_repository = of_repository.flat_map(|(_, refusals)| refusals);
        let all = self.refusals.iter().chain(of_repository).chain(&source.refusals);
        all.filter(move |refusal| !(is_confirmed && refusal.code.can_be_confirmed()))
    }

    pub fn removes_anything(&self) -> bool {
        self.sources.iter().any(SourcePlan::removes_anything)
    }
}
