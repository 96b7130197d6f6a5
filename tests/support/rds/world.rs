//! What a test does to the world and reads of it, beside the API.

use std::sync::Arc;

use super::super::Outcome;
use super::archive::Archive;
use super::cluster_state::Cluster;
use super::machine::{Key, blocking};
use super::postgres::{Postgres, is_open};
use super::settings::Settings;
use super::state::{Backup, Call, Instance, ParameterGroup, Quotas, Snapshot, Tags, arn, now};
use super::{RdsServer, Shared};

impl RdsServer {
    /// An instance that has been there for a while: available, with its groups, and with a first automated
    /// backup where it keeps any.
    pub(crate) async fn instance(&self, region: &str, id: &str, settings: Settings) -> Outcome<Instance> {
        self.shared.groups_of(region, &settings);
        let storage = Arc::clone(&self.shared.storage);
        let of = settings.clone();
        let (server, archive) = blocking(move || {
            let server = Postgres::create(&storage, &of)?;
            let archive = Archive::new(&storage)?;
            let keeps = (of.backup_retention > 0).then(|| archive.log());
            server.configure(&of.parameters, keeps, None)?;
            server.start(is_open(&of))?;
            Ok((Arc::new(server), Arc::new(archive)))
        })
        .await?;
        let instance = self.shared.add_instance(region, id, settings, None);
        let key = Key::of_instance(region, &instance);
        self.shared.with_instance(&key, |instance| instance.server = Some(server));
        self.shared.keep_backups(&key, &archive);
        if instance.settings.backup_retention > 0 {
            self.shared.automated_snapshot(&key).await?;
        }
        self.shared.end_instance(&key, "available");
        self.look_up(region, id)
    }

    /// A cluster with these instances, all available. The server behind them is one.
    pub(crate) async fn cluster(
        &self,
        region: &str,
        id: &str,
        settings: Settings,
        members: &[&str],
    ) -> Outcome<Cluster> {
        let (storage, of) = (Arc::clone(&self.shared.storage), settings.clone());
        let server = blocking(move || Ok(Arc::new(Postgres::create(&storage, &of)?))).await?;
        self.shared.cluster_groups_of(region, &settings);
        let cluster = self.shared.add_cluster(region, id, settings.clone());
        let key = Key::of_cluster(region, &cluster);
        self.shared.with_cluster(&key, |cluster| cluster.server = Some(server));
        self.shared.end_cluster(&key, "available");
        let settings = Settings {
            parameter_group: "default.aurora-postgresql15".to_owned(),
            deletion_protection: false,
            ..settings
        };
        for member in members {
            let instance = self.shared.add_instance(region, member, settings.clone(), Some(id.to_owned()));
            let member = Key::of_instance(region, &instance);
            super::clusters::join(Arc::clone(&self.shared), member, key.clone()).await?;
        }
        self.look_up_cluster(region, id)
    }

    pub(crate) fn look_up_cluster(&self, region: &str, id: &str) -> Outcome<Cluster> {
        let found = self.shared.state().region(region).clusters.get(id).cloned();
        found.ok_or_else(|| format!("{region} has no cluster {id}").into())
    }

    pub(crate) fn cluster_snapshots(&self, region: &str) -> Vec<Snapshot> {
        self.shared.state().region(region).cluster_snapshots.values().cloned().collect()
    }

    /// The nightly snapshot, now.
    pub(crate) async fn automated_snapshot(&self, region: &str, id: &str) -> Outcome<()> {
        let key = Key::of_instance(region, &self.look_up(region, id)?);
        self.shared.automated_snapshot(&key).await
    }

    pub(crate) fn look_up(&self, region: &str, id: &str) -> Outcome<Instance> {
        let found = self.shared.state().region(region).instances.get(id).cloned();
        found.ok_or_else(|| format!("{region} has no instance {id}").into())
    }

    /// What Secrets Manager has of an ARN: the master's password of the instance that RDS keeps it of.
    pub(crate) fn kept_passwords(&self) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static {
        let shared = std::sync::Arc::clone(&self.shared);
        move |secret| {
            let state = shared.state();
            let mut all = state.regions.values().flat_map(|region| region.instances.values());
            let kept = all.find(|one| {
                one.settings.manages_password && secret.contains(&one.resource_id.to_lowercase())
            })?;
            let (username, password) = (&kept.settings.master_user, &kept.settings.master_password);
            Some(serde_json::json!({ "username": username, "password": password }).to_string())
        }
    }

    pub(crate) fn snapshots(&self, region: &str) -> Vec<Snapshot> {
        self.shared.state().region(region).snapshots.values().cloned().collect()
    }

    pub(crate) fn instances(&self, region: &str) -> Vec<Instance> {
        self.shared.state().region(region).instances.values().cloned().collect()
    }

    /// Deletes a snapshot under the client, as another administrator would.
    pub(crate) fn take_snapshot_away(&self, region: &str, id: &str) -> Outcome<()> {
        let gone = self.shared.state().region(region).snapshots.remove(id);
        gone.map(|_| ()).ok_or_else(|| format!("{region} has no snapshot {id}").into())
    }

    /// Makes groups that instances in this region may be restored into.
    pub(crate) fn add_subnet_group(&self, region: &str, name: &str) {
        let vpc = format!("vpc-{name}");
        self.shared.state().region(region).subnet_groups.insert(name.to_owned(), vpc);
    }

    pub(crate) fn add_parameter_group(&self, region: &str, name: &str, parameters: &[(&str, &str)]) {
        let mut group = ParameterGroup::new(region, "pg", name, "postgres15");
        group.parameters =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.shared.state().region(region).parameter_groups.insert(name.to_owned(), group);
    }

    /// Puts an instance of a cluster in a parameter group of its own, with these parameters.
    pub(crate) fn set_parameter_group(
        &self,
        region: &str,
        id: &str,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> Outcome<()> {
        self.add_parameter_group(region, name, parameters);
        let mut state = self.shared.state();
        let groups = &mut state.region(region).parameter_groups;
        if let Some(group) = groups.get_mut(name) {
            "aurora-postgresql15".clone_into(&mut group.family);
        }
        let instance = state.region(region).instances.get_mut(id).ok_or("no such instance")?;
        name.clone_into(&mut instance.settings.parameter_group);
        Ok(())
    }

    /// The parameters of a group, and whether it has a tag; of one for clusters, or for instances.
    pub(crate) fn group(&self, region: &str, name: &str, of_cluster: bool) -> Option<ParameterGroup> {
        let mut state = self.shared.state();
        let region = state.region(region);
        let groups = if of_cluster { &region.cluster_parameter_groups } else { &region.parameter_groups };
        groups.get(name).cloned()
    }

    pub(crate) fn add_cluster_parameter_group(&self, region: &str, name: &str) {
        let group = ParameterGroup::new(region, "cluster-pg", name, "aurora-postgresql15");
        self.shared.state().region(region).cluster_parameter_groups.insert(name.to_owned(), group);
    }

    pub(crate) fn add_option_group(&self, region: &str, name: &str) {
        self.shared.state().region(region).option_groups.insert(name.to_owned());
    }

    pub(crate) fn set_quotas(&self, region: &str, quotas: Quotas) {
        self.shared.state().region(region).quotas = quotas;
    }

    /// The calls so far that change something, or would have.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// What went wrong in this double itself. A test that ends well has none.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.shared.script().failures.clone()
    }
}

impl Shared {
    fn groups_of(&self, region: &str, settings: &Settings) {
        let mut state = self.state();
        let groups = state.region(region);
        let (subnets, options) = (&settings.subnet_group, &settings.option_group);
        groups.subnet_groups.entry(subnets.clone()).or_insert_with(|| format!("vpc-{subnets}"));
        groups.option_groups.insert(options.clone());
        let name = &settings.parameter_group;
        let group = groups.parameter_groups.entry(name.clone());
        let group = group.or_insert_with(|| ParameterGroup::new(region, "pg", name, "postgres15"));
        group.parameters.extend(settings.parameters.clone());
    }

    fn cluster_groups_of(&self, region: &str, settings: &Settings) {
        let mut state = self.state();
        let groups = state.region(region);
        let (subnets, name) = (&settings.subnet_group, &settings.parameter_group);
        groups.subnet_groups.entry(subnets.clone()).or_insert_with(|| format!("vpc-{subnets}"));
        let group = groups.cluster_parameter_groups.entry(name.clone());
        let new = || ParameterGroup::new(region, "cluster-pg", name, "aurora-postgresql15");
        group.or_insert_with(new).parameters.extend(settings.parameters.clone());
    }

    /// An instance without a server yet.
    pub(super) fn add_instance(
        &self,
        region: &str,
        id: &str,
        settings: Settings,
        cluster: Option<String>,
    ) -> Instance {
        let hidden = self.script().hides_new_for;
        let mut state = self.state();
        let serial = state.serial();
        let instance = Instance {
            id: id.to_owned(),
            arn: arn(region, "db", id),
            resource_id: format!("db-{serial:026X}"),
            settings,
            pending: None,
            pending_id: None,
            status: "creating".to_owned(),
            parameters_status: "in-sync".to_owned(),
            created: now(),
            cluster,
            is_busy: false,
            replicated_to: Default::default(),
            initializing: None,
            server: None,
            archive: None,
            hidden,
        };
        state.region(region).instances.insert(id.to_owned(), instance.clone());
        instance
    }

    /// Makes an archive the one of an instance, and lists it among the region's automated backups.
    pub(super) fn keep_backups(&self, key: &Key, archive: &Arc<Archive>) {
        let Some(instance) = self.with_instance(key, |instance| {
            instance.archive = (instance.settings.backup_retention > 0).then(|| Arc::clone(archive));
            instance.clone()
        }) else {
            return;
        };
        if instance.archive.is_none() {
            return;
        }
        let name = arn(&key.region, "auto-backup", &format!("ab-{}", instance.resource_id.to_lowercase()));
        let backup = Backup {
            arn: name.clone(),
            instance: instance.id.clone(),
            instance_arn: instance.arn.clone(),
            resource_id: instance.resource_id.clone(),
            region: key.region.clone(),
            status: "active".to_owned(),
            instance_created: instance.created,
            settings: instance.settings.clone(),
            archive: Arc::clone(archive),
        };
        self.state().region(&key.region).backups.insert(name, backup);
    }

    /// What the values of a call's parameters name, with its tags.
    pub(super) fn touched(
        &self,
        region: &str,
        parameters: &std::collections::BTreeMap<String, String>,
    ) -> Vec<(String, Tags)> {
        let mut state = self.state();
        let region = state.region(region);
        let instances = region.instances.values().map(|one| (&one.id, &one.arn, &one.settings.tags));
        let snapshots = region.snapshots.values().map(|one| (&one.id, &one.arn, &one.tags));
        let is_named =
            |id: &String, arn: &String| parameters.values().any(|value| value == id || value == arn);
        let clusters = region.clusters.values().map(|one| (&one.id, &one.arn, &one.settings.tags));
        let of_clusters = region.cluster_snapshots.values().map(|one| (&one.id, &one.arn, &one.tags));
        let named = instances
            .chain(snapshots)
            .chain(clusters)
            .chain(of_clusters)
            .filter(|(id, arn, _)| is_named(id, arn));
        named.map(|(_, arn, tags)| (arn.clone(), tags.clone())).collect()
    }
}
