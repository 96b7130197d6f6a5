use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::clock_skew::check_clocks;
use super::error::BackupError;
use super::plan::BackupPlan;
use super::point::PointRun;
use crate::catalog::Catalog;
use crate::event::Events;
use crate::model::RunId;
use crate::pipeline::Recipe;
use crate::platform::{CancellationToken, Clock};
use crate::policy::Policy;
use crate::repository::Repositories;
use crate::source::incremental::Extent;

/// The time limit for each of the small calls around a backup without a deadline of their own.
pub(super) const SMALL_CALL: Duration = Duration::from_secs(120);

/// The context of a backup.
#[derive(Debug)]
pub struct BackupContext<'a> {
    pub policy: &'a Policy,
    /// All repositories of the policy, as opened.
    pub repositories: Repositories,
    /// A failure to write it is a warning: it can be rebuilt from the repositories.
    pub catalog: Option<&'a Catalog>,
    /// This host's state directory, which says whether the application is paused.
    pub state: PathBuf,
    pub clock: Arc<dyn Clock>,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

/// A run whose repositories are open.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) policy: &'a Policy,
    pub(super) repositories: Repositories,
    pub(super) recipe: Recipe,
    pub(super) id: RunId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: &'a Events,
    pub(super) cancel: &'a CancellationToken,
    pub(super) catalog: Option<Catalog>,
    pub(super) extent: Extent,
    pub(super) accepts_new_cluster: bool,
    pub(super) state: PathBuf,
    /// The recovery point that is being taken.
    pub(super) point: Option<PointRun>,
}

impl<'a> Run<'a> {
    /// Opens the repositories for writing. On an error nothing is written.
    pub(super) async fn begin(plan: &BackupPlan, context: BackupContext<'a>) -> Result<Self, BackupError> {
        let run = Self::new(plan, context)?;
        check_clocks(&run.repositories, run.policy.transfer.stall, &*run.clock).await?;
        let repositories = run.repositories.for_writing(&run.policy.system, None, run.clock.now()).await;
        let repositories = repositories.map_err(BackupError::Repositories)?;
        let catalog = run.catalog.map(|catalog| catalog.of_repository(repositories.id()));
        Ok(Self { repositories, catalog, ..run })
    }

    /// Opens the repositories for reading: nothing is written.
    pub(super) async fn look(plan: &BackupPlan, context: BackupContext<'a>) -> Result<Self, BackupError> {
        let run = Self::new(plan, context)?;
        let repositories = run.repositories.for_reading(&run.policy.system, None).await;
        Ok(Self { repositories, ..run })
    }

    fn new(plan: &BackupPlan, context: BackupContext<'a>) -> Result<Self, BackupError> {
        let BackupContext { policy, repositories, catalog, state, clock, events, cancel } = context;
        let recipe = Recipe::new(policy.compression, &policy.encryption).map_err(BackupError::Recipe)?;
        let catalog = catalog.cloned();
        Ok(Self {
            policy,
            repositories,
            recipe,
            id: plan.run.clone(),
            clock,
            events,
            cancel,
            catalog,
            extent: plan.extent,
            accepts_new_cluster: plan.accepts_new_cluster,
            state,
            point: None,
        })
    }
}
