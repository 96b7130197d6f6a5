//! Snapshots of clusters: create, describe, copy, delete.

use std::sync::Arc;

use super::Shared;
use super::archive::Base;
use super::cluster_state::is_aurora;
use super::cluster_xml;
use super::copies::{carry, copied, target_key};
use super::error::{Answered, ApiError};
use super::form::check_identifier;
use super::machine::Key;
use super::router::Asked;
use super::snapshots::{Subject, blank, seen, take};
use super::state::{Region, Snapshot, Tags, arn, parse_arn};
use super::xml::Xml;

/// Of a cluster's snapshot, and of a copy of one; those of instances may have 255.
const LONGEST: usize = 63;

fn check_free(region: &Region, id: &str) -> Answered<()> {
    check_identifier("DBClusterSnapshotIdentifier", id, LONGEST)?;
    if region.cluster_snapshots.contains_key(id) {
        let words = format!(
            "Cannot create the cluster snapshot because one with the identifier {id} already exists."
        );
        return Err(ApiError::new("DBClusterSnapshotAlreadyExistsFault", words));
    }
    let manual = region.cluster_snapshots.values().filter(|snapshot| snapshot.kind == "manual").count();
    if manual >= region.quotas.manual_cluster_snapshots {
        let words = "Cannot create more than the allowed number of manual cluster snapshots";
        return Err(ApiError::new("SnapshotQuotaExceeded", words));
    }
    Ok(())
}

fn state_fault(id: &str, status: &str) -> ApiError {
    ApiError::new("InvalidDBClusterSnapshotStateFault", format!("The cluster snapshot {id} is {status}."))
}

pub(super) fn create(asked: &Asked) -> Answered<Xml> {
    let id = asked.form.identifier("DBClusterSnapshotIdentifier")?;
    let of = asked.form.identifier("DBClusterIdentifier")?;
    let snapshot = begin_snapshot(asked, &id, &of, asked.form.tags().unwrap_or_default())?;
    Ok(Xml::new().within("DBClusterSnapshot", cluster_xml::snapshot(&snapshot)))
}

pub(super) fn begin_snapshot(asked: &Asked, id: &str, of: &str, tags: Tags) -> Answered<Snapshot> {
    let hidden = asked.shared.script().hides_new_for;
    let (snapshot, server) = {
        let mut state = asked.shared.state();
        let serial = state.serial();
        let region = state.region(&asked.region);
        let cluster = region.cluster(of)?.clone();
        if cluster.status != "available" {
            let words = format!("The cluster {of} is not available: it is {}.", cluster.status);
            return Err(ApiError::new("InvalidDBClusterStateFault", words));
        }
        check_free(region, id)?;
        let mut snapshot = blank(&asked.region, id, "manual", Subject::cluster(&cluster), serial);
        snapshot.tags.extend(tags);
        snapshot.hidden = hidden;
        region.cluster_snapshots.insert(id.to_owned(), snapshot.clone());
        (snapshot, cluster.server)
    };
    let key = Key::of_snapshot(&asked.region, &snapshot);
    asked.shared.run(&format!("the cluster snapshot {id}"), take(Arc::clone(&asked.shared), key, server));
    Ok(snapshot)
}

/// The snapshot RDS itself keeps of a cluster's first backup.
pub(super) fn automated(shared: &Shared, key: &Key, base: Base) {
    let mut state = shared.state();
    let serial = state.serial();
    let region = state.region(&key.region);
    let Some(cluster) = region.clusters.get(&key.id) else { return };
    let id = format!("rds:{}-{}", key.id, base.from.format("%Y-%m-%d-%H-%M"));
    let mut snapshot = blank(&key.region, &id, "automated", Subject::cluster(cluster), serial);
    "available".clone_into(&mut snapshot.status);
    snapshot.progress = Some(100);
    snapshot.created = Some(base.until);
    snapshot.data = Some(base.data);
    region.cluster_snapshots.insert(id, snapshot);
}

/// By its name, or by its ARN in this region.
pub(super) fn named(region: &str, name: &str) -> String {
    match parse_arn(name) {
        Some((of, "cluster-snapshot", id)) if of == region => id.to_owned(),
        _ => name.to_lowercase(),
    }
}

pub(super) fn describe(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let id = form.get("DBClusterSnapshotIdentifier").map(|name| named(&asked.region, name));
    let of = form.owned("DBClusterIdentifier").map(|id| id.to_lowercase());
    let (resource, kind) = (form.owned("DbClusterResourceId"), form.owned("SnapshotType"));
    let (_shared, _public) = (form.is_set("IncludeShared")?, form.is_set("IncludePublic")?);
    let filters = form.filters();
    let takes = |snapshot: &Snapshot| {
        let is = |name: &str, value: &String| filters.get(name).is_none_or(|all| all.contains(value));
        let is_of_kind = match (kind.as_deref(), &id) {
            (Some(kind), _) => snapshot.kind == kind,
            (None, Some(_)) => snapshot.kind == "manual",
            (None, None) => snapshot.kind != "awsbackup",
        };
        is_of_kind
            && id.as_ref().is_none_or(|id| *id == snapshot.id)
            && of.as_ref().is_none_or(|of| *of == snapshot.instance)
            && resource.as_ref().is_none_or(|resource| *resource == snapshot.resource_id)
            && is("db-cluster-id", &snapshot.instance)
            && is("db-cluster-snapshot-id", &snapshot.id)
            && is("snapshot-type", &snapshot.kind)
            && is("engine", &snapshot.settings.engine)
    };
    let found: Vec<Snapshot> = {
        let mut state = asked.shared.state();
        let all = state.region(&asked.region).cluster_snapshots.values_mut().filter(|one| takes(one));
        all.filter_map(seen).collect()
    };
    if let Some(id) = id.filter(|_| found.is_empty()) {
        return Err(ApiError::missing("DBClusterSnapshotNotFoundFault", "DBClusterSnapshot", &id));
    }
    let (page, marker) = form.page(found, |snapshot| snapshot.id.clone())?;
    let shown = page.into_iter().map(|mut snapshot| {
        snapshot.status = asked.shared.script().show(&asked.region, &snapshot.id, &snapshot.status);
        cluster_xml::snapshot(&snapshot)
    });
    let shown: Vec<Xml> = shown.collect();
    Ok(Xml::new().maybe("Marker", marker).list("DBClusterSnapshots", "DBClusterSnapshot", shown))
}

pub(super) fn delete(asked: &Asked) -> Answered<Xml> {
    let id = named(&asked.region, asked.form.required("DBClusterSnapshotIdentifier")?);
    let mut state = asked.shared.state();
    let region = state.region(&asked.region);
    let snapshot = region.cluster_snapshot(&id)?.clone();
    let is_deletable = ["available", "failed", "pending", "copying"].contains(&snapshot.status.as_str());
    if snapshot.kind != "manual" || !is_deletable {
        return Err(state_fault(&id, &format!("{} and {}", snapshot.kind, snapshot.status)));
    }
    region.cluster_snapshots.remove(&id);
    let shown = Snapshot { status: "deleted".to_owned(), ..snapshot };
    Ok(Xml::new().within("DBClusterSnapshot", cluster_xml::snapshot(&shown)))
}

pub(super) fn copy(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let target = form.identifier("TargetDBClusterSnapshotIdentifier")?;
    let name = form.required("SourceDBClusterSnapshotIdentifier")?;
    let (from, id) = match parse_arn(name) {
        Some((region, "cluster-snapshot", id)) => (region.to_owned(), id.to_owned()),
        Some(_) => {
            return Err(ApiError::new("InvalidParameterValue", format!("{name} is no cluster snapshot")));
        }
        None => (asked.region.clone(), name.to_lowercase()),
    };
    let (key, tags, copies_tags) = (form.owned("KmsKeyId"), form.tags(), form.is_set("CopyTags")?);
    if asked.shared.script().gone.contains_key(&from) {
        return Err(ApiError::internal(format!("the source region {from} does not answer")));
    }
    let hidden = asked.shared.script().hides_new_for;
    let (snapshot, source) = {
        let mut state = asked.shared.state();
        let serial = state.serial();
        let source = state.region(&from).cluster_snapshot(&id)?.clone();
        if source.status != "available" {
            return Err(state_fault(&id, &source.status));
        }
        if !is_aurora(&source.settings) {
            let words = format!("{id} is a snapshot of a Multi-AZ DB cluster, and those cannot be copied.");
            return Err(ApiError::new("InvalidDBClusterSnapshotStateFault", words));
        }
        if key.is_some() && source.settings.kms_key.is_none() {
            let words = format!("You can't specify a KMS key for a copy of {id}, which is not encrypted.");
            return Err(ApiError::new("InvalidParameterCombination", words));
        }
        let region = state.region(&asked.region);
        check_free(region, &target)?;
        let mut snapshot = copied(arn(&asked.region, "cluster-snapshot", &target), &target, &source, serial);
        let key = target_key(&asked.region, &from, source.settings.kms_key.as_deref(), key)?;
        snapshot.settings.kms_key = key;
        snapshot.copied_from = Some((from.clone(), source.arn.clone()));
        snapshot.tags = if copies_tags { source.tags.clone() } else { Default::default() };
        snapshot.tags.extend(tags.unwrap_or_default());
        snapshot.hidden = hidden;
        region.cluster_snapshots.insert(target, snapshot.clone());
        (snapshot, source)
    };
    let to = Key::of_snapshot(&asked.region, &snapshot);
    let job = carry(Arc::clone(&asked.shared), Key::of_snapshot(&from, &source), to, source.resource_id);
    asked.shared.run(&format!("the copy {}", snapshot.id), job);
    Ok(Xml::new().within("DBClusterSnapshot", cluster_xml::snapshot(&snapshot)))
}
