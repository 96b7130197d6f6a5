//! The state of a cluster in a region: existing instances and parameter groups, and its backups.

use std::collections::BTreeMap;

use super::parameter_groups::{MissingSettings, NewGroup, is_default, lacks};
use super::select::{AutomatedBackups, ManualSnapshot, RegionBackups};
use crate::aws::rds::{Database, Origin, Rds, RestoreMoment, RestoreWindow};
use crate::aws::{AwsFailure, FailureKind};
use crate::model::{ClusterMember, ParameterGroup, RestoreProfile};
use crate::policy::RdsDatabase;

/// The state in a region of the instances that a cluster will have.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// Existing instances with one of their names.
    pub(super) existing: Vec<Database>,
    /// The state there of each parameter group that the instances had.
    pub(super) groups: BTreeMap<String, GroupState>,
}

/// The state of a parameter group in a region.
#[derive(Clone, Debug)]
pub(super) enum GroupState {
    There,
    Missing,
    /// It exists, and lacks recorded settings.
    Lacks(MissingSettings),
    Unknown,
}

impl Members {
    pub(super) async fn survey(
        rds: &Rds,
        to: &str,
        profile: &RestoreProfile,
        is_home: bool,
    ) -> Result<Self, AwsFailure> {
        let mut found = Self::default();
        for (number, member) in recorded_members(profile).into_iter().enumerate() {
            let name = RdsDatabase::Instance(member_name(to, number));
            found.existing.extend(rds.database(&name).await?);
            let group = member.parameter_group.as_ref().filter(|group| !is_default(group));
            let Some(group) = group.filter(|group| !found.groups.contains_key(*group)) else { continue };
            let standing = match standing(rds, group, profile, is_home).await {
                // This is no reason to refuse: the instance gets the default, which is reported.
                Err(failure) if failure.kind == FailureKind::Forbidden => GroupState::Unknown,
                standing => standing?,
            };
            found.groups.insert(group.clone(), standing);
        }
        Ok(found)
    }

    /// Returns those that are recreated: missing ones, and those that an earlier run began to create.
    pub(super) fn missing_groups(&self, profile: &RestoreProfile) -> Vec<NewGroup> {
        let is_missing = |group: &&ParameterGroup| match self.groups.get(&group.name) {
            Some(GroupState::Missing) => true,
            Some(GroupState::Lacks(lacks)) => lacks.is_ours,
            Some(GroupState::There | GroupState::Unknown) | None => false,
        };
        let recorded = profile.cluster.iter().flat_map(|cluster| &cluster.parameter_groups);
        recorded.filter(is_missing).filter_map(|group| NewGroup::from_group(group, false)).collect()
    }

    /// Returns whether an instance can have it, now or once it is created.
    pub(super) fn has_group(&self, name: &str, profile: &RestoreProfile) -> bool {
        match self.groups.get(name) {
            Some(GroupState::There | GroupState::Lacks(_)) => true,
            Some(GroupState::Missing) => {
                self.missing_groups(profile).iter().any(|made| made.group.name == name)
            }
            Some(GroupState::Unknown) | None => false,
        }
    }
}

async fn standing(
    rds: &Rds,
    group: &str,
    profile: &RestoreProfile,
    is_home: bool,
) -> Result<GroupState, AwsFailure> {
    if !rds.has_parameter_group(group).await? {
        return Ok(GroupState::Missing);
    }
    let mut recorded = profile.cluster.iter().flat_map(|cluster| &cluster.parameter_groups);
    // In the original region it is the group itself.
    let Some(recorded) = recorded.find(|recorded| recorded.name == group).filter(|_| !is_home) else {
        return Ok(GroupState::There);
    };
    Ok(lacks(rds, recorded, false).await?.map_or(GroupState::There, GroupState::Lacks))
}

pub(super) fn is_aurora(profile: &RestoreProfile) -> bool {
    profile.engine.starts_with("aurora")
}

pub(super) fn member_name(cluster: &str, number: usize) -> String {
    format!("{cluster}-{}", number + 1)
}

/// Returns Aurora's instances, the writer first, then in the order of failover.
pub(super) fn recorded_members(profile: &RestoreProfile) -> Vec<&ClusterMember> {
    if !is_aurora(profile) {
        return vec![];
    }
    let mut members: Vec<_> = profile.cluster.iter().flat_map(|cluster| &cluster.members).collect();
    members.sort_by_key(|member| (!member.is_writer, member.promotion_tier, &member.identifier));
    members
}

/// Returns the restorable times of an existing cluster.
pub(super) fn live(database: Option<Database>) -> Vec<AutomatedBackups> {
    let live = database.and_then(|database| {
        let window =
            RestoreWindow { earliest: database.earliest_restorable?, latest: database.latest_restorable? };
        let resource_id = database.resource_id;
        let origin = Origin::Live {
            identifier: database.id.identifier().to_owned(),
            resource_id: resource_id.clone(),
            moment: RestoreMoment::Latest,
        };
        let (identifier, encrypted) = (database.id.identifier().to_owned(), database.profile.encrypted);
        Some(AutomatedBackups { identifier, resource_id, origin, window, encrypted })
    });
    live.into_iter().collect()
}

/// Adds those of deleted clusters whose backups RDS retained. An existing one may be among them, too: it is
/// restored by its name. Those of another region cannot be restored here.
pub(super) fn with_retained(
    mut live: Vec<AutomatedBackups>,
    retained: Vec<AutomatedBackups>,
) -> Vec<AutomatedBackups> {
    for one in retained {
        let is_known = live.iter().any(|known| known.resource_id == one.resource_id);
        if !is_known && matches!(one.origin, Origin::Automated { .. }) {
            live.push(one);
        }
    }
    live
}

/// Dates the copies of a cluster's snapshots, which have the time of the copy and not that of their data:
/// that is recorded. Where it cannot be read, the data is at least as new as the start of the backup.
pub(super) fn date_copies(regions: &mut [RegionBackups], stored: &[ManualSnapshot]) {
    for (backup, snapshot) in regions.iter_mut().flat_map(|region| &mut region.snapshots) {
        if snapshot.database_time.is_none() && snapshot.copied_from.is_some() {
            let recorded = stored.iter().find(|stored| stored.manifest.id == *backup);
            let time = recorded.map_or(backup.begun(), |stored| stored.manifest.recovery_point);
            snapshot.database_time = Some(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterProfile;

    fn member(identifier: &str, is_writer: bool, tier: i32) -> ClusterMember {
        ClusterMember {
            identifier: identifier.to_owned(),
            is_writer,
            promotion_tier: Some(tier),
            ..ClusterMember::default()
        }
    }

    #[test]
    fn the_instance_that_wrote_is_made_first_and_then_those_that_would_have_followed_it() {
        let members = vec![member("a", false, 15), member("b", false, 1), member("c", true, 2)];
        let cluster = Some(ClusterProfile { members, ..ClusterProfile::default() });
        let aurora = RestoreProfile { engine: "aurora-postgresql".to_owned(), cluster, ..Default::default() };
        let names: Vec<_> =
            recorded_members(&aurora).iter().map(|member| member.identifier.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
        let multi_az = RestoreProfile { engine: "postgres".to_owned(), ..aurora };
        assert!(recorded_members(&multi_az).is_empty(), "it makes its own");
    }
}
