use super::error::SnapshotError;
use super::name::backup_of;
use crate::aws::rds::{Database, Rds};
use crate::aws::{FailureKind, Poll};
use crate::model::{BackupId, RegionNames, RestoreProfile, SourceName, SystemName};
use crate::policy::RdsSource;
use crate::text::error_chain;

/// An existing database, with its settings.
#[derive(Debug)]
pub(super) struct SnapshotCapture<'p> {
    pub(super) rds: Rds,
    pub(super) source: &'p RdsSource,
    pub(super) database: Database,
    pub(super) profile: RestoreProfile,
    pub(super) poll: Poll,
}

pub(super) async fn prepare(source: &RdsSource) -> Result<SnapshotCapture<'_>, SnapshotError> {
    let rds = Rds::connect(&source.place).await?;
    let database = rds.database(&source.database).await?;
    let database = database.ok_or_else(|| SnapshotError::NoDatabase {
        kind: source.database.noun(),
        identifier: source.database.identifier().to_owned(),
        region: source.place.region.clone(),
    })?;
    if let Some(cluster) = database.cluster {
        let identifier = source.database.identifier().to_owned();
        return Err(SnapshotError::Member { identifier, cluster });
    }
    let advice = match () {
        () if database.is_stopped() => format!("start it, {}", database.start_command()),
        () if database.is_lost() && !database.takes_changes() => {
            "repair it, or restore it from its backups (`drctl list`)".to_owned()
        }
        () => String::new(),
    };
    if !advice.is_empty() {
        let identifier = source.database.identifier().to_owned();
        return Err(SnapshotError::Unfit { identifier, status: database.status, advice });
    }
    let profile = profile(&rds, source, &database).await?;
    Ok(SnapshotCapture { rds, source, database, profile, poll: Poll::from(&source.place) })
}

/// Returns the backups that have snapshots, oldest first, except failed ones. The repositories record which
/// of them were committed.
pub(super) async fn in_flight(
    source: &RdsSource,
    system: &SystemName,
    name: &SourceName,
) -> Result<Vec<BackupId>, SnapshotError> {
    let rds = Rds::connect(&source.place).await?;
    let snapshots = rds.manual_snapshots(&source.database).await?;
    if snapshots.is_empty() {
        return Ok(vec![]);
    }
    // A snapshot of a previous database of the same name is not resumed.
    let now = rds.database(&source.database).await?.map(|database| database.resource_id);
    let own = snapshots.iter().filter(|snapshot| !snapshot.is_lost() && snapshot.resource_id == now);
    let mut own: Vec<_> = own.filter_map(|snapshot| backup_of(snapshot, system, name)).collect();
    own.sort();
    Ok(own)
}

/// Adds the recorded parameters, and the names from the policy.
async fn profile(
    rds: &Rds,
    source: &RdsSource,
    database: &Database,
) -> Result<RestoreProfile, SnapshotError> {
    let mut profile = database.profile.clone();
    let unknown = |group: &str, reason: &str| {
        format!("which parameters `{group}` sets, so that it cannot be made elsewhere ({reason})")
    };
    if let Some(group) = &profile.parameter_group {
        match rds.parameters(&group.name, profile.cluster.is_some()).await {
            Ok(known) => profile.parameter_group = Some(known),
            // A snapshot without them is better than none.
            Err(failure) if failure.kind == FailureKind::Forbidden => {
                let words = unknown(&group.name, &error_chain(&failure));
                profile.not_recorded.push(words);
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    if let Some(cluster) = &mut profile.cluster {
        let (groups, unread) = rds.parameters_of(&cluster.members).await?;
        cluster.parameter_groups = groups;
        profile.not_recorded.extend(unread.iter().map(|(name, reason)| unknown(name, reason)));
    }
    for region in &source.regions {
        let names = region.names.clone();
        let names = RegionNames {
            kms_key: region.kms_key.clone(),
            subnet_group: names.subnet_group,
            security_groups: names.security_groups,
            parameter_group: names.parameter_group,
            option_group: names.option_group,
        };
        profile.regions.insert(region.name.clone(), names);
    }
    Ok(profile)
}
