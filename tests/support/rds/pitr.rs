//! Restores to a point in time: a base backup and the archived log up to the time.

use chrono::{DateTime, Utc};

use super::archive::Archive;
use super::error::{Answered, ApiError};
use super::form::check_identifier;
use super::instances::archive_now;
use super::restores::{Origin, begin, check_new, restored};
use super::router::Asked;
use super::settings::Settings;
use super::state::{Backup, Instance, time};
use super::xml::Xml;

pub(super) async fn restore(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let id = form.identifier("TargetDBInstanceIdentifier")?;
    check_identifier("TargetDBInstanceIdentifier", &id, 63)?;
    let (backup, alive) = source(asked)?;
    if let Some(instance) = &alive {
        archive_now(asked, instance).await?;
    }
    let (wanted, wants_latest) = (form.time("RestoreTime")?, form.is_set("UseLatestRestorableTime")?);
    let target = time_in(&backup.archive, wanted, wants_latest)?;
    let settings = {
        let mut state = asked.shared.state();
        let region = state.region(&asked.region);
        // A source that is gone, or elsewhere, has no tags to give.
        let tags = alive.map(|instance| instance.settings.tags).unwrap_or_default();
        let mut settings = restored(form, region, &Settings { tags, ..backup.settings.clone() })?;
        settings.max_allocated_storage = form.parsed("MaxAllocatedStorage")?;
        check_new(region, &id)?;
        settings
    };
    let base = backup.archive.base_for(target).ok_or_else(|| ApiError::internal("no base backup for it"))?;
    let target = target.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string();
    let recovery = Some((backup.archive, target));
    begin(asked, &id, settings, Origin { data: base.data, recovery })
}

/// The automated backup that is meant, and the instance it is of where that is still here.
fn source(asked: &Asked) -> Answered<(Backup, Option<Instance>)> {
    let form = &asked.form;
    let name = form.owned("SourceDBInstanceIdentifier").map(|id| id.to_lowercase());
    let (resource, arn) =
        (form.owned("SourceDbiResourceId"), form.owned("SourceDBInstanceAutomatedBackupsArn"));
    let given = [&name, &resource, &arn].into_iter().flatten().count();
    if given != 1 {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "Exactly one of SourceDBInstanceIdentifier, SourceDbiResourceId and SourceDBInstanceAutomatedBackupsArn must be given.",
        ));
    }
    let mut state = asked.shared.state();
    let region = state.region(&asked.region);
    let resource = match &name {
        Some(name) => {
            let instance = region.instance(name)?;
            if instance.settings.backup_retention == 0 {
                let words = format!(
                    "Point-in-time restore is not enabled for {name}: it keeps no automated backups."
                );
                return Err(ApiError::new("PointInTimeRestoreNotEnabled", words));
            }
            Some(instance.resource_id.clone())
        }
        None => resource,
    };
    let takes = |backup: &&Backup| {
        resource.as_ref().is_none_or(|resource| *resource == backup.resource_id)
            && arn.as_ref().is_none_or(|arn| *arn == backup.arn)
    };
    let found = region.backups.values().find(takes).cloned();
    let wanted = name.or(arn).or(resource).unwrap_or_default();
    let missing =
        || ApiError::missing("DBInstanceAutomatedBackupNotFound", "DBInstanceAutomatedBackup", &wanted);
    let backup = found.ok_or_else(missing)?;
    let alive = region.instances.values().find(|one| one.resource_id == backup.resource_id).cloned();
    Ok((backup, alive))
}

/// The time that is asked for, if it can be restored.
pub(super) fn time_in(
    archive: &Archive,
    wanted: Option<DateTime<Utc>>,
    wants_latest: bool,
) -> Answered<DateTime<Utc>> {
    if wanted.is_some() == wants_latest {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "Either a time or UseLatestRestorableTime must be specified, and not both.",
        ));
    }
    let Some((earliest, latest)) = archive.window() else {
        return Err(ApiError::new(
            "InvalidRestoreFault",
            "There is no automated backup to restore from yet.",
        ));
    };
    let wrong = |words: String| Err(ApiError::new("InvalidParameterValue", words));
    match wanted {
        None => Ok(latest),
        Some(at) if at >= latest => {
            wrong(format!("The specified instance cannot be restored to a time later than {}", time(latest)))
        }
        Some(at) if at < earliest => wrong(format!(
            "The specified instance cannot be restored to a time earlier than {}",
            time(earliest)
        )),
        Some(at) => Ok(at),
    }
}
