//! What AWS keeps of a source, region by region: drctl's snapshots, and RDS's own automated backups.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::Serialize;

use crate::aws::AwsFailure;
use crate::aws::rds::{AutomatedBackup, Rds};
use crate::catalog::BackupEntry;
use crate::event::told;
use crate::model::{BackupId, SourceName, SystemName};
use crate::policy::{Policy, RdsDatabase, RdsSource, SourceConfig};

/// Of every source whose backups AWS keeps.
pub type Regions = BTreeMap<SourceName, KeptByAws>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptByAws {
    /// The database's own region first.
    pub regions: Vec<RegionHolding>,
    /// Dumps of it are taken too, which repositories hold.
    pub is_dumped: bool,
}

/// One source in one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionHolding {
    pub region: String,
    /// Backups whose snapshots are available there.
    pub snapshots: Vec<BackupId>,
    pub automated: Option<AutomatedReach>,
    /// Why it could not be asked, so that nothing is promised of it.
    pub unknown: Option<String>,
}

/// What RDS's automated backups can bring back: every moment between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AutomatedReach {
    /// `None`: RDS does not say.
    pub earliest: Option<DateTime<Utc>>,
    pub until: DateTime<Utc>,
}

/// Asks every region of every source whose snapshots the policy asks for.
pub async fn ask(policy: &Policy) -> Regions {
    let sources = policy.sources.iter().filter_map(|source| Some((&source.name, rds(&source.config)?)));
    let asked = sources.map(async |(name, rds)| {
        let regions = regions_of(rds).map(|region| ask_region(&policy.system, name, rds, region));
        (name.clone(), KeptByAws { regions: join_all(regions).await, is_dumped: is_dumped(rds) })
    });
    join_all(asked).await.into_iter().collect()
}

/// What the manifests say, with nobody asked: where each snapshot stood when it was taken.
pub fn as_recorded(policy: &Policy, entries: &[BackupEntry]) -> Regions {
    let sources = policy.sources.iter().filter_map(|source| Some((&source.name, rds(&source.config)?)));
    let recorded = sources.map(|(name, rds)| {
        let held = |region: &str| {
            let own = entries.iter().filter(|entry| entry.manifest.source == *name);
            let stood = own.filter(|entry| {
                entry.manifest.managed.as_ref().is_some_and(|managed| managed.held_in(region).is_some())
            });
            stood.map(|entry| entry.id().clone()).collect()
        };
        let regions = regions_of(rds).map(|region| RegionHolding {
            region: region.to_owned(),
            snapshots: held(region),
            ..RegionHolding::default()
        });
        (name.clone(), KeptByAws { regions: regions.collect(), is_dumped: is_dumped(rds) })
    });
    recorded.collect()
}

fn rds(config: &SourceConfig) -> Option<&RdsSource> {
    match config {
        SourceConfig::Rds(rds) if rds.snapshots => Some(rds),
        _ => None,
    }
}

fn is_dumped(rds: &RdsSource) -> bool {
    rds.login.as_ref().is_some_and(|login| login.logical.is_some())
}

fn regions_of(rds: &RdsSource) -> impl Iterator<Item = &str> {
    std::iter::once(rds.place.region.as_str()).chain(rds.regions.iter().map(|region| region.name.as_str()))
}

async fn ask_region(
    system: &SystemName,
    name: &SourceName,
    source: &RdsSource,
    region: &str,
) -> RegionHolding {
    let holding = RegionHolding { region: region.to_owned(), ..RegionHolding::default() };
    let rds = match Rds::of(&source.place.in_region(region)).await {
        Ok(rds) => rds,
        Err(error) => return RegionHolding { unknown: Some(told(&error)), ..holding },
    };
    let asked = async {
        let snapshots = rds.manual_snapshots(&source.database).await?;
        let available = snapshots.iter().filter(|snapshot| snapshot.is_available());
        let own = available.filter_map(|snapshot| snapshot.tags.backup(system, name)).collect();
        Ok::<_, AwsFailure>((own, automated(&rds, source).await?))
    };
    match asked.await {
        Ok((snapshots, automated)) => RegionHolding { snapshots, automated, ..holding },
        Err(failure) => RegionHolding { unknown: Some(told(&failure)), ..holding },
    }
}

/// What automated backups bring back in a region: of the database that runs there, or replicated from it, or
/// retained after it was deleted.
async fn automated(rds: &Rds, source: &RdsSource) -> Result<Option<AutomatedReach>, AwsFailure> {
    let home = &source.place.region;
    if matches!(source.database, RdsDatabase::Cluster(_)) {
        return of_cluster(rds, source).await;
    }
    let kept = rds.automated_backups_of(&source.database).await?;
    // In another region a database may have the same name.
    let own = |backup: &&AutomatedBackup| backup.database_region.as_ref().unwrap_or(home) == home;
    let windows = kept.iter().filter(own).filter_map(|backup| backup.window);
    let newest = windows.max_by_key(|window| window.latest);
    if rds.region() != home {
        return Ok(
            newest.map(|window| AutomatedReach { earliest: Some(window.earliest), until: window.latest })
        );
    }
    let database = rds.database(&source.database).await?;
    let latest = database.as_ref().and_then(|database| database.latest_restorable);
    let until = latest.max(newest.map(|window| window.latest));
    let earliest = database.as_ref().and_then(|database| database.earliest_restorable);
    let earliest = earliest.or(newest.map(|window| window.earliest));
    Ok(until.map(|until| AutomatedReach { earliest, until }))
}

/// A cluster's are in its own region only: of the one that is there, or of the last that was deleted.
async fn of_cluster(rds: &Rds, source: &RdsSource) -> Result<Option<AutomatedReach>, AwsFailure> {
    if rds.region() != source.place.region {
        return Ok(None);
    }
    if let Some(database) = rds.database(&source.database).await? {
        let reach = |until| AutomatedReach { earliest: database.earliest_restorable, until };
        return Ok(database.latest_restorable.map(reach));
    }
    let kept = rds.automated_backups_of(&source.database).await?;
    let newest = kept.iter().filter_map(|backup| backup.window).max_by_key(|window| window.latest);
    Ok(newest.map(|window| AutomatedReach { earliest: Some(window.earliest), until: window.latest }))
}
