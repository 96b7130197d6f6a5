use std::collections::BTreeSet;

use super::error::RecoveryPointError;
use super::plan_points;
use super::plan_points::PlanPoint;
use super::prepare::vault;
use super::resume::{NEWEST, backup_of};
use crate::aws::backup::{AwsBackup, RecoveryPoint, Vault, has_known_tags};
use crate::aws::while_asked;
use crate::event::Events;
use crate::model::{SourceName, SystemName};
use crate::policy::{AwsBackupSource, AwsLocation};
use crate::text::{error_chain, format_duration};

/// The recovery points of a resource in a region.
#[derive(Debug)]
pub struct RegionPoint {
    pub region: String,
    pub vault: String,
    /// The error is the reason why it could not be queried, as text.
    pub found: Result<LatestPoint, String>,
}

#[derive(Debug)]
pub struct LatestPoint {
    pub vault: Vault,
    /// The newest restorable one that counts: drctl's own, or of the source's plan.
    pub newest: Option<RecoveryPoint>,
    /// The continuous one of the source's plan, which can be restored to any point in time of its window.
    pub continuous: Option<RecoveryPoint>,
    /// One that was not counted may be drctl's: it is in no manifest that was read, and its tags cannot be
    /// queried, or were not, since there are too many.
    pub is_untold: bool,
    /// Vaults of the source's plan that cannot be listed, so that their contents do not count, as text.
    pub unread: Vec<String>,
}

/// What determines whose a recovery point is.
#[derive(Clone, Copy, Debug)]
struct PointOwner<'a> {
    system: &'a SystemName,
    name: &'a SourceName,
    recorded: &'a BTreeSet<String>,
}

/// Queries the region of the resource first, then those of its copies, concurrently. `recorded`: the ARNs in
/// the source's manifests; for some kinds of resources there is no other evidence that one is drctl's.
pub async fn in_each_region(
    source: &AwsBackupSource,
    system: &SystemName,
    name: &SourceName,
    recorded: &BTreeSet<String>,
    events: &Events,
) -> Vec<RegionPoint> {
    let owner = PointOwner { system, name, recorded };
    let home = (source.place.region.as_str(), source.vault.as_str());
    let copies = source.copies.iter().map(|copy| (copy.region.as_str(), copy.vault.as_str()));
    let each = std::iter::once(home).chain(copies).map(async |(region, vault)| {
        let place = source.place.in_region(region);
        // A lost region is not waited for; a slow one has more than one query to answer.
        let within = place.patience * 2;
        let asked = tokio::time::timeout(within, ask(source, &place, vault, owner));
        let asked = while_asked(&place, events, asked).await;
        let found = match asked {
            Ok(found) => found.map_err(|error| error_chain(&error)),
            Err(_) => Err(format!("it gave no answer in {}", format_duration(within))),
        };
        RegionPoint { region: region.to_owned(), vault: vault.to_owned(), found }
    });
    futures_util::future::join_all(each).await
}

async fn ask(
    source: &AwsBackupSource,
    place: &AwsLocation,
    name_of_vault: &str,
    owner: PointOwner<'_>,
) -> Result<LatestPoint, RecoveryPointError> {
    let aws = AwsBackup::to_look(place).await?;
    let is_home = place.region == source.place.region;
    let vault = vault(&aws, name_of_vault, if is_home { "vault" } else { "copy_to" }).await?;
    // Plans belong to the region of the resource; their copies carry the plan's id, and none of our tags.
    let made = if is_home { plan_points::points(&aws, source).await? } else { PlanPoint::default() };
    let continuous = made.points.iter().find(|point| point.is_continuous()).cloned();
    let PlanPoint { mut points, unread } = made;
    points.truncate(1);
    let mut others = aws.points(name_of_vault, &source.resource).await?;
    let counts_plans = !is_home && source.plan.is_some();
    others.retain(|point| point.is_whole() && may_count(point, owner.recorded, counts_plans));
    others.sort_by_key(|point| std::cmp::Reverse(point.created));
    let (mut asked, mut is_untold) = (0, false);
    for point in others {
        let is_known = owner.recorded.contains(&point.arn) || point.plan.is_some();
        let counts = match () {
            () if is_known => true,
            // An older one may be in a manifest, which costs no query.
            () if asked == NEWEST || !has_known_tags(&point.arn) => {
                is_untold = true;
                false
            }
            () => {
                asked += 1;
                backup_of(&aws, &point, owner.system, owner.name).await?.is_some()
            }
        };
        if counts {
            points.push(point);
            break;
        }
    }
    Ok(LatestPoint {
        vault,
        newest: points.into_iter().max_by_key(|point| point.created),
        is_untold,
        unread,
        continuous,
    })
}

/// Returns whether a recovery point may count. Those of plans that do not count for the source are not
/// inspected, however many.
fn may_count(point: &RecoveryPoint, recorded: &BTreeSet<String>, counts_plans: bool) -> bool {
    point.plan.is_none() || counts_plans || recorded.contains(&point.arn)
}
