//! Snapshots of instances: create, describe, delete.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::Outcome;
use super::Shared;
use super::cluster_state::Cluster;
use super::error::{Answered, ApiError};
use super::form::check_identifier;
use super::machine::{Key, blocking};
use super::postgres::Postgres;
use super::router::Asked;
use super::settings::Settings;
use super::snapshot_xml;
use super::state::{Event, Instance, Region, Snapshot, arn, now, parse_arn};
use super::xml::Xml;

/// What a snapshot is of.
pub(super) struct Subject<'a> {
    /// As in ARNs of its snapshots.
    kind: &'static str,
    id: &'a str,
    resource_id: &'a str,
    created: DateTime<Utc>,
    settings: &'a Settings,
}

impl<'a> Subject<'a> {
    fn instance(of: &'a Instance) -> Self {
        let (id, resource_id) = (&of.id, &of.resource_id);
        Self { kind: "snapshot", id, resource_id, created: of.created, settings: &of.settings }
    }

    pub(super) fn cluster(of: &'a Cluster) -> Self {
        let (id, resource_id) = (&of.id, &of.resource_id);
        Self { kind: "cluster-snapshot", id, resource_id, created: of.created, settings: &of.settings }
    }
}

/// A snapshot that has nothing in it yet.
pub(super) fn blank(region: &str, id: &str, kind: &str, of: Subject<'_>, serial: u64) -> Snapshot {
    let copies_tags = of.settings.copy_tags_to_snapshot;
    Snapshot {
        id: id.to_owned(),
        arn: arn(region, of.kind, id),
        kind: kind.to_owned(),
        instance: of.id.to_owned(),
        resource_id: of.resource_id.to_owned(),
        instance_created: of.created,
        status: "creating".to_owned(),
        progress: Some(0),
        created: None,
        original_created: None,
        database_time: None,
        settings: of.settings.clone(),
        tags: if copies_tags { of.settings.tags.clone() } else { Default::default() },
        copied_from: None,
        shared_with: Default::default(),
        data: None,
        serial,
        hidden: 0,
    }
}

pub(super) fn check_new(region: &Region, id: &str) -> Answered<()> {
    if region.snapshots.contains_key(id) {
        let words =
            format!("Cannot create the snapshot because a snapshot with the identifier {id} already exists.");
        return Err(ApiError::new("DBSnapshotAlreadyExists", words));
    }
    let manual = region.snapshots.values().filter(|snapshot| snapshot.kind == "manual").count();
    if manual >= region.quotas.manual_snapshots {
        return Err(ApiError::new(
            "SnapshotQuotaExceeded",
            "Cannot create more than the allowed number of manual snapshots",
        ));
    }
    Ok(())
}

pub(super) fn create(asked: &Asked) -> Answered<Xml> {
    let id = asked.form.identifier("DBSnapshotIdentifier")?;
    let of = asked.form.identifier("DBInstanceIdentifier")?;
    let tags = asked.form.tags().unwrap_or_default();
    check_identifier("DBSnapshotIdentifier", &id, 255)?;
    let snapshot = asked.shared.begin_snapshot(&asked.region, &id, &of, tags)?;
    Ok(Xml::new().within("DBSnapshot", snapshot_xml::snapshot(&snapshot)))
}

impl Shared {
    /// Lets a manual snapshot begin.
    pub(super) fn begin_snapshot(
        self: &Arc<Self>,
        region: &str,
        id: &str,
        of: &str,
        tags: super::Tags,
    ) -> Answered<Snapshot> {
        let hidden = self.script().hides_new_for;
        let (snapshot, instance) = {
            let mut state = self.state();
            let serial = state.serial();
            let region_state = state.region(region);
            let instance = region_state.instance(of)?.clone();
            if !["available", "storage-optimization"].contains(&instance.status.as_str()) {
                let words = format!(
                    "Cannot create a snapshot because the database instance {of} is not currently in the available state."
                );
                return Err(ApiError::new("InvalidDBInstanceState", words));
            }
            if let Some(cluster) = &instance.cluster {
                let words = format!(
                    "The specified instance is a member of a cluster and a snapshot cannot be created directly. Please use the CreateDBClusterSnapshot API instead: {of} is of {cluster}."
                );
                return Err(ApiError::new("InvalidParameterValue", words));
            }
            check_new(region_state, id)?;
            let mut snapshot = blank(region, id, "manual", Subject::instance(&instance), serial);
            snapshot.tags.extend(tags);
            snapshot.hidden = hidden;
            region_state.snapshots.insert(id.to_owned(), snapshot.clone());
            (snapshot, instance)
        };
        let key = Key::of_snapshot(region, &snapshot);
        let job = take(Arc::clone(self), key, instance.server);
        self.run(&format!("the snapshot {id}"), job);
        Ok(snapshot)
    }

    /// A nightly snapshot, which is also what a restore to a point in time starts from.
    pub(super) async fn automated_snapshot(self: &Arc<Self>, key: &Key) -> Outcome<()> {
        let instance = self.with_instance(key, |instance| instance.clone()).ok_or("the instance is gone")?;
        let (Some(server), Some(archive)) = (instance.server.clone(), instance.archive.clone()) else {
            return Err("it keeps no automated backups".into());
        };
        let base = blocking(move || {
            let base = archive.take_base(&server)?;
            archive.advance(&server)?;
            Ok(base)
        })
        .await?;
        let name = base.from.format("%Y-%m-%d-%H-%M");
        let mut state = self.state();
        let serial = state.serial();
        let snapshots = &mut state.region(&key.region).snapshots;
        let mut id = format!("rds:{}-{name}", instance.id);
        while snapshots.contains_key(&id) {
            id.push_str("-2");
        }
        let mut snapshot = blank(&key.region, &id, "automated", Subject::instance(&instance), serial);
        "available".clone_into(&mut snapshot.status);
        snapshot.progress = Some(100);
        snapshot.created = Some(base.until);
        snapshot.original_created = Some(base.until);
        snapshot.database_time = Some(base.from);
        snapshot.data = Some(base.data);
        snapshots.insert(id, snapshot);
        Ok(())
    }
}

/// The copy is taken at once, as RDS does: what is written while the snapshot is `creating` is not in it.
pub(super) async fn take(shared: Arc<Shared>, key: Key, server: Option<Arc<Postgres>>) -> Outcome<()> {
    let server = server.ok_or("there is no server to take it from")?;
    // All that was committed before the copy began is in it.
    let database_time = now();
    let copied = blocking(move || server.copy("snapshot")).await;
    let (data, failure) = match copied {
        Ok(data) => (Some(Arc::new(data)), None),
        Err(error) => (None, Some(error)),
    };
    let taken = now();
    shared.with_snapshot(&key, |snapshot| {
        snapshot.data = data;
        snapshot.created = Some(taken);
        snapshot.original_created = Some(taken);
    });
    if !shared.snapshot_stays(&key, "creating", shared.timing.snapshot_creating).await {
        return Ok(());
    }
    if let Some(error) = failure {
        shared.end_snapshot(&key, "failed");
        return Err(error);
    }
    shared.with_snapshot(&key, |snapshot| snapshot.database_time = Some(database_time));
    shared.end_snapshot(&key, &shared.end_of(&key));
    let event = Event {
        source: key.id.clone(),
        kind: "db-snapshot".to_owned(),
        message: "Manual snapshot created".to_owned(),
        category: "creation".to_owned(),
        at: now(),
        arn: arn(&key.region, "snapshot", &key.id),
    };
    shared.tell(&key.region, event);
    Ok(())
}

/// A snapshot by its name, or by its ARN in this region.
pub(super) fn named(region: &str, name: &str) -> String {
    match parse_arn(name) {
        Some((of, "snapshot", id)) if of == region => id.to_owned(),
        _ => name.to_lowercase(),
    }
}

pub(super) fn describe(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let id = form.get("DBSnapshotIdentifier").map(|name| named(&asked.region, name));
    let of = form.owned("DBInstanceIdentifier").map(|id| id.to_lowercase());
    let resource = form.owned("DbiResourceId");
    let kind = form.owned("SnapshotType");
    let (_shared, _public) = (form.is_set("IncludeShared")?, form.is_set("IncludePublic")?);
    let filters = form.filters();
    let takes = |snapshot: &Snapshot| {
        let is =
            |name: &str, value: &str| filters.get(name).is_none_or(|all| all.iter().any(|one| one == value));
        // Without a type RDS lists manual and automated ones. By name it finds an automated one only when
        // asked for that type.
        let is_of_kind = match (kind.as_deref(), &id) {
            (Some(kind), _) => snapshot.kind == kind,
            (None, Some(_)) => snapshot.kind == "manual",
            (None, None) => snapshot.kind != "awsbackup",
        };
        is_of_kind
            && id.as_ref().is_none_or(|id| *id == snapshot.id)
            && of.as_ref().is_none_or(|of| *of == snapshot.instance)
            && resource.as_ref().is_none_or(|resource| *resource == snapshot.resource_id)
            && is("db-snapshot-id", &snapshot.id)
            && is("db-instance-id", &snapshot.instance)
            && is("dbi-resource-id", &snapshot.resource_id)
            && is("snapshot-type", &snapshot.kind)
            && is("engine", &snapshot.settings.engine)
    };
    let found: Vec<Snapshot> = {
        let mut state = asked.shared.state();
        let all = state.region(&asked.region).snapshots.values_mut().filter(|one| takes(one));
        all.filter_map(seen).collect()
    };
    if let Some(id) = id.filter(|_| found.is_empty()) {
        return Err(ApiError::snapshot_missing(&id));
    }
    let (page, marker) = form.page(found, |snapshot| snapshot.id.clone())?;
    let shown = page.into_iter().map(|mut snapshot| {
        snapshot.status = asked.shared.script().show(&asked.region, &snapshot.id, &snapshot.status);
        snapshot_xml::snapshot(&snapshot)
    });
    let shown: Vec<Xml> = shown.collect();
    Ok(Xml::new().maybe("Marker", marker).list("DBSnapshots", "DBSnapshot", shown))
}

/// A snapshot unless it is still hidden. What is on its way gets on with each look at it.
pub(super) fn seen(snapshot: &mut Snapshot) -> Option<Snapshot> {
    if snapshot.hidden > 0 {
        snapshot.hidden -= 1;
        return None;
    }
    let shown = snapshot.clone();
    if ["creating", "copying"].contains(&snapshot.status.as_str()) {
        snapshot.progress = snapshot.progress.map(|percent| (percent + 20).min(95));
    }
    Some(shown)
}

pub(super) fn delete(asked: &Asked) -> Answered<Xml> {
    let id = named(&asked.region, asked.form.required("DBSnapshotIdentifier")?);
    let mut state = asked.shared.state();
    let region = state.region(&asked.region);
    let snapshot = region.snapshot(&id)?.clone();
    if snapshot.kind != "manual" {
        let words = format!("Only manual snapshots can be deleted; {id} is {}.", snapshot.kind);
        return Err(ApiError::new("InvalidDBSnapshotState", words));
    }
    // A copy that is deleted on its way is ended; one that is being created cannot be.
    if !["available", "failed", "pending", "copying"].contains(&snapshot.status.as_str()) {
        let words = format!(
            "Cannot delete the snapshot because it is not currently in the available or failed state: {id} is {}.",
            snapshot.status
        );
        return Err(ApiError::new("InvalidDBSnapshotState", words));
    }
    region.snapshots.remove(&id);
    let shown = Snapshot { status: "deleted".to_owned(), ..snapshot };
    Ok(Xml::new().within("DBSnapshot", snapshot_xml::snapshot(&shown)))
}
