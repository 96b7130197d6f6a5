//! Automated backups that another region keeps a copy of, log and all.

use std::sync::Arc;

use super::super::Outcome;
use super::Shared;
use super::archive::Archive;
use super::backups;
use super::copies::target_key;
use super::error::{Answered, ApiError};
use super::machine::blocking;
use super::router::Asked;
use super::state::{Backup, arn, parse_arn};
use super::xml::Xml;

/// Asked of the destination region.
pub(super) fn start(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let of = form.required("SourceDBInstanceArn")?;
    let days = form.parsed("BackupRetentionPeriod")?.unwrap_or(7);
    let (key, tags) = (form.owned("KmsKeyId"), form.tags().unwrap_or_default());
    if key.as_ref().is_some_and(|key| !key.contains(":key/")) {
        let words = "KmsKeyId must be the ARN of a KMS key of the destination Region.";
        return Err(ApiError::new("InvalidParameterValue", words));
    }
    let Some((from, "db", id)) = parse_arn(of).filter(|(region, ..)| *region != asked.region) else {
        let words = format!("{of} is no instance of another region");
        return Err(ApiError::new("InvalidParameterValue", words));
    };
    if asked.shared.script().gone.contains_key(from) {
        return Err(ApiError::internal(format!("the source region {from} does not answer")));
    }
    let archive = Archive::new(&asked.shared.storage).map_err(ApiError::internal)?;
    let backup = {
        let mut state = asked.shared.state();
        let source = state.region(from).instance(id)?.clone();
        if source.settings.backup_retention == 0 {
            let words = format!("{id} keeps no automated backups that could be replicated.");
            return Err(ApiError::new("InvalidDBInstanceState", words));
        }
        let mut settings = source.settings.clone();
        settings.kms_key = target_key(&asked.region, from, source.settings.kms_key.as_deref(), key)?;
        settings.backup_retention = days;
        settings.tags = tags;
        let region = state.region(&asked.region);
        let name = arn(&asked.region, "auto-backup", &format!("ab-{}", source.resource_id.to_lowercase()));
        if region.backups.get(&name).is_some_and(|backup| backup.status != "retained") {
            let words = format!("The automated backups of {id} are replicated to this region already.");
            return Err(ApiError::new("InvalidDBInstanceAutomatedBackupState", words));
        }
        let replicated = region.backups.values().filter(|backup| backup.region != asked.region).count();
        if replicated >= region.quotas.replicated_backups {
            let words = "The quota of replicated automated backups of this region was exceeded.";
            return Err(ApiError::new("DBInstanceAutomatedBackupQuotaExceeded", words));
        }
        let backup = Backup {
            arn: name.clone(),
            instance: source.id.clone(),
            instance_arn: source.arn.clone(),
            resource_id: source.resource_id.clone(),
            region: from.to_owned(),
            status: "pending".to_owned(),
            instance_created: source.created,
            settings,
            archive: Arc::new(archive),
        };
        region.backups.insert(name.clone(), backup.clone());
        state.region(from).instance(id)?.replicated_to.insert(name);
        backup
    };
    let job = replicate(Arc::clone(&asked.shared), asked.region.clone(), backup.clone());
    asked.shared.run(&format!("the replication of {id}"), job);
    Ok(Xml::new().within("DBInstanceAutomatedBackup", backups::xml(&backup)))
}

pub(super) fn stop(asked: &Asked) -> Answered<Xml> {
    let of = asked.form.required("SourceDBInstanceArn")?;
    let mut state = asked.shared.state();
    let here = state.region(&asked.region);
    let found = here.backups.values_mut().find(|one| one.instance_arn == of && one.region != asked.region);
    let Some(backup) = found else { return Err(ApiError::instance_missing(of)) };
    "retained".clone_into(&mut backup.status);
    let backup = backup.clone();
    if let Some(source) = state.region(&backup.region).instances.get_mut(&backup.instance) {
        source.replicated_to.remove(&backup.arn);
    }
    Ok(Xml::new().within("DBInstanceAutomatedBackup", backups::xml(&backup)))
}

/// Follows its source for as long as both are there, and falls behind while the source's region is not.
async fn replicate(shared: Arc<Shared>, region: String, backup: Backup) -> Outcome<()> {
    let source = arn(&backup.region, "auto-backup", &format!("ab-{}", backup.resource_id.to_lowercase()));
    loop {
        let is_wanted = {
            let mut state = shared.state();
            let now = state.region(&region).backups.get(&backup.arn);
            now.is_some_and(|now| now.status != "retained" && Arc::ptr_eq(&now.archive, &backup.archive))
        };
        if !is_wanted {
            return Ok(());
        }
        let is_cut_off = shared.script().gone.contains_key(&backup.region) || backup.archive.is_stalled();
        let from = {
            let mut state = shared.state();
            let home = state.region(&backup.region);
            let server = home.instances.values().find(|one| one.resource_id == backup.resource_id);
            let server = server.filter(|one| one.status == "available").and_then(|one| one.server.clone());
            home.backups.get(&source).map(|from| (Arc::clone(&from.archive), server))
        };
        if let Some((from, server)) = from.filter(|_| !is_cut_off) {
            let to = Arc::clone(&backup.archive);
            let moved = blocking(move || {
                // A server that is just being stopped is asked again the next time.
                if let Some(server) = server {
                    let _later = from.advance(&server);
                }
                from.replicate_to(&to)
            })
            .await;
            // A source that is deleted in the midst of it has taken its files along.
            if moved.is_ok()
                && let Some(now) = shared.state().region(&region).backups.get_mut(&backup.arn)
            {
                "replicating".clone_into(&mut now.status);
            }
        }
        tokio::time::sleep(shared.timing.replicate_every).await;
    }
}
