//! Tags of whatever has an ARN.

use super::error::{Answered, ApiError};
use super::router::Asked;
use super::state::{Region, Tags, parse_arn};
use super::xml::Xml;

fn of<'a>(region: &'a mut Region, here: &str, arn: &str) -> Answered<&'a mut Tags> {
    let wrong =
        || ApiError::new("InvalidParameterValue", format!("{arn} is not an ARN of something in {here}"));
    let (of, kind, id) = parse_arn(arn).ok_or_else(wrong)?;
    if of != here {
        return Err(wrong());
    }
    match kind {
        "db" => Ok(&mut region.instance(id)?.settings.tags),
        "snapshot" => Ok(&mut region.snapshot(id)?.tags),
        "cluster" => Ok(&mut region.cluster(id)?.settings.tags),
        "cluster-snapshot" => Ok(&mut region.cluster_snapshot(id)?.tags),
        "pg" => {
            let group = region.parameter_groups.get_mut(id);
            group
                .map(|group| &mut group.tags)
                .ok_or_else(|| ApiError::missing("DBParameterGroupNotFound", "DBParameterGroup", id))
        }
        "cluster-pg" => {
            let group = region.cluster_parameter_groups.get_mut(id);
            group
                .map(|group| &mut group.tags)
                .ok_or_else(|| ApiError::missing("DBParameterGroupNotFound", "DBClusterParameterGroup", id))
        }
        "auto-backup" => {
            let backup = region.backups.get_mut(arn);
            backup.map(|backup| &mut backup.settings.tags).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

pub(super) fn list(asked: &Asked) -> Answered<Xml> {
    let arn = asked.form.required("ResourceName")?;
    asked.form.filters();
    let mut state = asked.shared.state();
    Ok(Xml::new().tags(of(state.region(&asked.region), &asked.region, arn)?))
}

pub(super) fn add(asked: &Asked) -> Answered<Xml> {
    let arn = asked.form.required("ResourceName")?;
    let new = asked.form.tags().unwrap_or_default();
    let mut state = asked.shared.state();
    of(state.region(&asked.region), &asked.region, arn)?.extend(new);
    Ok(Xml::new())
}

pub(super) fn remove(asked: &Asked) -> Answered<Xml> {
    let arn = asked.form.required("ResourceName")?;
    let keys = asked.form.list("TagKeys", "member").unwrap_or_default();
    let mut state = asked.shared.state();
    let tags = of(state.region(&asked.region), &asked.region, arn)?;
    tags.retain(|key, _| !keys.contains(key));
    Ok(Xml::new())
}
