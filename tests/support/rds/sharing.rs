//! Whom a snapshot is shared with.

use super::error::{Answered, ApiError};
use super::router::Asked;
use super::snapshots::named;
use super::state::Snapshot;
use super::xml::Xml;

pub(super) fn modify_attribute(asked: &Asked) -> Answered<Xml> {
    let id = named(&asked.region, asked.form.required("DBSnapshotIdentifier")?);
    if asked.form.required("AttributeName")? != "restore" {
        return Err(ApiError::new("InvalidParameterValue", "AttributeName must be restore"));
    }
    let (add, remove) = (
        asked.form.list("ValuesToAdd", "AttributeValue"),
        asked.form.list("ValuesToRemove", "AttributeValue"),
    );
    let keys_of_aws = asked.shared.script().keys_of_aws.clone();
    let mut state = asked.shared.state();
    let snapshot = state.region(&asked.region).snapshot(&id)?;
    if snapshot.settings.kms_key.as_ref().is_some_and(|key| keys_of_aws.contains(key)) {
        let words = format!("{id} is encrypted with the default key of the account, and cannot be shared.");
        return Err(ApiError::new("InvalidParameterValue", words));
    }
    if snapshot.status != "available" || snapshot.kind != "manual" {
        return Err(ApiError::new("InvalidDBSnapshotState", format!("The snapshot {id} cannot be shared.")));
    }
    snapshot.shared_with.extend(add.into_iter().flatten());
    for account in remove.into_iter().flatten() {
        snapshot.shared_with.remove(&account);
    }
    Ok(attributes_xml(snapshot))
}

pub(super) fn attributes(asked: &Asked) -> Answered<Xml> {
    let id = named(&asked.region, asked.form.required("DBSnapshotIdentifier")?);
    let mut state = asked.shared.state();
    Ok(attributes_xml(state.region(&asked.region).snapshot(&id)?))
}

/// With whom a cluster's snapshot is shared.
pub(super) fn cluster_attributes(asked: &Asked) -> Answered<Xml> {
    let id = asked.form.required("DBClusterSnapshotIdentifier")?;
    let mut state = asked.shared.state();
    let snapshot = state.region(&asked.region).cluster_snapshot(id)?;
    let restore = restore_xml(snapshot);
    let result = Xml::new().text("DBClusterSnapshotIdentifier", &snapshot.id).list(
        "DBClusterSnapshotAttributes",
        "DBClusterSnapshotAttribute",
        [restore],
    );
    Ok(Xml::new().within("DBClusterSnapshotAttributesResult", result))
}

fn restore_xml(snapshot: &Snapshot) -> Xml {
    Xml::new().text("AttributeName", "restore").texts(
        "AttributeValues",
        "AttributeValue",
        &snapshot.shared_with,
    )
}

fn attributes_xml(snapshot: &Snapshot) -> Xml {
    let restore = restore_xml(snapshot);
    let result = Xml::new().text("DBSnapshotIdentifier", &snapshot.id).list(
        "DBSnapshotAttributes",
        "DBSnapshotAttribute",
        [restore],
    );
    Xml::new().within("DBSnapshotAttributesResult", result)
}
