//! Clusters: describe, change, delete, and give them instances.

use std::sync::Arc;

use super::super::Outcome;
use super::Shared;
use super::archive::Archive;
use super::cluster_snapshots::{automated, begin_snapshot};
use super::cluster_state::{Cluster, cluster_missing};
use super::cluster_xml;
use super::error::{Answered, ApiError};
use super::form::check_identifier;
use super::instance_xml;
use super::instances::advance;
use super::machine::{Key, blocking};
use super::modify::{describe_only, reworked, set};
use super::postgres::is_open;
use super::restores::check_new;
use super::router::Asked;
use super::settings::Settings;
use super::state::arn;
use super::xml::Xml;

pub(super) async fn describe(asked: &Asked) -> Answered<Xml> {
    let wanted = asked.form.owned("DBClusterIdentifier").map(|id| id.to_lowercase());
    let _shared = asked.form.flag("IncludeShared")?;
    let filters = asked.form.filters();
    let takes = |cluster: &Cluster| {
        let is = |name: &str, value: &String| filters.get(name).is_none_or(|all| all.contains(value));
        wanted.as_ref().is_none_or(|id| [&cluster.id, &cluster.arn, &cluster.resource_id].contains(&id))
            && (is("db-cluster-id", &cluster.id) || is("db-cluster-id", &cluster.arn))
            && is("db-cluster-resource-id", &cluster.resource_id)
            && is("engine", &cluster.settings.engine)
    };
    let found: Vec<Cluster> = {
        let mut state = asked.shared.state();
        let all = state.region(&asked.region).clusters.values_mut().filter(|one| takes(one));
        let seen = |cluster: &mut Cluster| {
            let is_seen = cluster.hidden == 0;
            cluster.hidden = cluster.hidden.saturating_sub(1);
            is_seen.then(|| cluster.clone())
        };
        all.filter_map(seen).collect()
    };
    if let Some(id) = wanted.filter(|_| found.is_empty()) {
        return Err(cluster_missing(&id));
    }
    let (page, marker) = asked.form.page(found, |cluster| cluster.id.clone())?;
    let mut shown = Vec::new();
    for mut cluster in page {
        if let (Some(server), Some(archive)) = (&cluster.server, &cluster.archive)
            && cluster.status == "available"
        {
            advance(asked, server, archive).await?;
        }
        cluster.status = asked.shared.script().show(&asked.region, &cluster.id, &cluster.status);
        let members = asked.shared.state().region(&asked.region).members(&cluster.id);
        shown.push(cluster_xml::cluster(&cluster, &asked.region, &members));
    }
    Ok(Xml::new().maybe("Marker", marker).list("DBClusters", "DBCluster", shown))
}

/// Instances exist in clusters only; others are made by the test.
pub(super) fn create_instance(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let id = form.identifier("DBInstanceIdentifier")?;
    check_identifier("DBInstanceIdentifier", &id, 63)?;
    let name = form.identifier("DBClusterIdentifier")?;
    let (class, engine) = (form.required("DBInstanceClass")?.to_owned(), form.required("Engine")?.to_owned());
    let cluster = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        check_new(region, &id)?;
        let cluster = region.cluster(&name)?.clone();
        if engine != cluster.settings.engine {
            let words = format!("The engine {engine} is not the cluster's, {}.", cluster.settings.engine);
            return Err(ApiError::new("InvalidParameterCombination", words));
        }
        if cluster.status == "deleting" || cluster.status.starts_with("incompatible") {
            let words = format!("The cluster {name} is {}.", cluster.status);
            return Err(ApiError::new("InvalidDBClusterStateFault", words));
        }
        cluster
    };
    let mut settings = Settings {
        class,
        tags: form.tags().unwrap_or_default(),
        parameter_group: form
            .owned("DBParameterGroupName")
            .unwrap_or_else(|| "default.aurora-postgresql15".to_owned()),
        // It is the cluster that is protected, or not.
        deletion_protection: false,
        monitoring_interval: 0,
        performance_insights: false,
        insights_mode: "standard".to_owned(),
        multi_az: false,
        availability_zone: form.owned("AvailabilityZone"),
        ..cluster.settings.clone()
    };
    form.get("PromotionTier");
    form.get("EngineVersion");
    form.get("DBSubnetGroupName");
    describe_only(form, &mut settings)?;
    reworked(form, &mut settings)?;
    set(&mut settings.ca_certificate, form.owned("CACertificateIdentifier"));
    let instance = asked.shared.add_instance(&asked.region, &id, settings, Some(name));
    let (key, cluster) =
        (Key::of_instance(&asked.region, &instance), Key::of_cluster(&asked.region, &cluster));
    asked.shared.run(&format!("the instance {id}"), join(Arc::clone(&asked.shared), key, cluster));
    Ok(Xml::new().within("DBInstance", instance_xml::instance(&instance, &asked.region, None)))
}

/// An instance comes to its cluster's volume once that is there.
pub(super) async fn join(shared: Arc<Shared>, key: Key, cluster: Key) -> Outcome<()> {
    if !shared.instance_stays(&key, "creating", shared.timing.creating).await {
        return Ok(());
    }
    let server = loop {
        let Some(now) = shared.with_cluster(&cluster, |cluster| cluster.clone()) else { return Ok(()) };
        match now.server.clone().filter(|_| now.status != "creating") {
            Some(server) => break server,
            None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
        if shared.with_instance(&key, |_| ()).is_none() {
            return Ok(());
        }
    };
    shared.serve_cluster(&cluster).await?;
    shared.with_instance(&key, |instance| instance.server = Some(server));
    shared.end_instance(&key, &shared.end_of(&key));
    Ok(())
}

impl Shared {
    /// Starts a cluster's server where it does not run, and takes its first backup.
    async fn serve_cluster(&self, key: &Key) -> Outcome<()> {
        let Some(cluster) = self.with_cluster(key, |cluster| cluster.clone()) else { return Ok(()) };
        let Some(server) = cluster.server.clone() else { return Ok(()) };
        let parameters = {
            let mut state = self.state();
            let groups = &state.region(&key.region).cluster_parameter_groups;
            groups
                .get(&cluster.settings.parameter_group)
                .map(|group| group.parameters.clone())
                .unwrap_or_default()
        };
        let archive = match cluster.archive {
            Some(archive) => archive,
            None => Arc::new(Archive::new(&self.storage)?),
        };
        let archive = self
            .with_cluster(key, |cluster| Arc::clone(cluster.archive.get_or_insert(archive)))
            .ok_or("the cluster is gone")?;
        let is_open = is_open(&cluster.settings);
        let base = blocking(move || {
            server.ensure(&parameters, archive.log(), is_open)?;
            if !archive.bases().is_empty() {
                return Ok(None);
            }
            let base = archive.take_base(&server)?;
            archive.advance(&server)?;
            Ok(Some(base))
        })
        .await?;
        if let Some(base) = base {
            automated(self, key, base);
        }
        Ok(())
    }

    /// The old name is gone at once. Its instances keep theirs.
    fn rename_cluster(&self, key: &Key, new: &str) -> Key {
        let mut state = self.state();
        let region = state.region(&key.region);
        let Some(mut cluster) = region.clusters.remove(&key.id) else { return key.clone() };
        new.clone_into(&mut cluster.id);
        cluster.arn = arn(&key.region, "cluster", new);
        let members = region.instances.values_mut();
        for member in members.filter(|one| one.cluster.as_deref() == Some(&key.id)) {
            member.cluster = Some(new.to_owned());
        }
        region.clusters.insert(new.to_owned(), cluster);
        Key { id: new.to_owned(), ..key.clone() }
    }

    /// The last instance takes the server with it; the volume stays.
    pub(super) fn leave(&self, region: &str, cluster: &str) {
        let mut state = self.state();
        let region = state.region(region);
        if !region.members(cluster).is_empty() {
            return;
        }
        if let Some(server) = region.clusters.get(cluster).and_then(|cluster| cluster.server.clone()) {
            tokio::task::spawn_blocking(move || server.stop());
        }
    }
}

pub(super) fn modify(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let id = form.identifier("DBClusterIdentifier")?;
    // Nothing that waits for a maintenance window can be changed here.
    let _now = form.is_set("ApplyImmediately")?;
    let renamed = form.owned("NewDBClusterIdentifier").map(|id| id.to_lowercase());
    let (cluster, target) = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        let groups = region.cluster_parameter_groups.clone();
        if let Some(new) = &renamed {
            check_identifier("NewDBClusterIdentifier", new, 63)?;
            if region.clusters.contains_key(new) {
                let words = format!("DBCluster {new} already exists");
                return Err(ApiError::new("DBClusterAlreadyExistsFault", words));
            }
        }
        let cluster = region.cluster(&id)?;
        if cluster.status != "available" {
            let words = format!("DBCluster {id} is not available: it is {}.", cluster.status);
            return Err(ApiError::new("InvalidDBClusterStateFault", words));
        }
        let mut at_once = cluster.settings.clone();
        describe_only(form, &mut at_once)?;
        let mut target = at_once.clone();
        reworked(form, &mut target)?;
        set(&mut target.iam_authentication, form.flag("EnableIAMDatabaseAuthentication")?);
        set(&mut target.parameter_group, form.owned("DBClusterParameterGroupName"));
        if !groups.contains_key(&target.parameter_group) {
            let name = &target.parameter_group;
            return Err(ApiError::missing(
                "DBClusterParameterGroupNotFound",
                "DBClusterParameterGroup",
                name,
            ));
        }
        cluster.settings = at_once;
        (cluster.clone(), target)
    };
    if cluster.settings != target || renamed.is_some() {
        let key = Key::of_cluster(&asked.region, &cluster);
        let status = if renamed.is_some() { "renaming" } else { "modifying" };
        asked.shared.with_cluster(&key, |cluster| status.clone_into(&mut cluster.status));
        let job = change(Arc::clone(&asked.shared), key, target, renamed);
        asked.shared.run(&format!("the modification of {id}"), job);
    }
    Ok(Xml::new().within("DBCluster", cluster_xml::cluster(&cluster, &asked.region, &[])))
}

async fn change(shared: Arc<Shared>, key: Key, target: Settings, renamed: Option<String>) -> Outcome<()> {
    let status = if renamed.is_some() { "renaming" } else { "modifying" };
    if !shared.cluster_stays(&key, status, shared.timing.modifying).await {
        return Ok(());
    }
    let Some(before) = shared.with_cluster(&key, |cluster| cluster.clone()) else { return Ok(()) };
    let of = target.clone();
    if let (Some(server), Some(archive)) = (before.server, before.archive) {
        blocking(move || {
            if !server.is_running() {
                server.start(false)?;
                server.set_password(&of.master_user, &of.master_password)?;
                server.stop();
                return Ok(());
            }
            server.set_password(&of.master_user, &of.master_password)?;
            if is_open(&before.settings) != is_open(&of) {
                server.stop();
                server.configure_again(None, Some(archive.log()))?;
                server.start(is_open(&of))?;
            }
            Ok(())
        })
        .await?;
    }
    shared.with_cluster(&key, |cluster| {
        cluster.settings = Settings { tags: cluster.settings.tags.clone(), ..target };
    });
    let key = match renamed {
        Some(new) => shared.rename_cluster(&key, &new),
        None => key,
    };
    shared.end_cluster(&key, &shared.end_of(&key));
    Ok(())
}

pub(super) fn delete(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let id = form.identifier("DBClusterIdentifier")?;
    let (skips, last) = (form.is_set("SkipFinalSnapshot")?, form.owned("FinalDBSnapshotIdentifier"));
    let deletes = form.flag("DeleteAutomatedBackups")?.unwrap_or(true);
    let cluster = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        let cluster = region.cluster(&id)?.clone();
        if cluster.settings.deletion_protection {
            let words = "Cannot delete protected Cluster, please disable deletion protection and try again.";
            return Err(ApiError::new("InvalidParameterCombination", words));
        }
        let members = region.instances.values().filter(|one| one.cluster.as_deref() == Some(&id));
        let stays = members.filter(|one| one.status != "deleting").count() > 0;
        if cluster.is_aurora() && stays {
            let words = "Cluster cannot be deleted, it still contains DB instances in non-deleting state.";
            return Err(ApiError::new("InvalidDBClusterStateFault", words));
        }
        cluster
    };
    if skips == last.is_some() {
        let words = "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified, and cannot be given with it.";
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    let last = match last {
        Some(name) => Some(begin_snapshot(asked, &name.to_lowercase(), &id, Default::default())?),
        None => None,
    };
    let key = Key::of_cluster(&asked.region, &cluster);
    let last = last.map(|snapshot| Key::of_snapshot(&asked.region, &snapshot));
    asked
        .shared
        .run(&format!("the deletion of {id}"), take_down(Arc::clone(&asked.shared), key, last, deletes));
    let shown = Cluster { status: "deleting".to_owned(), ..cluster };
    Ok(Xml::new().within("DBCluster", cluster_xml::cluster(&shown, &asked.region, &[])))
}

async fn take_down(shared: Arc<Shared>, key: Key, last: Option<Key>, deletes: bool) -> Outcome<()> {
    shared.with_cluster(&key, |cluster| "deleting".clone_into(&mut cluster.status));
    let is_taken =
        |snapshot: &Key| shared.with_snapshot(snapshot, |one| one.status != "creating").unwrap_or(true);
    while last.as_ref().is_some_and(|last| !is_taken(last)) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    if !shared.cluster_stays(&key, "deleting", shared.timing.deleting).await {
        return Ok(());
    }
    let gone = {
        let mut state = shared.state();
        let region = state.region(&key.region);
        region.cluster_snapshots.retain(|_, one| one.kind != "automated" || one.resource_id != key.identity);
        let members = region.members(&key.id);
        let instances: Vec<_> = members.iter().filter_map(|id| region.instances.remove(id)).collect();
        let cluster = region.clusters.remove(&key.id);
        let kept = cluster.as_ref().filter(|_| !deletes).and_then(|one| one.backup(&key.region, "retained"));
        region.cluster_backups.extend(kept.map(|kept| (key.identity.clone(), kept)));
        (cluster, instances)
    };
    shared.remember(&key, "deleted");
    tokio::task::spawn_blocking(move || drop(gone)).await?;
    Ok(())
}
