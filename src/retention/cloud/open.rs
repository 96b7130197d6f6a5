use std::collections::BTreeSet;

use super::aws_backup::VaultRegion;
use super::rds::RdsRegion;
use super::region::CloudRegion;
use crate::catalog::BackupEntry;
use crate::policy::{Policy, Source, SourceConfig};

/// Returns the regions that have, or had, something of what AWS keeps: those of the policy, and those of the manifests.
/// Sends no request.
pub fn open_regions(policy: &Policy, entries: &[BackupEntry]) -> Vec<Box<dyn CloudRegion>> {
    policy.sources.iter().flat_map(|source| of_source(policy, source, entries)).collect()
}

fn of_source(policy: &Policy, source: &Source, entries: &[BackupEntry]) -> Vec<Box<dyn CloudRegion>> {
    let manifests = entries.iter().map(|entry| &entry.manifest).filter(|one| one.source == source.name);
    let recorded: BTreeSet<String> = manifests
        .filter_map(|manifest| manifest.managed.as_ref())
        .flat_map(|managed| managed.held.iter().map(|copy| copy.region.clone()))
        .collect();
    // Nothing goes without a manifest.
    if recorded.is_empty() {
        return vec![];
    }
    let own: Vec<String> = match &source.config {
        SourceConfig::Rds(rds) if rds.snapshots => {
            let away = rds.regions.iter().map(|region| region.name.clone());
            std::iter::once(rds.place.region.clone()).chain(away).collect()
        }
        SourceConfig::AwsBackup(backup) => {
            let away = backup.copies.iter().map(|copy| copy.region.clone());
            std::iter::once(backup.place.region.clone()).chain(away).collect()
        }
        _ => vec![],
    };
    let old = recorded.into_iter().filter(|region| !own.contains(region)).collect::<Vec<_>>();
    let all =
        own.into_iter().map(|region| (region, true)).chain(old.into_iter().map(|region| (region, false)));
    all.filter_map(|(region, is_in_policy)| of_region(policy, source, region, is_in_policy)).collect()
}

fn of_region(
    policy: &Policy,
    source: &Source,
    region: String,
    is_in_policy: bool,
) -> Option<Box<dyn CloudRegion>> {
    let (system, name) = (policy.system.clone(), source.name.clone());
    match &source.config {
        SourceConfig::Rds(config) => {
            let config = (**config).clone();
            Some(Box::new(RdsRegion { system, source: name, config, region, is_in_policy }))
        }
        SourceConfig::AwsBackup(config) => {
            let config = (**config).clone();
            Some(Box::new(VaultRegion { system, source: name, config, region, is_in_policy }))
        }
        _ => None,
    }
}
