//! Copies of snapshots, in a region and between regions.

use std::sync::Arc;

use super::super::Outcome;
use super::Shared;
use super::error::{Answered, ApiError};
use super::form::check_identifier;
use super::machine::{Key, blocking};
use super::router::Asked;
use super::snapshot_xml;
use super::snapshots::check_new;
use super::state::{Snapshot, arn, now, parse_arn};
use super::xml::Xml;

pub(super) fn copy(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let target = form.identifier("TargetDBSnapshotIdentifier")?;
    check_identifier("TargetDBSnapshotIdentifier", &target, 255)?;
    let named = form.required("SourceDBSnapshotIdentifier")?;
    // Another region's snapshot has to be named by its ARN; a plain name is one of this region.
    let (from, id) = match parse_arn(named) {
        Some((region, "snapshot", id)) => (region.to_owned(), id.to_owned()),
        Some(_) => return Err(ApiError::new("InvalidParameterValue", format!("{named} is no snapshot"))),
        None => (asked.region.clone(), named.to_lowercase()),
    };
    let (key, tags, copies_tags) = (form.owned("KmsKeyId"), form.tags(), form.is_set("CopyTags")?);
    let option_group = form.owned("OptionGroupName");
    let hidden = asked.shared.script().hides_new_for;
    if asked.shared.script().gone.contains_key(&from) {
        return Err(ApiError::internal(format!("the source region {from} does not answer")));
    }
    let (snapshot, source) = {
        let mut state = asked.shared.state();
        let serial = state.serial();
        let source = state.region(&from).snapshot(&id)?.clone();
        if source.status != "available" {
            let words = format!("The snapshot {id} is not in the available state: it is {}.", source.status);
            return Err(ApiError::new("InvalidDBSnapshotState", words));
        }
        let region = state.region(&asked.region);
        check_new(region, &target)?;
        let under_way =
            region.snapshots.values().filter(|one| ["pending", "copying"].contains(&one.status.as_str()));
        if under_way.count() >= region.quotas.copies_in_progress {
            return Err(ApiError::new(
                "SnapshotQuotaExceeded",
                "Too many snapshot copies are in progress in this region",
            ));
        }
        let mut snapshot = copied(arn(&asked.region, "snapshot", &target), &target, &source, serial);
        snapshot.settings.kms_key =
            target_key(&asked.region, &from, source.settings.kms_key.as_deref(), key)?;
        if let Some(group) = option_group {
            if !region.option_groups.contains(&group) {
                return Err(ApiError::missing("OptionGroupNotFoundFault", "OptionGroup", &group));
            }
            snapshot.settings.option_group = group;
        }
        if from != asked.region {
            snapshot.copied_from = Some((from.clone(), source.arn.clone()));
        }
        snapshot.tags = if copies_tags { source.tags.clone() } else { Default::default() };
        snapshot.tags.extend(tags.unwrap_or_default());
        snapshot.hidden = hidden;
        region.snapshots.insert(target, snapshot.clone());
        (snapshot, source)
    };
    let to = Key::of_snapshot(&asked.region, &snapshot);
    let job = carry(Arc::clone(&asked.shared), Key::of_snapshot(&from, &source), to, source.resource_id);
    asked.shared.run(&format!("the copy {}", snapshot.id), job);
    Ok(Xml::new().within("DBSnapshot", snapshot_xml::snapshot(&snapshot)))
}

/// A copy with none of its bytes yet. It is a manual one whatever its source is.
pub(super) fn copied(arn: String, id: &str, source: &Snapshot, serial: u64) -> Snapshot {
    Snapshot {
        id: id.to_owned(),
        arn,
        kind: "manual".to_owned(),
        status: "pending".to_owned(),
        progress: None,
        created: None,
        copied_from: None,
        shared_with: Default::default(),
        data: None,
        serial,
        ..source.clone()
    }
}

/// The key a copy in another region is encrypted with. A key of another region cannot be used.
pub(super) fn target_key(
    to: &str,
    from: &str,
    source: Option<&str>,
    asked: Option<String>,
) -> Answered<Option<String>> {
    if let Some(key) = &asked
        && let Some(rest) = key.strip_prefix("arn:aws:kms:")
        && !rest.starts_with(&format!("{to}:"))
    {
        let words = format!(
            "The specified KMS key {key} does not exist, is not enabled or you do not have permissions to access it."
        );
        return Err(ApiError::new("KMSKeyNotAccessibleFault", words));
    }
    match (asked, source) {
        (Some(key), _) => Ok(Some(key)),
        (None, Some(_)) if from != to => Err(ApiError::new(
            "InvalidParameterCombination",
            "The KmsKeyId parameter is required to copy what is encrypted to another region.",
        )),
        (None, key) => Ok(key.map(str::to_owned)),
    }
}

pub(super) async fn carry(shared: Arc<Shared>, from: Key, to: Key, resource_id: String) -> Outcome<()> {
    let turn = {
        let mut copying = shared.copying.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(copying.entry((to.region.clone(), resource_id)).or_default())
    };
    shared.remember(&to, "pending");
    // One at a time of the same instance; the others show no progress.
    let turn = turn.lock().await;
    if !shared.snapshot_stays(&to, "pending", shared.timing.copy_pending).await {
        return Ok(());
    }
    shared.with_snapshot(&to, |snapshot| snapshot.progress = Some(0));
    let data = shared.with_snapshot(&from, |source| source.data.clone()).flatten();
    if !shared.snapshot_stays(&to, "copying", shared.timing.copying).await {
        return Ok(());
    }
    // The source has to be there until the end, its region only if the test says so.
    let is_there = shared.with_snapshot(&from, |_| ()).is_some();
    let is_cut_off = {
        let script = shared.script();
        script.copies_need_their_source && script.gone.contains_key(&from.region)
    };
    let Some(data) = data.filter(|_| is_there && !is_cut_off) else {
        shared.end_snapshot(&to, "failed");
        return Ok(());
    };
    let copy = blocking(move || data.copy("snapshot")).await?;
    shared.with_snapshot(&to, |snapshot| {
        snapshot.data = Some(Arc::new(copy));
        snapshot.created = Some(now());
    });
    shared.end_snapshot(&to, &shared.end_of(&to));
    drop(turn);
    Ok(())
}
