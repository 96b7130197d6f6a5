//! Which backup brings back what is asked for, and in which region.

use chrono::{DateTime, Utc};

use super::{Refusal, Request, Target};
use crate::aws::rds::{Moment, Origin, RestoreWindow, Snapshot};
use crate::model::{BackupId, Manifest, RepositoryName};

/// What a region that was asked has of the database.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) name: String,
    /// drctl's snapshots that can be restored, by their backup.
    pub(super) snapshots: Vec<(BackupId, Snapshot)>,
    pub(super) automated: Option<Automated>,
}

/// RDS's own backups there.
#[derive(Clone, Debug)]
pub(super) struct Automated {
    /// To its latest moment.
    pub(super) origin: Origin,
    pub(super) window: RestoreWindow,
    pub(super) encrypted: bool,
}

/// A backup whose manifest was read.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) manifest: Manifest,
    pub(super) holders: Vec<RepositoryName>,
}

/// What is restored, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub region: String,
    pub via: Via,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// A snapshot of drctl's.
    Snapshot {
        backup: BackupId,
        identifier: String,
        arn: String,
        recovery_point: DateTime<Utc>,
        encrypted: bool,
    },
    /// RDS's automated backups, to a moment.
    Automated { origin: Origin, until: DateTime<Utc>, encrypted: bool },
}

impl Via {
    /// The moment whose data will be there.
    pub fn until(&self) -> DateTime<Utc> {
        match self {
            Self::Snapshot { recovery_point, .. } => *recovery_point,
            Self::Automated { until, .. } => *until,
        }
    }

    pub fn origin(&self) -> Origin {
        match self {
            Self::Snapshot { identifier, .. } => Origin::Snapshot(identifier.clone()),
            Self::Automated { origin, .. } => origin.clone(),
        }
    }

    /// What says, on the instance, what it was made from: a restore that is begun again finds it by that.
    pub fn tag(&self) -> String {
        match self {
            Self::Snapshot { arn, .. } => arn.clone(),
            Self::Automated { origin, .. } => {
                let (of, moment) = match origin {
                    Origin::Automated { resource_id, moment } => (resource_id, moment),
                    Origin::Replicated { arn, moment } => (arn, moment),
                    Origin::Snapshot(name) => (name, &Moment::Latest),
                };
                match moment {
                    Moment::Latest => format!("{of} latest"),
                    Moment::At(time) => format!("{of} {}", time.format("%FT%TZ")),
                }
            }
        }
    }
}

/// The backup that reaches furthest, or to the very moment that is asked for. The database's own region, the
/// first of `regions`, is preferred where it does not matter.
pub(super) fn choose(request: &Request, regions: &[Region], stored: &[Stored]) -> Result<Chosen, Refusal> {
    match &request.target {
        Target::Backup(prefix) => by_id(request, prefix, regions, stored),
        Target::Latest => latest(request, regions),
        Target::Time(time) => at(request, *time, regions),
    }
}

fn by_id(request: &Request, prefix: &str, regions: &[Region], stored: &[Stored]) -> Result<Chosen, Refusal> {
    let found: Vec<_> = stored
        .iter()
        .map(|backup| &backup.manifest.id)
        .filter(|id| id.as_str().starts_with(prefix))
        .collect();
    let id = match found[..] {
        [id] => id,
        [] => {
            return Err(Refusal::UnknownBackup {
                prefix: prefix.to_owned(),
                source_name: request.source.clone(),
            });
        }
        _ => {
            return Err(Refusal::Ambiguous {
                prefix: prefix.to_owned(),
                ids: found.into_iter().cloned().collect(),
            });
        }
    };
    let held = regions.iter().find_map(|region| {
        let (_, snapshot) = region.snapshots.iter().find(|(backup, _)| backup == id)?;
        of_snapshot(region, id, snapshot)
    });
    let asked = regions.iter().map(|region| region.name.clone()).collect();
    held.ok_or_else(|| Refusal::NotHeld { backup: id.clone(), regions: asked })
}

fn of_snapshot(region: &Region, backup: &BackupId, snapshot: &Snapshot) -> Option<Chosen> {
    let via = Via::Snapshot {
        backup: backup.clone(),
        identifier: snapshot.id.as_str().to_owned(),
        arn: snapshot.arn.clone(),
        recovery_point: snapshot.recovery_point()?,
        encrypted: snapshot.encrypted,
    };
    Some(Chosen { region: region.name.clone(), via })
}

fn of_automated(region: &Region, automated: &Automated, time: Option<DateTime<Utc>>) -> Chosen {
    let moment = time.map_or(Moment::Latest, Moment::At);
    let origin = match &automated.origin {
        Origin::Automated { resource_id, .. } => {
            Origin::Automated { resource_id: resource_id.clone(), moment }
        }
        Origin::Replicated { arn, .. } => Origin::Replicated { arn: arn.clone(), moment },
        Origin::Snapshot(name) => Origin::Snapshot(name.clone()),
    };
    let until = time.unwrap_or(automated.window.latest);
    let via = Via::Automated { origin, until, encrypted: automated.encrypted };
    Chosen { region: region.name.clone(), via }
}

/// Everything that could be restored as a whole, in the order of the regions.
fn whole(regions: &[Region]) -> impl Iterator<Item = Chosen> {
    regions.iter().flat_map(|region| {
        let automated = region.automated.iter().map(|automated| of_automated(region, automated, None));
        let snapshots =
            region.snapshots.iter().filter_map(|(backup, snapshot)| of_snapshot(region, backup, snapshot));
        automated.chain(snapshots)
    })
}

fn latest(request: &Request, regions: &[Region]) -> Result<Chosen, Refusal> {
    // Of several that reach as far, the first.
    let best =
        whole(regions).reduce(|best, next| if next.via.until() > best.via.until() { next } else { best });
    best.ok_or_else(|| Refusal::Nothing { source_name: request.source.clone() })
}

fn at(request: &Request, time: DateTime<Utc>, regions: &[Region]) -> Result<Chosen, Refusal> {
    let reaches = |region: &Region| {
        let automated = region.automated.as_ref().filter(|automated| automated.window.holds(time))?;
        Some(of_automated(region, automated, Some(time)))
    };
    if let Some(chosen) = regions.iter().find_map(reaches) {
        return Ok(chosen);
    }
    let windows =
        regions.iter().filter_map(|region| Some((region.name.clone(), region.automated.as_ref()?.window)));
    let before = whole(regions).filter(|chosen| matches!(chosen.via, Via::Snapshot { .. }));
    let before = before.filter(|chosen| chosen.via.until() <= time).max_by_key(|chosen| chosen.via.until());
    let nearest = before.and_then(|chosen| match chosen.via {
        Via::Snapshot { backup, recovery_point, .. } => Some((backup, recovery_point)),
        Via::Automated { .. } => None,
    });
    Err(Refusal::OutOfReach {
        source_name: request.source.clone(),
        time,
        windows: windows.collect(),
        nearest,
    })
}
