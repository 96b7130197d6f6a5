use aws_sdk_rds::types::{ApplyMethod, Parameter as SdkParameter};

use super::super::AwsFailure;
use super::Rds;
use crate::model::{Parameter, ParameterGroup};

impl Rds {
    /// The group's family, and the parameters that somebody set.
    pub async fn parameters(&self, group: &str, of_cluster: bool) -> Result<ParameterGroup, AwsFailure> {
        if of_cluster { self.cluster_parameters(group).await } else { self.instance_parameters(group).await }
    }

    async fn instance_parameters(&self, group: &str) -> Result<ParameterGroup, AwsFailure> {
        let asked = self.client.describe_db_parameter_groups().db_parameter_group_name(group).send().await;
        let groups = asked.map_err(self.failed("DescribeDBParameterGroups"))?.db_parameter_groups;
        let family = groups.into_iter().flatten().find_map(|group| group.db_parameter_group_family);
        let asked = self.client.describe_db_parameters().db_parameter_group_name(group).source("user");
        let mut pages = asked.into_paginator().send();
        let mut parameters = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.failed("DescribeDBParameters"))?;
            parameters.extend(page.parameters.into_iter().flatten().filter_map(set));
        }
        Ok(sorted(group, family, parameters))
    }

    async fn cluster_parameters(&self, group: &str) -> Result<ParameterGroup, AwsFailure> {
        let asked = self.client.describe_db_cluster_parameter_groups();
        let asked = asked.db_cluster_parameter_group_name(group).send().await;
        let groups = asked.map_err(self.failed("DescribeDBClusterParameterGroups"))?;
        let groups = groups.db_cluster_parameter_groups.into_iter().flatten();
        let family = { groups }.find_map(|group| group.db_parameter_group_family);
        let asked = self.client.describe_db_cluster_parameters().db_cluster_parameter_group_name(group);
        let mut pages = asked.source("user").into_paginator().send();
        let mut parameters = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.failed("DescribeDBClusterParameters"))?;
            parameters.extend(page.parameters.into_iter().flatten().filter_map(set));
        }
        Ok(sorted(group, family, parameters))
    }
}

fn set(parameter: SdkParameter) -> Option<Parameter> {
    // Who cannot filter by source answers with all of them.
    (parameter.source.as_deref() == Some("user")).then_some(())?;
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
