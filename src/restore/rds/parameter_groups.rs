//! Parameter groups: those that exist in a region, and those that are recreated there.

use crate::aws::AwsFailure;
use crate::aws::rds::Rds;
use crate::model::{Parameter, ParameterGroup};

/// Returns whether it is one of AWS's default groups, which RDS takes when none is given. It may not have
/// been created yet in the region, and then RDS knows no group of that name.
pub(super) fn is_default(group: &str) -> bool {
    group == "default" || ParameterGroup::is_default(group) || group.starts_with("default:")
}

/// A parameter group that is recreated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGroup {
    pub group: ParameterGroup,
    pub family: String,
    /// Clusters and instances have groups of their own.
    pub of_cluster: bool,
}

impl NewGroup {
    /// Returns `None` for a group whose family was not recorded: it cannot be recreated.
    pub(super) fn from_group(group: &ParameterGroup, of_cluster: bool) -> Option<Self> {
        Some(Self { group: group.clone(), family: group.family.clone()?, of_cluster })
    }
}

/// The differences of a parameter group from its recorded settings.
#[derive(Clone, Debug)]
pub(super) struct MissingSettings {
    /// Created by drctl, possibly by an earlier run that was interrupted.
    pub(super) is_ours: bool,
    pub(super) parameters: Vec<String>,
}

/// Returns the recorded settings that the region's group lacks.
pub(super) async fn lacks(
    rds: &Rds,
    recorded: &ParameterGroup,
    of_cluster: bool,
) -> Result<Option<MissingSettings>, AwsFailure> {
    let there = rds.parameters(&recorded.name, of_cluster).await?.parameters;
    let is_there = |parameter: &&Parameter| {
        there.iter().any(|known| known.name == parameter.name && known.value == parameter.value)
    };
    let missing = recorded.parameters.iter().filter(|parameter| !is_there(parameter));
    let parameters: Vec<String> = missing.map(|parameter| parameter.name.clone()).collect();
    if parameters.is_empty() {
        return Ok(None);
    }
    let is_ours = rds.made_parameter_group(&recorded.name, of_cluster).await?;
    Ok(Some(MissingSettings { is_ours, parameters }))
}
