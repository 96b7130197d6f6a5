use crate::catalog::{BackupEntry, Catalog, CatalogError, intact_copies};
use crate::event::Events;
use crate::model::{SourceName, WalCheck};
use crate::policy::Policy;
use crate::recoverability::cloud::{self, Regions};
use crate::recoverability::servers::Servers;
use crate::recoverability::survey::{enter_server_reports, wal_archives};
use crate::recoverability::wal::WalArchivesStatus;
use crate::repository::Repositories;

/// Everything that is asked before a system is judged.
#[derive(Clone, Debug, Default)]
pub struct StatusSurvey {
    pub wal: WalArchivesStatus,
    pub cloud: Regions,
    /// Sources whose server could not be asked, and why.
    pub servers_not_asked: Vec<(SourceName, String)>,
}

impl StatusSurvey {
    /// Asks the servers, the repositories for their WAL, and AWS. `entries`: of all sources.
    pub async fn ask(
        policy: &Policy,
        repositories: &Repositories,
        catalog: &Catalog,
        entries: &[BackupEntry],
        events: &Events,
    ) -> Result<Self, CatalogError> {
        // What is archived is asked for after the servers: they go on meanwhile.
        let servers = Servers::ask(policy).await;
        let checks = wal_checks(catalog, entries).await?;
        let mut wal = wal_archives(repositories, &intact_copies(entries), &servers, &checks).await;
        enter_server_reports(&servers, repositories, &mut wal).await;
        let cloud = cloud::ask(policy, entries, events).await;
        Ok(Self { wal, cloud, servers_not_asked: servers.not_asked })
    }

    /// Asks nobody: of backups that AWS keeps, what their manifests say.
    pub fn offline(policy: &Policy, entries: &[BackupEntry]) -> Self {
        Self { cloud: cloud::as_recorded(policy, entries), ..Self::default() }
    }
}

/// What was found when WAL was read again, as far as there are base backups that it matters to.
async fn wal_checks(catalog: &Catalog, entries: &[BackupEntry]) -> Result<Vec<WalCheck>, CatalogError> {
    let bases = entries.iter().filter(|entry| entry.manifest.physical.is_some());
    let Some(oldest) = bases.map(|entry| entry.id().begun()).min() else { return Ok(vec![]) };
    let runs = catalog.runs(Some(oldest)).await?;
    Ok(runs.into_iter().flat_map(|run| run.detail.log_checks).collect())
}
