//! Reboots and deletions.

use std::sync::Arc;

use super::super::Outcome;
use super::Shared;
use super::error::{Answered, ApiError};
use super::form::check_identifier;
use super::instance_xml;
use super::machine::Key;
use super::modify::check_own;
use super::router::Asked;
use super::xml::Xml;

pub(super) fn reboot(asked: &Asked) -> Answered<Xml> {
    let id = asked.form.identifier("DBInstanceIdentifier")?;
    let fails_over = asked.form.is_set("ForceFailover")?;
    let instance = {
        let mut state = asked.shared.state();
        let instance = state.region(&asked.region).instance(&id)?;
        if instance.status != "available" || instance.is_busy {
            let words = format!("Instance {id} cannot be rebooted in the state {}.", instance.status);
            return Err(ApiError::new("InvalidDBInstanceState", words));
        }
        if fails_over && !instance.settings.multi_az {
            let words =
                "ForceFailover cannot be specified since the instance is not configured for Multi-AZ.";
            return Err(ApiError::new("InvalidParameterCombination", words));
        }
        "rebooting".clone_into(&mut instance.status);
        instance.clone()
    };
    let key = Key::of_instance(&asked.region, &instance);
    asked.shared.run(&format!("the reboot of {id}"), restart(Arc::clone(&asked.shared), key));
    Ok(Xml::new().within("DBInstance", instance_xml::instance(&instance, &asked.region, None)))
}

async fn restart(shared: Arc<Shared>, key: Key) -> Outcome<()> {
    if !shared.instance_stays(&key, "rebooting", shared.timing.rebooting).await {
        return Ok(());
    }
    // A group whose values the server does not start with is the client's fault, not this double's.
    if shared.restart(&key, true).await.is_err() {
        shared.end_instance(&key, "incompatible-parameters");
        return Ok(());
    }
    shared.with_instance(&key, |instance| "in-sync".clone_into(&mut instance.parameters_status));
    shared.end_instance(&key, &shared.end_of(&key));
    Ok(())
}

pub(super) fn delete(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let id = form.identifier("DBInstanceIdentifier")?;
    let (skips, last) = (form.is_set("SkipFinalSnapshot")?, form.owned("FinalDBSnapshotIdentifier"));
    let deletes_backups = form.flag("DeleteAutomatedBackups")?.unwrap_or(true);
    let instance = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        let instance = region.instance(&id)?.clone();
        check_own(region, &instance)?;
        instance
    };
    if instance.cluster.is_none() && instance.settings.deletion_protection {
        let words = "Cannot delete protected DB Instance, please disable deletion protection and try again.";
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    if instance.status == "deleting" {
        return Err(ApiError::new(
            "InvalidDBInstanceState",
            format!("Instance {id} is already being deleted."),
        ));
    }
    if instance.cluster.is_none() && skips == last.is_some() {
        let words = "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified, and cannot be given with it.";
        return Err(ApiError::new("InvalidParameterCombination", words));
    }
    let last = match last {
        Some(name) => {
            let name = name.to_lowercase();
            check_identifier("FinalDBSnapshotIdentifier", &name, 255)?;
            Some(asked.shared.begin_snapshot(&asked.region, &name, &id, Default::default())?)
        }
        None => None,
    };
    let key = Key::of_instance(&asked.region, &instance);
    asked.shared.with_instance(&key, |instance| "deleting".clone_into(&mut instance.status));
    let last = last.map(|snapshot| Key::of_snapshot(&asked.region, &snapshot));
    let job = take_down(Arc::clone(&asked.shared), key, last, deletes_backups);
    asked.shared.run(&format!("the deletion of {id}"), job);
    let shown = super::Instance { status: "deleting".to_owned(), ..instance };
    Ok(Xml::new().within("DBInstance", instance_xml::instance(&shown, &asked.region, None)))
}

async fn take_down(shared: Arc<Shared>, key: Key, last: Option<Key>, deletes_backups: bool) -> Outcome<()> {
    let is_taken =
        |snapshot: &Key| shared.with_snapshot(snapshot, |one| one.status != "creating").unwrap_or(true);
    while last.as_ref().is_some_and(|last| !is_taken(last)) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    if !shared.instance_stays(&key, "deleting", shared.timing.deleting).await {
        return Ok(());
    }
    if deletes_backups {
        shared.forget_backups(&key);
    }
    let gone = {
        let mut state = shared.state();
        let region = state.region(&key.region);
        for backup in region.backups.values_mut().filter(|one| one.resource_id == key.identity) {
            "retained".clone_into(&mut backup.status);
        }
        region.instances.remove(&key.id)
    };
    shared.remember(&key, "deleted");
    if let Some(cluster) = gone.as_ref().and_then(|gone| gone.cluster.clone()) {
        shared.leave(&key.region, &cluster);
    }
    // Its server ends with the last that holds it.
    tokio::task::spawn_blocking(move || drop(gone)).await?;
    Ok(())
}

impl Shared {
    /// Deletes the automated backups of an instance, its automated snapshots among them.
    pub(super) fn forget_backups(&self, key: &Key) {
        let mut state = self.state();
        let region = state.region(&key.region);
        region.backups.retain(|_, backup| backup.resource_id != key.identity);
        region.snapshots.retain(|_, one| one.kind != "automated" || one.resource_id != key.identity);
    }
}
