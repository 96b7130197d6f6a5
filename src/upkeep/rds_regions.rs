//! What RDS has of a database in a region: drctl's snapshots, and RDS's own automated backups.

use super::regions::{AutomatedReach, RegionHolding};
use crate::aws::AwsFailure;
use crate::aws::rds::{AutomatedBackup, Rds};
use crate::event::told;
use crate::model::{SourceName, SystemName};
use crate::policy::{RdsDatabase, RdsSource};
use crate::source::snapshot::backup_of;

pub(super) async fn ask(
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
        let own = available.filter_map(|snapshot| backup_of(snapshot, system, name)).collect();
        Ok::<_, AwsFailure>((own, automated(&rds, source).await?))
    };
    match asked.await {
        Ok((backups, automated)) => RegionHolding { backups, automated, ..holding },
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
