//! What AWS keeps of a source, region by region, whichever of its services keeps it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::Serialize;

use super::aws_backup;
use super::rds::RdsQueryResults;
use crate::aws::rds::SwitchedOver;
use crate::catalog::BackupEntry;
use crate::event::Events;
use crate::model::{BackupId, SourceName};
use crate::policy::{Policy, RdsSource, SourceConfig};

/// Of every source whose backups AWS keeps.
pub type Regions = BTreeMap<SourceName, CloudInventory>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudInventory {
    pub service: Service,
    /// The database that has the name now; `None`: it could not be asked, or there is none.
    pub live: Option<LiveDatabase>,
    /// That of the database or resource first.
    pub regions: Vec<RegionInventory>,
    /// Dumps of it are taken too, which repositories hold.
    pub is_dumped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveDatabase {
    /// What RDS calls it for ever: another of the same name has another.
    pub resource_id: String,
    /// drctl restored it from backups of this source, or of another source of the same database, so that the
    /// snapshots of the others are of its data, too.
    pub is_restored: bool,
    /// Those whose name a blue/green switchover gave to it, with their data.
    pub predecessors: Vec<SwitchedOver>,
}

impl LiveDatabase {
    /// Whether a snapshot of that database brings back nothing of this one.
    pub(crate) fn is_another_than(&self, resource_id: &str) -> bool {
        let is_own = self.resource_id == resource_id
            || self.predecessors.iter().any(|predecessor| predecessor.resource_id == resource_id);
        !self.is_restored && !is_own
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Rds,
    AwsBackup,
}

impl Service {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rds => "RDS",
            Self::AwsBackup => "AWS Backup",
        }
    }
}

/// One source in one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionInventory {
    pub region: String,
    /// Backups that could be restored there.
    pub backups: Vec<BackupId>,
    pub automated: Option<AutomatedReach>,
    /// What RDS's automated backups hold of another database that had the name.
    pub of_other: Option<ForeignBackup>,
    /// The newest of AWS Backup, which may be a plan's and no backup of drctl's.
    pub point: Option<NewestPoint>,
    /// When the plan's continuous recovery point began. AWS Backup says neither how far back nor how far it reaches.
    pub continuous_since: Option<DateTime<Utc>>,
    /// In words: what may be there besides, and could not be listed.
    pub unread: Vec<String>,
    /// Why it could not be asked, so that nothing is promised of it.
    pub unknown: Option<String>,
}

/// What is there of a database that had the name before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForeignBackup {
    pub resource_id: String,
    pub until: DateTime<Utc>,
}

/// What RDS's automated backups can bring back: every moment between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AutomatedReach {
    /// `None`: RDS does not say.
    pub earliest: Option<DateTime<Utc>>,
    pub until: DateTime<Utc>,
}

/// A recovery point of AWS Backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewestPoint {
    pub arn: String,
    pub vault: String,
    pub created: DateTime<Utc>,
    /// A plan of AWS Backup had it made.
    pub of_plan: bool,
}

/// Asks every region of every source whose backups AWS keeps. `entries`: what is known of their backups.
pub async fn ask(policy: &Policy, entries: &[BackupEntry], events: &Events) -> Regions {
    let asked = policy.sources.iter().map(async |source| {
        let name = &source.name;
        let kept = match &source.config {
            SourceConfig::Rds(rds) if rds.snapshots => {
                let sources = of_the_same(policy, rds);
                let asked =
                    RdsQueryResults { system: &policy.system, name, sources: &sources, source: rds, entries };
                let (live, regions) = asked.each(regions_of(rds), events).await;
                CloudInventory { service: Service::Rds, live, regions, is_dumped: is_dumped(rds) }
            }
            SourceConfig::AwsBackup(config) => CloudInventory {
                service: Service::AwsBackup,
                live: None,
                regions: aws_backup::ask(config, &policy.system, name, &recorded(entries, name), events)
                    .await,
                is_dumped: false,
            },
            _ => return None,
        };
        Some((name.clone(), kept))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// What the manifests say, with nobody asked: where each backup stood when it was taken.
pub fn as_recorded(policy: &Policy, entries: &[BackupEntry]) -> Regions {
    let recorded = policy.sources.iter().filter_map(|source| {
        let (service, regions, is_dumped): (_, Vec<&str>, _) = match &source.config {
            SourceConfig::Rds(rds) if rds.snapshots => {
                (Service::Rds, regions_of(rds).collect(), is_dumped(rds))
            }
            SourceConfig::AwsBackup(config) => {
                let copies = config.copies.iter().map(|copy| copy.region.as_str());
                let regions = std::iter::once(config.place.region.as_str()).chain(copies).collect();
                (Service::AwsBackup, regions, false)
            }
            _ => return None,
        };
        let held = |region: &str| {
            let own = entries.iter().filter(|entry| entry.manifest.source == source.name);
            let stood = own.filter(|entry| {
                entry.manifest.managed.as_ref().is_some_and(|managed| managed.held_in(region).is_some())
            });
            stood.map(|entry| entry.id().clone()).collect()
        };
        let holding = |region: &str| RegionInventory {
            region: region.to_owned(),
            backups: held(region),
            ..RegionInventory::default()
        };
        let regions = regions.into_iter().map(holding).collect();
        Some((source.name.clone(), CloudInventory { service, live: None, regions, is_dumped }))
    });
    recorded.collect()
}

/// The sources that are of that very database: what was restored for one has the data of the others.
fn of_the_same<'p>(policy: &'p Policy, rds: &RdsSource) -> Vec<&'p SourceName> {
    let is_same = |other: &RdsSource| {
        other.database == rds.database
            && other.place.region == rds.place.region
            && other.place.endpoint == rds.place.endpoint
    };
    let sources = policy.sources.iter().filter(|source| source.rds().is_some_and(is_same));
    sources.map(|source| &source.name).collect()
}

/// ARNs of all that manifests of the source say AWS keeps.
fn recorded(entries: &[BackupEntry], name: &SourceName) -> BTreeSet<String> {
    let own = entries.iter().filter(|entry| entry.manifest.source == *name);
    let held = own.flat_map(|entry| &entry.manifest.managed).flat_map(|managed| &managed.held);
    held.map(|copy| copy.arn.clone()).collect()
}

fn is_dumped(rds: &RdsSource) -> bool {
    rds.login.as_ref().is_some_and(|login| login.logical.is_some())
}

fn regions_of(rds: &RdsSource) -> impl Iterator<Item = &str> {
    std::iter::once(rds.place.region.as_str()).chain(rds.regions.iter().map(|region| region.name.as_str()))
}
