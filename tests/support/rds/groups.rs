//! Parameter groups, subnet groups, option groups.

use super::error::{Answered, ApiError};
use super::instance_xml;
use super::machine::blocking;
use super::router::Asked;
use super::state::{Instance, ParameterGroup, arn};
use super::xml::Xml;

fn group_xml(group: &ParameterGroup) -> Xml {
    Xml::new()
        .text("DBParameterGroupName", &group.name)
        .text("DBParameterGroupFamily", &group.family)
        .text("Description", &group.description)
        .text("DBParameterGroupArn", &group.arn)
}

fn cluster_group_xml(group: &ParameterGroup) -> Xml {
    Xml::new()
        .text("DBClusterParameterGroupName", &group.name)
        .text("DBParameterGroupFamily", &group.family)
        .text("Description", &group.description)
        .text("DBClusterParameterGroupArn", &group.arn)
}

pub(super) fn describe_parameter_groups(asked: &Asked) -> Answered<Xml> {
    let name = asked.form.owned("DBParameterGroupName").map(|name| name.to_lowercase());
    let all: Vec<ParameterGroup> = {
        let mut state = asked.shared.state();
        let groups = state.region(&asked.region).parameter_groups.values();
        groups.filter(|group| name.as_ref().is_none_or(|name| *name == group.name)).cloned().collect()
    };
    if let Some(name) = name.filter(|_| all.is_empty()) {
        return Err(ApiError::missing("DBParameterGroupNotFound", "DBParameterGroup", &name));
    }
    let (page, marker) = asked.form.page(all, |group| group.name.clone())?;
    Ok(Xml::new().maybe("Marker", marker).list(
        "DBParameterGroups",
        "DBParameterGroup",
        page.iter().map(group_xml),
    ))
}

pub(super) fn create_parameter_group(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let name = form.identifier("DBParameterGroupName")?;
    let mut group = ParameterGroup::new(&asked.region, "pg", &name, "postgres15");
    form.required("DBParameterGroupFamily")?.clone_into(&mut group.family);
    form.required("Description")?.clone_into(&mut group.description);
    group.tags = form.tags().unwrap_or_default();
    let mut state = asked.shared.state();
    let groups = &mut state.region(&asked.region).parameter_groups;
    if groups.contains_key(&name) {
        let words = format!("Parameter group {name} already exists");
        return Err(ApiError::new("DBParameterGroupAlreadyExists", words));
    }
    groups.insert(name, group.clone());
    Ok(Xml::new().within("DBParameterGroup", group_xml(&group)))
}

pub(super) fn create_cluster_parameter_group(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let name = form.identifier("DBClusterParameterGroupName")?;
    let mut group = ParameterGroup::new(&asked.region, "cluster-pg", &name, "aurora-postgresql15");
    form.required("DBParameterGroupFamily")?.clone_into(&mut group.family);
    form.required("Description")?.clone_into(&mut group.description);
    group.tags = form.tags().unwrap_or_default();
    let mut state = asked.shared.state();
    let groups = &mut state.region(&asked.region).cluster_parameter_groups;
    if groups.contains_key(&name) {
        // As AWS has it: with the code of the groups of instances.
        let words = format!("Parameter group {name} already exists");
        return Err(ApiError::new("DBParameterGroupAlreadyExists", words));
    }
    groups.insert(name, group.clone());
    Ok(Xml::new().within("DBClusterParameterGroup", cluster_group_xml(&group)))
}

/// As for instances. A cluster takes it up when its server starts.
pub(super) fn modify_cluster_parameter_group(asked: &Asked) -> Answered<Xml> {
    let name = asked.form.identifier("DBClusterParameterGroupName")?;
    let changes = changes(asked)?;
    let mut state = asked.shared.state();
    let group = state.region(&asked.region).cluster_parameter_groups.get_mut(&name);
    let missing = || ApiError::missing("DBParameterGroupNotFound", "DBClusterParameterGroup", &name);
    group.ok_or_else(missing)?.parameters.extend(changes.into_iter().map(|(name, value, _)| (name, value)));
    Ok(Xml::new().text("DBClusterParameterGroupName", name))
}

/// The name and the value of each, and whether it is to take effect at once. Up to 20 at a time.
fn changes(asked: &Asked) -> Answered<Vec<(String, String, bool)>> {
    let form = &asked.form;
    let mut changes = Vec::new();
    while let Some(parameter) = form.get(&format!("Parameters.Parameter.{}.ParameterName", changes.len() + 1))
    {
        let field = |field: &str| format!("Parameters.Parameter.{}.{field}", changes.len() + 1);
        let value = form.required(&field("ParameterValue"))?;
        let is_immediate = form.required(&field("ApplyMethod"))? == "immediate";
        if is_immediate && is_static(parameter) {
            let words = format!("cannot use immediate apply method for static parameter {parameter}");
            return Err(ApiError::new("InvalidParameterCombination", words));
        }
        changes.push((parameter.to_owned(), value.to_owned(), is_immediate));
    }
    if changes.is_empty() || changes.len() > 20 {
        return Err(ApiError::new(
            "InvalidParameterValue",
            "between 1 and 20 parameters can be modified at a time",
        ));
    }
    Ok(changes)
}

/// What takes effect immediately does so in every instance that has the group.
pub(super) async fn modify_parameter_group(asked: &Asked) -> Answered<Xml> {
    let name = asked.form.identifier("DBParameterGroupName")?;
    let changes = changes(asked)?;
    let users: Vec<Instance> = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        let missing = || ApiError::missing("DBParameterGroupNotFound", "DBParameterGroup", &name);
        let group = region.parameter_groups.get_mut(&name).ok_or_else(missing)?;
        if name.starts_with("default.") {
            let words = "You cannot modify the parameters of a default DB parameter group.";
            return Err(ApiError::new("InvalidDBParameterGroupState", words));
        }
        group.parameters.extend(changes.iter().map(|(name, value, _)| (name.clone(), value.clone())));
        let users = region.instances.values_mut().filter(|one| one.settings.parameter_group == name);
        users
            .map(|one| {
                if changes.iter().any(|(.., is_immediate)| !is_immediate) {
                    "pending-reboot".clone_into(&mut one.parameters_status);
                }
                one.clone()
            })
            .collect()
    };
    for instance in users {
        let changes = changes.clone();
        let applied = blocking(move || {
            let Some(server) = &instance.server else { return Ok(()) };
            let now = changes.into_iter().filter(|(.., is_immediate)| *is_immediate);
            server.change_parameters(
                now.map(|(name, value, _)| (name, value)),
                instance.archive.as_ref().map(|archive| archive.log()),
            )
        });
        applied.await.map_err(ApiError::internal)?;
    }
    Ok(Xml::new().text("DBParameterGroupName", name))
}

pub(super) fn describe_cluster_parameter_groups(asked: &Asked) -> Answered<Xml> {
    let name = asked.form.owned("DBClusterParameterGroupName").map(|name| name.to_lowercase());
    asked.form.filters();
    let all: Vec<ParameterGroup> = {
        let mut state = asked.shared.state();
        let groups = state.region(&asked.region).cluster_parameter_groups.values();
        groups.filter(|group| name.as_ref().is_none_or(|name| *name == group.name)).cloned().collect()
    };
    if let Some(name) = name.filter(|_| all.is_empty()) {
        return Err(ApiError::missing("DBParameterGroupNotFound", "DBClusterParameterGroup", &name));
    }
    let (page, marker) = asked.form.page(all, |group| group.name.clone())?;
    let shown: Vec<Xml> = page.iter().map(cluster_group_xml).collect();
    Ok(Xml::new().maybe("Marker", marker).list("DBClusterParameterGroups", "DBClusterParameterGroup", shown))
}

pub(super) fn describe_cluster_parameters(asked: &Asked) -> Answered<Xml> {
    let name = asked.form.identifier("DBClusterParameterGroupName")?;
    let group = {
        let mut state = asked.shared.state();
        state.region(&asked.region).cluster_parameter_groups.get(&name).cloned()
    };
    let missing = || ApiError::missing("DBParameterGroupNotFound", "DBClusterParameterGroup", &name);
    parameters(asked, &group.ok_or_else(missing)?)
}

pub(super) fn describe_parameters(asked: &Asked) -> Answered<Xml> {
    let name = asked.form.identifier("DBParameterGroupName")?;
    let group = {
        let mut state = asked.shared.state();
        state.region(&asked.region).parameter_groups.get(&name).cloned()
    };
    let missing = || ApiError::missing("DBParameterGroupNotFound", "DBParameterGroup", &name);
    parameters(asked, &group.ok_or_else(missing)?)
}

/// Those of source `user` are the ones somebody set. Of the engine's own a few are listed: that there are
/// others is all a client has to know.
fn parameters(asked: &Asked, group: &ParameterGroup) -> Answered<Xml> {
    let source = asked.form.owned("Source");
    let engine = [("autovacuum", "1"), ("wal_buffers", "{DBInstanceClassMemory/…}"), ("work_mem", "4096")];
    let own = engine.iter().filter(|(name, _)| !group.parameters.contains_key(*name));
    let mut all: Vec<(String, String, &str)> = own
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned(), "engine-default"))
        .chain(group.parameters.iter().map(|(name, value)| (name.clone(), value.clone(), "user")))
        .filter(|(_, _, of)| source.as_deref().is_none_or(|source| source == *of))
        .collect();
    all.sort();
    let (page, marker) = asked.form.page(all, |(name, ..)| name.clone())?;
    let shown: Vec<Xml> =
        page.iter().map(|(name, value, source)| parameter_xml(name, value, source)).collect();
    Ok(Xml::new().maybe("Marker", marker).list("Parameters", "Parameter", shown))
}

fn parameter_xml(name: &str, value: &str, source: &str) -> Xml {
    let kind = if is_static(name) { "static" } else { "dynamic" };
    let method = if is_static(name) { "pending-reboot" } else { "immediate" };
    Xml::new()
        .text("ParameterName", name)
        .text("ParameterValue", value)
        .text("Source", source)
        .text("ApplyType", kind)
        .text("DataType", "string")
        .text("IsModifiable", true)
        .text("ApplyMethod", method)
}

/// Takes effect at a start of the server only.
pub(super) fn is_static(name: &str) -> bool {
    let of_the_start = ["max_connections", "shared_buffers", "shared_preload_libraries", "max_wal_senders"];
    of_the_start.contains(&name) || name.starts_with("rds.logical") || name.starts_with("max_prepared")
}

pub(super) fn describe_subnet_groups(asked: &Asked) -> Answered<Xml> {
    let name = asked.form.owned("DBSubnetGroupName").map(|name| name.to_lowercase());
    let all: Vec<(String, String)> = {
        let mut state = asked.shared.state();
        let groups = state.region(&asked.region).subnet_groups.clone();
        groups.into_iter().filter(|(group, _)| name.as_ref().is_none_or(|name| name == group)).collect()
    };
    if let Some(name) = name.filter(|_| all.is_empty()) {
        return Err(ApiError::missing("DBSubnetGroupNotFoundFault", "DBSubnetGroup", &name));
    }
    let (page, marker) = asked.form.page(all, |(name, _)| name.clone())?;
    let shown: Vec<Xml> =
        page.iter().map(|(name, vpc)| instance_xml::subnet_group(name, &asked.region, Some(vpc))).collect();
    Ok(Xml::new().maybe("Marker", marker).list("DBSubnetGroups", "DBSubnetGroup", shown))
}

pub(super) fn describe_option_groups(asked: &Asked) -> Answered<Xml> {
    let name = asked.form.owned("OptionGroupName").map(|name| name.to_lowercase());
    let (engine, major) = (asked.form.owned("EngineName"), asked.form.owned("MajorEngineVersion"));
    let is_postgres =
        engine.is_none_or(|engine| engine == "postgres") && major.is_none_or(|major| major == "15");
    let all: Vec<String> = {
        let mut state = asked.shared.state();
        let groups = state.region(&asked.region).option_groups.iter().cloned();
        groups.filter(|group| is_postgres && name.as_ref().is_none_or(|name| name == group)).collect()
    };
    if let Some(name) = name.filter(|_| all.is_empty()) {
        return Err(ApiError::missing("OptionGroupNotFoundFault", "OptionGroup", &name));
    }
    let (page, marker) = asked.form.page(all, String::clone)?;
    let shown = page.iter().map(|name| {
        Xml::new()
            .text("OptionGroupName", name)
            .text("OptionGroupDescription", format!("option group {name}"))
            .text("EngineName", "postgres")
            .text("MajorEngineVersion", "15")
            .text("OptionGroupArn", arn(&asked.region, "og", name))
    });
    let shown: Vec<Xml> = shown.collect();
    Ok(Xml::new().maybe("Marker", marker).list("OptionGroupsList", "OptionGroup", shown))
}
