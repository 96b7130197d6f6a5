use std::collections::BTreeSet;

use aws_sdk_rds::types::{ApplyMethod, Parameter as SdkParameter};

use super::super::convert::found;
use super::super::{AwsFailure, FailureKind};
use super::Rds;
use crate::aws::tags::AwsTags;
use crate::model::{ClusterMember, Parameter, ParameterGroup};
use crate::text::error_chain;

/// The limit of RDS per call.
const PARAMETERS_AT_ONCE: usize = 20;
const DESCRIPTION: &str = "created by drctl from settings recorded with a backup";

impl Rds {
    /// Returns the group's family, and its modified parameters.
    pub async fn parameters(&self, group: &str, of_cluster: bool) -> Result<ParameterGroup, AwsFailure> {
        if ParameterGroup::is_default(group) {
            return Ok(ParameterGroup { name: group.to_owned(), ..ParameterGroup::default() });
        }
        if of_cluster { self.cluster_parameters(group).await } else { self.instance_parameters(group).await }
    }

    /// Returns whether the region has an instance parameter group of that name.
    pub async fn has_parameter_group(&self, group: &str) -> Result<bool, AwsFailure> {
        let asked = self.client.describe_db_parameter_groups().db_parameter_group_name(group).send().await;
        let answer = found(asked.map_err(self.region.failed("DescribeDBParameterGroups")))?;
        // Where there is none of the name, some answer with an empty list.
        let mut groups = answer.and_then(|answer| answer.db_parameter_groups).into_iter().flatten();
        Ok(groups.any(|known| known.db_parameter_group_name.as_deref() == Some(group)))
    }

    /// Returns whether drctl created the group.
    pub async fn made_parameter_group(&self, group: &str, of_cluster: bool) -> Result<bool, AwsFailure> {
        let arn = if of_cluster {
            let asked = self.client.describe_db_cluster_parameter_groups();
            let asked = asked.db_cluster_parameter_group_name(group).send().await;
            let answer = asked.map_err(self.region.failed("DescribeDBClusterParameterGroups"))?;
            let mut groups = answer.db_cluster_parameter_groups.into_iter().flatten();
            groups.find_map(|group| group.db_cluster_parameter_group_arn)
        } else {
            let asked = self.client.describe_db_parameter_groups().db_parameter_group_name(group);
            let answer = asked.send().await.map_err(self.region.failed("DescribeDBParameterGroups"))?;
            let mut groups = answer.db_parameter_groups.into_iter().flatten();
            groups.find_map(|group| group.db_parameter_group_arn)
        };
        let Some(arn) = arn else { return Ok(false) };
        let asked = self.client.list_tags_for_resource().resource_name(arn).send().await;
        let answer = asked.map_err(self.region.failed("ListTagsForResource"))?;
        Ok(AwsTags::from(answer.tag_list).is_managed())
    }

    /// Returns the parameter groups of a cluster's instances, except AWS's default groups; and those that the
    /// caller may not read, with AWS's reason.
    pub async fn parameters_of(
        &self,
        members: &[ClusterMember],
    ) -> Result<(Vec<ParameterGroup>, Vec<(String, String)>), AwsFailure> {
        let names: BTreeSet<&String> =
            members.iter().filter_map(|member| member.parameter_group.as_ref()).collect();
        let (mut groups, mut unread) = (Vec::new(), Vec::new());
        for name in names.into_iter().filter(|name| !ParameterGroup::is_default(name)) {
            match self.instance_parameters(name).await {
                Ok(group) => groups.push(group),
                Err(failure) if failure.kind == FailureKind::Forbidden => {
                    unread.push((name.clone(), error_chain(&failure)));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok((groups, unread))
    }

    /// Returns whether the region has a cluster parameter group of that name.
    pub async fn has_cluster_parameter_group(&self, group: &str) -> Result<bool, AwsFailure> {
        let asked = self.client.describe_db_cluster_parameter_groups();
        let asked = asked.db_cluster_parameter_group_name(group).send().await;
        let answer = found(asked.map_err(self.region.failed("DescribeDBClusterParameterGroups")))?;
        let mut groups = answer.and_then(|answer| answer.db_cluster_parameter_groups).into_iter().flatten();
        Ok(groups.any(|known| known.db_cluster_parameter_group_name.as_deref() == Some(group)))
    }

    /// Returns whether the region has a subnet group of that name.
    pub async fn has_subnet_group(&self, group: &str) -> Result<bool, AwsFailure> {
        let asked = self.client.describe_db_subnet_groups().db_subnet_group_name(group).send().await;
        let answer = found(asked.map_err(self.region.failed("DescribeDBSubnetGroups")))?;
        let mut groups = answer.and_then(|answer| answer.db_subnet_groups).into_iter().flatten();
        Ok(groups.any(|known| known.db_subnet_group_name.as_deref() == Some(group)))
    }

    /// Creates a parameter group for instances or for clusters, with its modified parameters.
    pub async fn create_parameter_group(
        &self,
        group: &ParameterGroup,
        family: &str,
        of_cluster: bool,
        tags: &AwsTags,
    ) -> Result<(), AwsFailure> {
        let made = if of_cluster {
            let call = self.client.create_db_cluster_parameter_group();
            let call = call.db_cluster_parameter_group_name(&group.name).db_parameter_group_family(family);
            let call = call.description(DESCRIPTION).set_tags(Some(tags.into()));
            call.send().await.map(drop).map_err(self.region.failed("CreateDBClusterParameterGroup"))
        } else {
            let call = self.client.create_db_parameter_group();
            let call = call.db_parameter_group_name(&group.name).db_parameter_group_family(family);
            let call = call.description(DESCRIPTION).set_tags(Some(tags.into()));
            call.send().await.map(drop).map_err(self.region.failed("CreateDBParameterGroup"))
        };
        match made {
            // Created by an earlier run, perhaps without its parameters.
            Err(failure) if failure.kind == FailureKind::Exists => {}
            made => made?,
        }
        for some in group.parameters.chunks(PARAMETERS_AT_ONCE) {
            let some = Some(some.iter().map(to_be_set).collect());
            if of_cluster {
                let call = self.client.modify_db_cluster_parameter_group();
                let call = call.db_cluster_parameter_group_name(&group.name).set_parameters(some);
                call.send().await.map_err(self.region.failed("ModifyDBClusterParameterGroup"))?;
            } else {
                let call = self.client.modify_db_parameter_group();
                let call = call.db_parameter_group_name(&group.name).set_parameters(some);
                call.send().await.map_err(self.region.failed("ModifyDBParameterGroup"))?;
            }
        }
        Ok(())
    }

    async fn instance_parameters(&self, group: &str) -> Result<ParameterGroup, AwsFailure> {
        let asked = self.client.describe_db_parameter_groups().db_parameter_group_name(group).send().await;
        let groups = asked.map_err(self.region.failed("DescribeDBParameterGroups"))?.db_parameter_groups;
        let family = groups.into_iter().flatten().find_map(|group| group.db_parameter_group_family);
        let asked = self.client.describe_db_parameters().db_parameter_group_name(group).source("user");
        let mut pages = asked.into_paginator().send();
        let mut parameters = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("DescribeDBParameters"))?;
            parameters.extend(page.parameters.into_iter().flatten().filter_map(set));
        }
        Ok(sorted(group, family, parameters))
    }

    async fn cluster_parameters(&self, group: &str) -> Result<ParameterGroup, AwsFailure> {
        let asked = self.client.describe_db_cluster_parameter_groups();
        let asked = asked.db_cluster_parameter_group_name(group).send().await;
        let groups = asked.map_err(self.region.failed("DescribeDBClusterParameterGroups"))?;
        let groups = groups.db_cluster_parameter_groups.into_iter().flatten();
        let family = { groups }.find_map(|group| group.db_parameter_group_family);
        let asked = self.client.describe_db_cluster_parameters().db_cluster_parameter_group_name(group);
        let mut pages = asked.source("user").into_paginator().send();
        let mut parameters = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("DescribeDBClusterParameters"))?;
            parameters.extend(page.parameters.into_iter().flatten().filter_map(set));
        }
        Ok(sorted(group, family, parameters))
    }
}

fn to_be_set(parameter: &Parameter) -> SdkParameter {
    let method = if parameter.needs_restart { ApplyMethod::PendingReboot } else { ApplyMethod::Immediate };
    let one = SdkParameter::builder().parameter_name(&parameter.name);
    one.parameter_value(&parameter.value).apply_method(method).build()
}

fn set(parameter: SdkParameter) -> Option<Parameter> {
    // Servers that cannot filter by source return all parameters; those that omit the source return only
    // these.
    parameter.source.as_deref().is_none_or(|source| source == "user").then_some(())?;
    Some(Parameter {
        name: parameter.parameter_name?,
        value: parameter.parameter_value?,
        needs_restart: parameter.apply_type.as_deref() == Some("static")
            || parameter.apply_method == Some(ApplyMethod::PendingReboot),
    })
}

fn sorted(name: &str, family: Option<String>, mut parameters: Vec<Parameter>) -> ParameterGroup {
    parameters.sort_by(|a, b| a.name.cmp(&b.name));
    ParameterGroup { name: name.to_owned(), family, parameters }
}
