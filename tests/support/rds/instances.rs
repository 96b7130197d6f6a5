//! Instances: describe them.

use std::sync::Arc;

use super::archive::Archive;
use super::error::{Answered, ApiError};
use super::instance_xml;
use super::machine::blocking;
use super::postgres::Postgres;
use super::router::Asked;
use super::state::{Instance, now};
use super::xml::Xml;

pub(super) async fn describe(asked: &Asked) -> Answered<Xml> {
    let wanted = asked.form.owned("DBInstanceIdentifier").map(|id| id.to_lowercase());
    let filters = asked.form.filters();
    let takes = |instance: &Instance| {
        let id = wanted
            .as_ref()
            .is_none_or(|id| [&instance.id, &instance.arn, &instance.resource_id].contains(&id));
        let of = |name: &str, value: &str| {
            filters.get(name).is_none_or(|values| values.iter().any(|one| one == value))
        };
        let cluster = instance.cluster.as_deref().unwrap_or_default();
        let named = [instance.id.clone(), instance.arn.clone()];
        id && of("dbi-resource-id", &instance.resource_id)
            && of("engine", &instance.settings.engine)
            && of("db-cluster-id", cluster)
            && filters.get("db-instance-id").is_none_or(|ids| ids.iter().any(|id| named.contains(id)))
    };
    let found: Vec<Instance> = {
        let mut state = asked.shared.state();
        let all = state.region(&asked.region).instances.values_mut().filter(|one| takes(one));
        all.filter_map(seen).collect()
    };
    if let Some(id) = wanted.filter(|_| found.is_empty()) {
        return Err(ApiError::instance_missing(&id));
    }
    let (page, marker) = asked.form.page(found, |instance| instance.id.clone())?;
    let mut shown = Vec::new();
    for mut instance in page {
        archive_now(asked, &instance).await?;
        instance.status = asked.shared.script().show(&asked.region, &instance.id, &instance.status);
        let vpc = asked
            .shared
            .state()
            .region(&asked.region)
            .subnet_groups
            .get(&instance.settings.subnet_group)
            .cloned();
        shown.push(instance_xml::instance(&instance, &asked.region, vpc.as_deref()));
    }
    Ok(Xml::new().maybe("Marker", marker).list("DBInstances", "DBInstance", shown))
}

/// An instance unless it is still hidden.
fn seen(instance: &mut Instance) -> Option<Instance> {
    if instance.hidden > 0 {
        instance.hidden -= 1;
        return None;
    }
    Some(instance.clone())
}

/// Archives the log of an instance in order, as below.
pub(super) async fn archive_now(asked: &Asked, instance: &Instance) -> Answered<()> {
    match (&instance.server, &instance.archive) {
        (Some(server), Some(archive)) if instance.status == "available" => {
            advance(asked, server, archive).await
        }
        _ => Ok(()),
    }
}

/// Archives a server's log where that has not been done for a while: RDS does it every five minutes.
pub(super) async fn advance(asked: &Asked, server: &Arc<Postgres>, archive: &Arc<Archive>) -> Answered<()> {
    let every = chrono::TimeDelta::from_std(asked.shared.timing.archive_every).map_err(ApiError::internal)?;
    let is_fresh = archive.window().is_some_and(|(_, latest)| now() - latest < every);
    if is_fresh || archive.bases().is_empty() || !server.is_running() {
        return Ok(());
    }
    let (of, archive) = (Arc::clone(server), Arc::clone(archive));
    match blocking(move || archive.advance(&of)).await {
        // One that was stopped meanwhile does not get any further.
        Err(error) if server.is_running() => Err(ApiError::internal(error)),
        _ => Ok(()),
    }
}
