//! Instances: describe them.

use std::sync::Arc;

use super::error::{Answered, ApiError};
use super::instance_xml;
use super::machine::{Key, blocking};
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

/// Archives its log where it has not been for a while, as RDS does every five minutes, while the instance
/// is in order.
pub(super) async fn archive_now(asked: &Asked, instance: &Instance) -> Answered<()> {
    let (Some(server), Some(archive)) = (&instance.server, &instance.archive) else { return Ok(()) };
    let every = chrono::TimeDelta::from_std(asked.shared.timing.archive_every).map_err(ApiError::internal)?;
    let is_fresh = archive.window().is_some_and(|(_, latest)| now() - latest < every);
    if is_fresh || instance.status != "available" || archive.bases().is_empty() {
        return Ok(());
    }
    let (server, archive) = (Arc::clone(server), Arc::clone(archive));
    let advanced = blocking(move || archive.advance(&server)).await;
    // One that is stopped or told to be deaf just does not get any further.
    if let Err(error) = advanced {
        let key = Key::of_instance(&asked.region, instance);
        let is_same = asked.shared.with_instance(&key, |now| now.status == instance.status).unwrap_or(false);
        let is_deaf = asked.shared.script().deaf.contains(&(key.region, key.id));
        if is_same && !is_deaf {
            return Err(ApiError::internal(error));
        }
    }
    Ok(())
}
