use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::catalog::{BackupEntry, Catalog, CatalogError};
use crate::event::Events;
use crate::model::{RepositoryName, SourceName, WalCheck};
use crate::platform::Clock;
use crate::policy::{Policy, SourceConfig};
use crate::recoverability::cloud;
use crate::recoverability::missing_copies::MissingCopy;
use crate::recoverability::region::Regions;
use crate::recoverability::servers::Servers;
use crate::recoverability::survey::{enter_server_reports, wal_archives};
use crate::recoverability::time_check::countable_copies;
use crate::recoverability::wal::WalArchivesStatus;
use crate::repository::{ClockSkew, Repositories};

/// All facts that are queried before a system is judged.
#[derive(Clone, Debug, Default)]
pub struct StatusSurvey {
    pub wal: WalArchivesStatus,
    pub cloud: Regions,
    /// Sources whose server could not be queried, and why.
    pub servers_not_asked: Vec<(SourceName, String)>,
    /// Whether the repositories were queried for their WAL.
    pub wal_asked: bool,
    /// Sources with base backups or WAL archiving.
    pub wants_base: BTreeSet<SourceName>,
    /// Stores whose clock differs too much from this host's.
    pub clocks: Vec<ClockSkew>,
    /// Repositories that lost their marker.
    pub unmarked: BTreeSet<RepositoryName>,
    /// Missing copies of backups.
    pub missing: Vec<MissingCopy>,
}

/// The time limit for the clock of a store.
const CLOCK_WITHIN: Duration = Duration::from_secs(15);

impl StatusSurvey {
    /// Queries the servers, the repositories for their WAL, and AWS. `entries`: of all sources.
    pub async fn ask(
        policy: &Policy,
        repositories: &Repositories,
        catalog: &Catalog,
        entries: &[BackupEntry],
        clock: &dyn Clock,
        events: &Events,
    ) -> Result<Self, CatalogError> {
        let clocks = ClockSkew::find(repositories, CLOCK_WITHIN, clock).await;
        let now = latest_clock(clock.now(), &clocks);
        // The archives are queried after the servers, which continue archiving meanwhile.
        let servers = Servers::ask(policy).await;
        let checks = wal_checks(catalog, entries).await?;
        let mut wal = wal_archives(repositories, &countable_copies(entries, now), &servers, &checks).await;
        enter_server_reports(&servers, repositories, &mut wal).await;
        let cloud = cloud::ask(policy, entries, events).await;
        Ok(Self {
            wal,
            cloud,
            servers_not_asked: servers.not_asked,
            wal_asked: true,
            wants_base: wanting_base(policy),
            clocks,
            unmarked: repositories.unmarked().iter().map(|unmarked| unmarked.name.clone()).collect(),
            missing: vec![],
        })
    }

    /// Returns a survey without queries: for AWS-managed backups, what their manifests record.
    pub fn offline(policy: &Policy, entries: &[BackupEntry]) -> Self {
        let cloud = cloud::as_recorded(policy, entries);
        Self { cloud, wants_base: wanting_base(policy), ..Self::default() }
    }

    pub fn with_missing(self, missing: Vec<MissingCopy>) -> Self {
        Self { missing, ..self }
    }

    /// Returns the time of the latest clock: no backup is younger than by that.
    pub fn now(&self, by_host: DateTime<Utc>) -> DateTime<Utc> {
        latest_clock(by_host, &self.clocks)
    }
}

fn latest_clock(by_host: DateTime<Utc>, clocks: &[ClockSkew]) -> DateTime<Utc> {
    clocks.iter().map(|skew| by_host - skew.ahead).chain([by_host]).max().unwrap_or(by_host)
}

fn wanting_base(policy: &Policy) -> BTreeSet<SourceName> {
    let wanting = policy.sources.iter().filter(|source| match &source.config {
        SourceConfig::Postgres(postgres) => postgres.base.is_some() || postgres.wal.is_some(),
        _ => false,
    });
    wanting.map(|source| source.name.clone()).collect()
}

/// Returns the findings of WAL verification, for sources with base backups.
async fn wal_checks(catalog: &Catalog, entries: &[BackupEntry]) -> Result<Vec<WalCheck>, CatalogError> {
    let bases = entries.iter().filter(|entry| entry.manifest.physical.is_some());
    let Some(oldest) = bases.map(|entry| entry.id().begun()).min() else { return Ok(vec![]) };
    let runs = catalog.runs(Some(oldest)).await?;
    Ok(runs.into_iter().flat_map(|run| run.detail.log_checks).collect())
}
