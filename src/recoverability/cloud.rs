//! AWS-managed backups of a source, region by region, of any service.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::aws_backup;
use super::rds::RdsQueryResults;
use super::region::{CloudInventory, RegionInventory, Regions, Service};
use crate::catalog::BackupEntry;
use crate::event::Events;
use crate::model::SourceName;
use crate::policy::{Policy, RdsSource, SourceConfig};

/// Queries every region of every source with AWS-managed backups. `entries`: the known backups.
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

/// Returns what the manifests record, without any query: the regions of each backup when it was taken.
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

/// Returns the sources of that very database: a database restored for one has the data of the others.
fn of_the_same<'p>(policy: &'p Policy, rds: &RdsSource) -> Vec<&'p SourceName> {
    let is_same = |other: &RdsSource| {
        other.database == rds.database
            && other.place.region == rds.place.region
            && other.place.endpoint == rds.place.endpoint
    };
    let sources = policy.sources.iter().filter(|source| source.rds().is_some_and(is_same));
    sources.map(|source| &source.name).collect()
}

/// Returns the ARNs of all AWS-managed backups in the source's manifests.
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
