//! What the verbs of retention begin with: the repositories and what AWS keeps, surveyed, and the plan.

use crate::catalog::{BackupEntry, Catalog, Filter};
use crate::cli::Context;
use crate::cli::catalog_view::{brought_up, recall, warn};
use crate::cli::error::CommandError;
use crate::model::{BackupId, RepositoryName, RunId};
use crate::policy::Policy;
use crate::recoverability::immutability::{Immutability, immutability};
use crate::repository::Repositories;
use crate::retention::{
    CloudRegion, KnownBackups, RetentionPlan, Surveyed, inspect_removals, open_regions, plan, planned_policy,
    survey, survey_regions,
};

/// A plan, and what it was made of.
pub(super) struct RetentionView {
    pub(super) policy: Policy,
    pub(super) repositories: Repositories,
    pub(super) catalog: Catalog,
    pub(super) entries: Vec<BackupEntry>,
    pub(super) surveyed: Surveyed,
    /// The regions that have, or had, something of what AWS keeps.
    pub(super) regions: Vec<Box<dyn CloudRegion>>,
    pub(super) plan: RetentionPlan,
    /// Of the repositories that are to lock their objects.
    pub(super) immutability: Vec<Immutability>,
}

impl RetentionView {
    /// Surveys every repository and region, and plans. `own`: the run whose leases are not those of others.
    pub(super) async fn open(context: &Context, own: &RunId) -> Result<Self, CommandError> {
        let policy = context.policy()?;
        if policy.retention.is_none() {
            return Err(CommandError::usage("the policy has no `[retention]`: nothing is ever removed")
                .hint("Add one, like `[retention]` with `daily = \"30d\"` and `weekly = \"6mo\"`."));
        }
        let (catalog, repositories) = recall(context, &policy, context.repositories(&policy).await).await;
        let repositories = repositories.for_reading(&policy.system, None).await;
        let (catalog, refreshed) = brought_up(context, &policy, catalog, &repositories).await?;
        warn(context, &refreshed);
        let all = catalog.backups(&Filter { vanished: true, ..Filter::default() }).await?;
        let runs = catalog.runs(None).await?;
        let refused: Vec<(RepositoryName, BackupId)> =
            refreshed.refused.iter().map(|one| (one.repository.clone(), one.backup.clone())).collect();
        let known = KnownBackups {
            entries: &all,
            runs: &runs,
            refused: &refused,
            unknown_records: &refreshed.unknown_records,
        };
        let names: Vec<RepositoryName> =
            policy.repositories.iter().map(|config| config.name.clone()).collect();
        let now = context.clock.now();
        let mut surveyed = survey(&repositories, &names, &policy.system, known, own, now).await;
        let regions = open_regions(&policy, &all);
        surveyed.survey.regions = survey_regions(&regions, &all, &runs).await;
        let Some(planned) = planned_policy(&policy) else {
            return Err(CommandError::usage("the policy has no `[retention]`: nothing is ever removed"));
        };
        let mut made = plan(&planned, &surveyed.survey, now);
        if inspect_removals(&regions, &all, &made, &mut surveyed.survey).await {
            made = plan(&planned, &surveyed.survey, now);
        }
        let immutability = immutability(&policy.repositories, &runs, now);
        let entries = all.into_iter().filter(BackupEntry::is_held).collect();
        Ok(Self { policy, repositories, catalog, entries, surveyed, regions, plan: made, immutability })
    }
}
