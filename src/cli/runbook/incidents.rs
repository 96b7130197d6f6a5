//! The incidents of a policy's system, and the repositories that have them.

use super::known::spool;
use crate::catalog::Catalog;
use crate::cli::Context;
use crate::cli::catalog_view::warn_lost;
use crate::policy::Policy;
use crate::repository::Repositories;
use crate::runbook::Incidents;

/// What the verbs about incidents begin with.
pub(super) struct IncidentView {
    pub(super) policy: Policy,
    pub(super) catalog: Option<Catalog>,
    pub(super) repositories: Repositories,
    pub(super) incidents: Incidents,
}

impl IncidentView {
    /// Reads every repository. Those that could not be read are reported on stderr.
    pub(super) async fn open(context: &Context, policy: Policy) -> Self {
        let (catalog, repositories) = context.recall(&policy).await;
        let repositories = repositories.open_for_restore(&policy.system, None).await;
        let incidents = Incidents::read(&repositories, &policy.system, &spool(&policy)).await;
        incidents.unread.iter().for_each(|lost| warn_lost(context, lost));
        for merged in incidents.all.values() {
            merged.damage.iter().for_each(|damage| context.output.warn(damage));
        }
        Self { policy, catalog, repositories, incidents }
    }

    /// Returns what does not hold of the records of incidents.
    fn damage(&self) -> Vec<String> {
        self.incidents.all.values().flat_map(|merged| merged.damage.iter().cloned()).collect()
    }

    pub(super) async fn close(self) {
        if let Some(catalog) = self.catalog {
            catalog.close().await;
        }
    }
}

/// Returns what does not hold of the records of incidents.
pub(in crate::cli) async fn incident_damage(context: &Context, policy: Policy) -> Vec<String> {
    let view = IncidentView::open(context, policy).await;
    let damage = view.damage();
    view.close().await;
    damage
}
