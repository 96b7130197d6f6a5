use std::time::Duration;

use super::RecoveryPointError;
use super::adopted;
use super::begun::{NEWEST, backup_of};
use super::prepare::vault;
use crate::aws::backup::{AwsBackup, RecoveryPoint, Vault};
use crate::event::told;
use crate::model::{SourceName, SystemName};
use crate::policy::{AwsBackupSource, AwsPlace};

/// A region that is gone is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a region has of a resource.
#[derive(Debug)]
pub struct InRegion {
    pub region: String,
    pub vault: String,
    /// In words, where it could not be asked.
    pub found: Result<Found, String>,
}

#[derive(Debug)]
pub struct Found {
    pub vault: Vault,
    /// The newest that can be restored and counts: drctl's own, or of the source's plan.
    pub newest: Option<RecoveryPoint>,
}

/// Asks the region of the resource first, then those of its copies, all at a time.
pub async fn in_each_region(
    source: &AwsBackupSource,
    system: &SystemName,
    name: &SourceName,
) -> Vec<InRegion> {
    let home = (source.place.region.as_str(), source.vault.as_str());
    let copies = source.copies.iter().map(|copy| (copy.region.as_str(), copy.vault.as_str()));
    let each = std::iter::once(home).chain(copies).map(async |(region, vault)| {
        let place = source.place.in_region(region);
        let asked = tokio::time::timeout(PATIENCE, ask(source, &place, vault, system, name)).await;
        let found = match asked {
            Ok(found) => found.map_err(|error| told(&error)),
            Err(_) => Err(format!("it gave no answer in {}", humantime::format_duration(PATIENCE))),
        };
        InRegion { region: region.to_owned(), vault: vault.to_owned(), found }
    });
    futures_util::future::join_all(each).await
}

async fn ask(
    source: &AwsBackupSource,
    place: &AwsPlace,
    name_of_vault: &str,
    system: &SystemName,
    name: &SourceName,
) -> Result<Found, RecoveryPointError> {
    let aws = AwsBackup::of(place).await?;
    let is_home = place.region == source.place.region;
    let vault = vault(&aws, name_of_vault, if is_home { "vault" } else { "copy_to" }).await?;
    // Plans belong to the region of the resource; their copies carry the plan's id, and none of our tags.
    let mut points = if is_home { adopted::points(&aws, source).await? } else { vec![] };
    points.truncate(1);
    let mut others = aws.points(name_of_vault, &source.resource).await?;
    others.retain(RecoveryPoint::is_whole);
    others.sort_by_key(|point| std::cmp::Reverse(point.created));
    for point in others.into_iter().take(NEWEST) {
        let is_of_plan = !is_home && source.plan.is_some() && point.plan.is_some();
        if is_of_plan || backup_of(&aws, &point, system, name).await?.is_some() {
            points.push(point);
            break;
        }
    }
    Ok(Found { vault, newest: points.into_iter().max_by_key(|point| point.created) })
}
