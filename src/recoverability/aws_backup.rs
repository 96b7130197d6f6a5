//! The state of AWS Backup for a resource, region by region: drctl's own recovery points, and those of the
//! source's plan.

use std::collections::BTreeSet;

use super::region::{NewestPoint, RegionInventory};
use crate::event::Events;
use crate::model::{SourceName, SystemName};
use crate::policy::AwsBackupSource;
use crate::source::aws_backup::{RegionPoint, in_each_region};

pub(crate) async fn ask(
    config: &AwsBackupSource,
    system: &SystemName,
    name: &SourceName,
    recorded: &BTreeSet<String>,
    events: &Events,
) -> Vec<RegionInventory> {
    in_each_region(config, system, name, recorded, events).await.into_iter().map(holding).collect()
}

fn holding(region: RegionPoint) -> RegionInventory {
    let holding = RegionInventory { region: region.region, ..RegionInventory::default() };
    match region.found {
        Err(problem) => RegionInventory { unknown: Some(problem), ..holding },
        Ok(found) => {
            let point = found.newest.and_then(|point| {
                let (vault, of_plan) = (point.vault, point.plan.is_some());
                Some(NewestPoint { arn: point.arn, vault, created: point.created?, of_plan })
            });
            let continuous_since = found.continuous.and_then(|point| point.created);
            RegionInventory { point, continuous_since, unread: found.unread, ..holding }
        }
    }
}
