//! What a cluster needs in addition to an instance: its engine, its KMS key, and its instances.

use super::cluster_survey::{GroupState, is_aurora, member_name, recorded_members};
use super::identifier::{invalid, is_identifier, taken};
use super::overrides::settings_drift;
use super::parameter_groups::is_default;
use super::settings::{Settings, is_own};
use super::survey::RdsSurvey;
use super::{OverrideKey, Overrides, PlannedSetting, RdsRestoreRequest};
use crate::aws::AwsTags;
use crate::aws::rds::{Database, NewCluster, NewMember};
use crate::policy::Prices;
use crate::restore::Refusal;

/// The part of a plan that only clusters have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ClusterPart {
    pub(super) new: NewCluster,
    pub(super) is_aurora: bool,
    /// Aurora's instances, the writer first. Those of a Multi-AZ cluster are not created one by one.
    pub(super) members: Vec<NewMember>,
    /// The number and class of the instances that a Multi-AZ cluster creates.
    pub(super) brings: (usize, Option<String>),
}

impl ClusterPart {
    /// Moves what only instances have out of the settings.
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
        let is_encrypted = found.chosen.via.is_encrypted();
        let of_region = request.config.region(&found.chosen.region).and_then(|region| region.kms_key.clone());
        let overrides = &request.overrides;
        let recorded = match found.is_home {
            true => profile.kms_key.clone(),
            false => of_region.or_else(|| found.names.kms_key.clone()),
        };
        // An unencrypted cluster becomes encrypted only by request.
        let wanted = overrides.get(OverrideKey::KmsKey).map(str::to_owned);
        let kms_key = wanted.or_else(|| recorded.filter(|_| is_encrypted));
        let is_said = found.profile_of.is_some() || overrides.get(OverrideKey::EngineVersion).is_some();
        let members = members(found, &request.to, settings, overrides);
        Self {
            new: NewCluster {
                engine: profile.engine.clone(),
                // The current version may be newer than the data: RDS then takes the snapshot's own.
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
            let message = "the instances that the cluster had are not recorded, and Aurora's API creates none: it could not be logged in to";
            refusals.push(Refusal::not_ready("no-members", message));
        }
        // The cluster's own name is checked separately.
        let last = self.members.last().map(|member| &member.identifier);
        refusals.extend(last.filter(|name| !is_identifier(name)).map(|name| invalid(name)));
        let others =
            found.members.existing.iter().filter(|existing| !is_own(&existing.tags, &found.chosen, tags));
        let region = &found.chosen.region;
        refusals.extend(others.map(|existing| taken(existing.id.kind(), existing.id.identifier(), region)));
        refusals
    }

    /// Returns how its instances created by an earlier run differ from the plan.
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

    /// Estimates the hourly cost of its instances. The cost of a cluster's storage depends on its use.
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

fn members(found: &RdsSurvey, to: &str, settings: &mut Settings, overrides: &Overrides) -> Vec<NewMember> {
    let profile = &found.profile;
    let recorded = recorded_members(profile);
    // One that was being created then had no class recorded.
    let class = recorded.iter().find_map(|member| member.class.clone());
    let mut members = Vec::new();
    for (number, member) in recorded.into_iter().enumerate() {
        let Some(class) = member.class.clone().or_else(|| class.clone()) else { continue };
        let identifier = member_name(to, number);
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
        if let GroupState::Lacks(lacks) = standing
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_costs_what_all_of_its_instances_cost() {
        let prices = Prices {
            as_of: "2026-11-01".parse().unwrap(),
            currency: "USD".to_owned(),
            classes: [("db.r6g.large".to_owned(), 0.25)].into(),
            storage: Some(0.1),
            stored: std::collections::BTreeMap::new(),
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
