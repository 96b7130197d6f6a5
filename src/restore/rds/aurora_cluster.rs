//! What a cluster needs beside what an instance needs: its engine, its key, and the instances in it.
//!
//! Aurora's instances are made one by one, each with the tags of the cluster, by which a restore that is begun
//! again knows them. A Multi-AZ cluster makes its own.

use std::collections::BTreeMap;

use super::execute::repeat;
use super::identifier::{invalid, is_identifier, taken};
use super::overrides::settings_drift;
use super::plan::{NewGroup, is_own};
use super::select::{AutomatedBackups, ManualSnapshot, RegionBackups};
use super::settings::{FROM, STANDS_FOR, Settings, is_default};
use super::survey::{MissingSettings, RdsSurvey, lacks};
use super::{
    OverrideKey, Overrides, PlannedSetting, RdsRestoreError, RdsRestorePlan, RdsRestoreRequest, RestoreSource,
};
use crate::aws::rds::{Database, NewCluster, NewMember, Origin, Rds, RestoreMoment, RestoreWindow};
use crate::aws::{AwsFailure, AwsTags, FailureKind, NAME, Poll, PollProgress, PolledState};
use crate::model::{ClusterMember, ParameterGroup, RestoreProfile};
use crate::policy::{Prices, RdsDatabase};
use crate::restore::Refusal;
use crate::run::RunContext;

/// What a region has of the instances that are to be in the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// What has one of their names already.
    existing: Vec<Database>,
    /// Of each parameter group that the instances had, how it stands there.
    groups: BTreeMap<String, ClusterState>,
}

/// How a parameter group stands in a region.
#[derive(Clone, Debug)]
enum ClusterState {
    There,
    Missing,
    /// It is there, and does not set what was recorded.
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
        for (number, member) in recorded(profile).into_iter().enumerate() {
            let name = RdsDatabase::Instance(name(to, number));
            found.existing.extend(rds.database(&name).await?);
            let group = member.parameter_group.as_ref().filter(|group| !is_default(group));
            let Some(group) = group.filter(|group| !found.groups.contains_key(*group)) else { continue };
            let standing = match standing(rds, group, profile, is_home).await {
                // Nothing is refused for it: the instance gets the default, and that is said.
                Err(failure) if failure.kind == FailureKind::Forbidden => ClusterState::Unknown,
                standing => standing?,
            };
            found.groups.insert(group.clone(), standing);
        }
        Ok(found)
    }

    /// Those that are made anew: what is not there, or what an earlier run began to make.
    pub(super) fn missing_groups(&self, profile: &RestoreProfile) -> Vec<NewGroup> {
        let is_missing = |group: &&ParameterGroup| match self.groups.get(&group.name) {
            Some(ClusterState::Missing) => true,
            Some(ClusterState::Lacks(lacks)) => lacks.is_ours,
            Some(ClusterState::There | ClusterState::Unknown) | None => false,
        };
        let recorded = profile.cluster.iter().flat_map(|cluster| &cluster.parameter_groups);
        recorded.filter(is_missing).filter_map(|group| NewGroup::from_group(group, false)).collect()
    }

    /// Whether an instance can have it, now or once it is made.
    fn has_group(&self, name: &str, profile: &RestoreProfile) -> bool {
        match self.groups.get(name) {
            Some(ClusterState::There | ClusterState::Lacks(_)) => true,
            Some(ClusterState::Missing) => {
                self.missing_groups(profile).iter().any(|made| made.group.name == name)
            }
            Some(ClusterState::Unknown) | None => false,
        }
    }
}

async fn standing(
    rds: &Rds,
    group: &str,
    profile: &RestoreProfile,
    is_home: bool,
) -> Result<ClusterState, AwsFailure> {
    if !rds.has_parameter_group(group).await? {
        return Ok(ClusterState::Missing);
    }
    let mut recorded = profile.cluster.iter().flat_map(|cluster| &cluster.parameter_groups);
    // At home it is the group itself.
    let Some(recorded) = recorded.find(|recorded| recorded.name == group).filter(|_| !is_home) else {
        return Ok(ClusterState::There);
    };
    Ok(lacks(rds, recorded, false).await?.map_or(ClusterState::There, ClusterState::Lacks))
}

/// The part of a plan that only clusters have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ClusterPart {
    pub(super) new: NewCluster,
    pub(super) is_aurora: bool,
    /// Aurora's, the one that writes first. A Multi-AZ cluster's are not made.
    members: Vec<NewMember>,
    /// How many a Multi-AZ cluster makes, and of which class.
    brings: (usize, Option<String>),
}

impl ClusterPart {
    /// Takes from the settings what only instances have.
    pub(super) fn plan(request: &RdsRestoreRequest, found: &RdsSurvey, settings: &mut Settings) -> Self {
        let profile = &found.profile;
        let is_aurora = is_aurora(profile);
        let (new, changes) = (&mut settings.new, &mut settings.changes);
        (new.option_group, new.multi_az, changes.max_allocated_gib) = (None, None, None);
        if is_aurora {
            (new.class, new.publicly_accessible, new.iops) = (None, None, None);
        } else {
            changes.minor_upgrades = profile.minor_upgrades;
        }
        let is_encrypted = match &found.chosen.via {
            RestoreSource::Snapshot { encrypted, .. } | RestoreSource::Automated { encrypted, .. } => {
                *encrypted
            }
        };
        let of_region = request.config.region(&found.chosen.region).and_then(|region| region.kms_key.clone());
        let overrides = &request.overrides;
        let recorded = match found.is_home {
            true => profile.kms_key.clone(),
            false => of_region.or_else(|| found.names.kms_key.clone()),
        };
        // What was not encrypted becomes so only where somebody says it.
        let wanted = overrides.get(OverrideKey::KmsKey).map(str::to_owned);
        let kms_key = wanted.or_else(|| recorded.filter(|_| is_encrypted));
        let is_said = found.profile_of.is_some() || overrides.get(OverrideKey::EngineVersion).is_some();
        let members = members(found, &request.to, settings, overrides);
        Self {
            new: NewCluster {
                engine: profile.engine.clone(),
                // That of now may be newer than the data: RDS then takes the snapshot's own.
                engine_version: profile.engine_version.clone().filter(|_| is_said),
                kms_key,
                capacity: profile.cluster.as_ref().and_then(|cluster| cluster.capacity),
                auto_pause_seconds: profile.cluster.as_ref().and_then(|cluster| cluster.auto_pause_seconds),
            },
            is_aurora,
            members,
            brings: (
                profile.cluster.as_ref().map_or(1, |cluster| cluster.members.len().max(1)),
                profile.class.clone(),
            ),
        }
    }

    pub(super) fn objections(&self, found: &RdsSurvey, tags: &AwsTags) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.is_aurora && self.members.is_empty() {
            let message = "nothing says which instances the cluster had, and Aurora's API makes none: nobody could log in to it";
            refusals.push(Refusal::not_ready("no-members", message));
        }
        // The cluster's own name is looked at apart.
        let last = self.members.last().map(|member| &member.identifier);
        refusals.extend(last.filter(|name| !is_identifier(name)).map(|name| invalid(name)));
        let others = found.members.existing.iter().filter(|existing| !is_own(existing, found, tags));
        let region = &found.chosen.region;
        refusals.extend(others.map(|existing| taken(existing.id.kind(), existing.id.identifier(), region)));
        refusals
    }

    /// Its instances that an earlier run made otherwise than they would be made now.
    pub(super) fn begun(&self, found: &RdsSurvey, overrides: &Overrides) -> Vec<String> {
        let of = |existing: &Database| {
            let name = existing.id.identifier();
            let wanted = self.members.iter().find(|member| member.identifier == name)?;
            let wanted = [
                ("class", Some(wanted.class.clone())),
                ("certificate", wanted.ca_certificate.clone()),
                ("parameter group", wanted.parameter_group.clone()),
            ];
            Some(settings_drift(existing, &wanted, overrides))
        };
        found.members.existing.iter().filter_map(of).flatten().collect()
    }

    pub(super) fn shown(&self) -> Vec<PlannedSetting> {
        let mut shown = vec![PlannedSetting {
            name: "engine",
            value: [Some(&self.new.engine), self.new.engine_version.as_ref()]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" "),
        }];
        let capacity = self.new.capacity.map(|(least, most)| format!("{least} to {most} units"));
        shown.extend(capacity.map(|value| PlannedSetting { name: "capacity", value }));
        shown.extend(self.new.kms_key.clone().map(|value| PlannedSetting { name: "key", value }));
        shown.extend(self.members.iter().map(|member| PlannedSetting {
            name: "instance",
            value: format!("`{}`, {}", member.identifier, member.class),
        }));
        shown
    }

    /// What its instances cost an hour. What a cluster's storage costs is told from what it is used for.
    pub(super) fn cost(&self, prices: &Prices) -> String {
        let own = self.members.iter().map(|member| member.class.as_str());
        let brought = self.brings.1.iter().map(String::as_str).cycle().take(self.brings.0);
        let classes: Vec<&str> = if self.is_aurora { own.collect() } else { brought.collect() };
        if classes.is_empty() {
            return "not estimated: no class of its instances was recorded".to_owned();
        }
        let mut hour = 0.0;
        for class in &classes {
            let Some(estimate) = prices.instance(class, None, false) else {
                return format!("not estimated: `[prices]` has no price for {class}");
            };
            hour += estimate.hour;
        }
        let Prices { currency, as_of, .. } = prices;
        format!(
            "about {hour:.2} {currency} an hour for {} instances, without storage, by prices of {as_of}",
            classes.len()
        )
    }
}

fn is_aurora(profile: &RestoreProfile) -> bool {
    profile.engine.starts_with("aurora")
}

fn name(cluster: &str, number: usize) -> String {
    format!("{cluster}-{}", number + 1)
}

/// Aurora's instances, the one that wrote first, and then whichever would have followed it.
fn recorded(profile: &RestoreProfile) -> Vec<&ClusterMember> {
    if !is_aurora(profile) {
        return vec![];
    }
    let mut members: Vec<_> = profile.cluster.iter().flat_map(|cluster| &cluster.members).collect();
    members.sort_by_key(|member| (!member.is_writer, member.promotion_tier, &member.identifier));
    members
}

fn members(found: &RdsSurvey, to: &str, settings: &mut Settings, overrides: &Overrides) -> Vec<NewMember> {
    let profile = &found.profile;
    let recorded = recorded(profile);
    // One that was being made then said no class.
    let class = recorded.iter().find_map(|member| member.class.clone());
    let mut members = Vec::new();
    for (number, member) in recorded.into_iter().enumerate() {
        let Some(class) = member.class.clone().or_else(|| class.clone()) else { continue };
        let identifier = name(to, number);
        let group = member.parameter_group.clone().filter(|group| !is_default(group));
        let parameter_group = group.clone().filter(|group| found.members.has_group(group, profile));
        if let (Some(group), None) = (group, &parameter_group) {
            settings.not_reproduced.push(format!(
                "`{identifier}` gets AWS's default parameters: {} has no parameter group `{group}`",
                found.chosen.region
            ));
        }
        members.push(NewMember {
            identifier,
            replaced_member: member.identifier.clone(),
            class,
            promotion_tier: member.promotion_tier,
            publicly_accessible: member.publicly_accessible,
            parameter_group,
            minor_upgrades: profile.minor_upgrades,
            ca_certificate: profile.ca_certificate.clone(),
            zone: overrides.get(OverrideKey::Zone).map(str::to_owned),
        });
    }
    for (group, standing) in &found.members.groups {
        if let ClusterState::Lacks(lacks) = standing
            && !lacks.is_ours
        {
            settings.not_reproduced.push(format!(
                "the parameter group `{group}` there does not set what was recorded: {}",
                lacks.parameters.join(", ")
            ));
        }
    }
    if !members.is_empty() {
        settings.not_reproduced.push(
            "what its instances had each for themselves is not recorded: monitoring, Performance Insights, maintenance window, certificate"
                .to_owned(),
        );
    }
    members
}

/// What a cluster that is there can be restored to.
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

/// With those that are gone and whose backups RDS kept. One that is there may be among them, too: it is restored
/// by its name. Of another region's nothing can be restored here.
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

/// A copy of a cluster's snapshot says when it was copied, and not of when its data is: that is recorded. Where it
/// cannot be read, the data is at least of when the backup was begun.
pub(super) fn date_copies(regions: &mut [RegionBackups], stored: &[ManualSnapshot]) {
    for (backup, snapshot) in regions.iter_mut().flat_map(|region| &mut region.snapshots) {
        if snapshot.database_time.is_none() && snapshot.copied_from.is_some() {
            let recorded = stored.iter().find(|stored| stored.manifest.id == *backup);
            let time = recorded.map_or(backup.begun(), |stored| stored.manifest.recovery_point);
            snapshot.database_time = Some(time);
        }
    }
}

impl RdsRestorePlan {
    /// What it is now; of a Multi-AZ cluster with the blocks that its instances have yet to fetch.
    pub(super) async fn ask(&self, rds: &Rds) -> Result<Option<Database>, AwsFailure> {
        let Some(mut database) = rds.database(&self.id).await? else { return Ok(None) };
        if self.cluster.as_ref().is_some_and(|cluster| !cluster.is_aurora) {
            for member in names(&database) {
                let member = rds.database(&RdsDatabase::Instance(member)).await?;
                database.hydration = database.hydration.or(member.and_then(|member| member.hydration));
            }
        }
        Ok(Some(database))
    }

    /// Somebody may have made one of that name while this was begun.
    pub(super) fn own(&self, rds: &Rds, database: Database) -> Result<Database, RdsRestoreError> {
        if database.tags.get(FROM) == self.settings.new.tags.get(FROM) {
            return Ok(database);
        }
        let refusal = taken(database.id.kind(), database.id.identifier(), rds.region());
        Err(RdsRestoreError::Refused(vec![refusal]))
    }
}

fn names(database: &Database) -> Vec<String> {
    let members = database.profile.cluster.iter().flat_map(|cluster| &cluster.members);
    members.map(|member| member.identifier.clone()).collect()
}

/// Has the instances made that are missing. The first is waited for, since the first that comes writes; a
/// Multi-AZ cluster's all are, since it makes them at once.
pub(super) async fn begin_members(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    cluster: &ClusterPart,
) -> Result<(), RdsRestoreError> {
    if !cluster.is_aurora {
        return brought(run, rds, plan, cluster.brings.0).await;
    }
    let tags = &plan.settings.new.tags;
    for (number, member) in cluster.members.iter().enumerate() {
        let id = RdsDatabase::Instance(member.identifier.clone());
        if let Some(existing) = rds.database(&id).await? {
            plan.own(rds, existing)?;
        } else {
            run.events.notice(format!("making instance `{}`, {}", member.identifier, member.class));
            let tags = tags.clone().with(NAME, &member.identifier).with(STANDS_FOR, &member.replaced_member);
            let call = async || rds.create_member(plan.to(), &cluster.new.engine, member, &tags).await;
            match repeat(run, rds, plan, call).await {
                // The answer to an earlier attempt was lost; whose it is, is seen when it can be seen.
                Err(RdsRestoreError::Aws(failure)) if failure.kind == FailureKind::Exists => {}
                made => made?,
            }
        }
        if number == 0 {
            let first = await_member(run, rds, plan, &member.identifier).await?;
            plan.own(rds, first)?;
        }
    }
    Ok(())
}

/// Waits for the others.
pub(super) async fn await_members(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    cluster: &ClusterPart,
) -> Result<(), RdsRestoreError> {
    for member in &cluster.members {
        let member = await_member(run, rds, plan, &member.identifier).await?;
        plan.own(rds, member)?;
    }
    Ok(())
}

async fn await_member(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    name: &str,
) -> Result<Database, RdsRestoreError> {
    let id = RdsDatabase::Instance(name.to_owned());
    let subject = format!("`{name}` in {}", rds.region());
    let poll = Poll { every: plan.place.poll, deadline: plan.place.deadline };
    let ask = async || Ok(rds.database(&id).await?.map_or(PolledState::Absent, Database::seen));
    Ok(poll.wait(&subject, &run.events, &run.cancel, ask).await?)
}

async fn brought(
    run: &RunContext,
    rds: &Rds,
    plan: &RdsRestorePlan,
    count: usize,
) -> Result<(), RdsRestoreError> {
    let subject = format!("the instances of `{}` in {}", plan.to(), rds.region());
    let poll = Poll { every: plan.place.poll, deadline: plan.place.deadline };
    let ask = async || {
        let Some(database) = rds.database(&plan.id).await? else { return Ok(PolledState::Absent) };
        let names = names(&database);
        let status = format!("{}, {} of {count} instances", database.status, names.len());
        let working = PollProgress { status, ..PollProgress::default() };
        Ok(if names.len() < count { PolledState::Working(working) } else { PolledState::Done(names) })
    };
    let names = poll.wait(&subject, &run.events, &run.cancel, ask).await?;
    for name in names {
        await_member(run, rds, plan, &name).await?;
    }
    Ok(())
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
        let names: Vec<_> = recorded(&aurora).iter().map(|member| member.identifier.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
        let multi_az = RestoreProfile { engine: "postgres".to_owned(), ..aurora };
        assert!(recorded(&multi_az).is_empty(), "it makes its own");
    }

    #[test]
    fn a_cluster_costs_what_all_of_its_instances_cost() {
        let prices = Prices {
            as_of: "2026-11-01".parse().unwrap(),
            currency: "USD".to_owned(),
            classes: [("db.r6g.large".to_owned(), 0.25)].into(),
            storage: Some(0.1),
        };
        let one = |class: &str| NewMember { class: class.to_owned(), ..NewMember::default() };
        let aurora = |members: Vec<NewMember>| ClusterPart {
            new: NewCluster::default(),
            is_aurora: true,
            members,
            brings: (0, None),
        };
        let two = aurora(vec![one("db.r6g.large"), one("db.r6g.large")]).cost(&prices);
        assert!(two.starts_with("about 0.50 USD an hour for 2 instances"), "{two}");
        let unknown = aurora(vec![one("db.serverless")]).cost(&prices);
        assert!(unknown.starts_with("not estimated"), "{unknown}");
        let brings = (3, Some("db.r6g.large".to_owned()));
        let multi_az = ClusterPart { is_aurora: false, brings, ..aurora(vec![]) }.cost(&prices);
        assert!(multi_az.starts_with("about 0.75 USD an hour for 3 instances"), "{multi_az}");
        let of_no_class = ClusterPart { is_aurora: false, brings: (3, None), ..aurora(vec![]) }.cost(&prices);
        assert!(of_no_class.starts_with("not estimated"), "{of_no_class}");
    }
}
