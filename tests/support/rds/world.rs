//! What a test does to the world and reads of it, beside the API.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Outcome;
use super::archive::Archive;
use super::machine::{Key, blocking};
use super::postgres::{Postgres, is_open};
use super::script::{Fault, Gone, When};
use super::settings::Settings;
use super::state::{Backup, Call, Instance, ParameterGroup, Quotas, Snapshot, Tags, arn, now};
use super::{RdsServer, Shared};

const SOON: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(3);

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

    /// The nightly snapshot, now.
    pub(crate) async fn automated_snapshot(&self, region: &str, id: &str) -> Outcome<()> {
        let key = Key::of_instance(region, &self.look_up(region, id)?);
        self.shared.automated_snapshot(&key).await
    }

    pub(crate) fn look_up(&self, region: &str, id: &str) -> Outcome<Instance> {
        let found = self.shared.state().region(region).instances.get(id).cloned();
        found.ok_or_else(|| format!("{region} has no instance {id}").into())
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
        let mut group = ParameterGroup::new(region, name);
        group.parameters =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.shared.state().region(region).parameter_groups.insert(name.to_owned(), group);
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

    /// From now on. Of several that are for a call the one told first is taken.
    pub(crate) fn fail(&self, when: When, fault: Fault) {
        self.shared.script().faults.push((when, fault));
    }

    /// No more faults, and every region is there.
    pub(crate) fn heal(&self) {
        let mut script = self.shared.script();
        script.faults.clear();
        script.gone.clear();
    }

    /// How many calls met with a fault so far.
    pub(crate) fn taken(&self) -> usize {
        self.shared.script().taken
    }

    /// The region's API goes away, its servers do not.
    pub(crate) fn lose_region(&self, region: &str, how: Gone) {
        self.shared.script().gone.insert(region.to_owned(), how);
    }

    pub(crate) fn find_region_again(&self, region: &str) {
        self.shared.script().gone.remove(region);
    }

    /// Copies that have begun when their source's region goes away fail; otherwise they end well.
    pub(crate) fn copies_need_their_source(&self) {
        self.shared.script().copies_need_their_source = true;
    }

    /// Nothing of this name leaves this status until it is let go.
    pub(crate) fn hold(&self, region: &str, id: &str, status: &str) {
        self.shared.script().holds.insert((region.to_owned(), id.to_owned(), status.to_owned()));
    }

    pub(crate) fn let_go(&self, region: &str, id: &str, status: &str) {
        self.shared.script().holds.remove(&(region.to_owned(), id.to_owned(), status.to_owned()));
    }

    /// Waits until something of this name has come into this status, once at least.
    pub(crate) async fn reached(&self, region: &str, id: &str, status: &str) -> Outcome<()> {
        let begun = Instant::now();
        let is_it = |seen: &(String, String, String)| seen.0 == region && seen.1 == id && seen.2 == status;
        while !self.shared.state().history.iter().any(is_it) {
            if begun.elapsed() > SOON {
                let seen = self.shared.state().history.clone();
                return Err(format!("{id} in {region} never was {status}: {seen:?}").into());
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }

    /// The statuses something of this name has had.
    pub(crate) fn history(&self, region: &str, id: &str) -> Vec<String> {
        let state = self.shared.state();
        let of_it = state.history.iter().filter(|seen| seen.0 == region && seen.1 == id);
        of_it.map(|seen| seen.2.clone()).collect()
    }

    /// Where `available` would come, this comes and stays.
    pub(crate) fn ends_as(&self, region: &str, id: &str, status: &str) {
        self.shared.script().ends.insert((region.to_owned(), id.to_owned()), status.to_owned());
    }

    /// An instance that is there goes into this status and stays.
    pub(crate) fn set_status(&self, region: &str, id: &str, status: &str) -> Outcome<()> {
        let key = Key::of_instance(region, &self.look_up(region, id)?);
        self.shared.end_instance(&key, status);
        Ok(())
    }

    /// The next descriptions show these, one each.
    pub(crate) fn show(&self, region: &str, id: &str, statuses: &[&str]) {
        let statuses: VecDeque<String> = statuses.iter().map(|status| (*status).to_owned()).collect();
        self.shared.script().shown.insert((region.to_owned(), id.to_owned()), statuses);
    }

    /// An instance of this name will be available and take no connections.
    pub(crate) fn deafen(&self, region: &str, id: &str) {
        self.shared.script().deaf.insert((region.to_owned(), id.to_owned()));
    }

    /// So many descriptions do not show what was made a moment ago.
    pub(crate) fn hide_new_for(&self, descriptions: usize) {
        self.shared.script().hides_new_for = descriptions;
    }

    /// Its log is archived no more, or again.
    pub(crate) fn stall_archive(&self, region: &str, id: &str, is_stalled: bool) -> Outcome<()> {
        let instance = self.look_up(region, id)?;
        instance.archive.ok_or("it keeps no automated backups")?.stall(is_stalled);
        Ok(())
    }

    /// What a region has replicated of other regions' automated backups falls behind, or follows again.
    pub(crate) fn stall_replicas(&self, region: &str, is_stalled: bool) {
        let mut state = self.shared.state();
        let replicas = state.region(region).backups.values().filter(|backup| backup.region != region);
        replicas.for_each(|backup| backup.archive.stall(is_stalled));
    }

    /// IAM's simulator denies this action, `rds:DeleteDBSnapshot`.
    pub(crate) fn deny(&self, action: &str) {
        self.shared.script().denied.insert(action.to_owned());
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
        let group = group.or_insert_with(|| ParameterGroup::new(region, name));
        group.parameters.extend(settings.parameters.clone());
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
        let named = instances.chain(snapshots).filter(|(id, arn, _)| is_named(id, arn));
        named.map(|(_, arn, tags)| (arn.clone(), tags.clone())).collect()
    }
}
