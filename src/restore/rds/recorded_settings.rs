//! The settings of the restored database: as recorded with a backup, or else as they are now.

use std::cmp::Reverse;

use super::RdsRestoreRequest;
use super::restore_source::{RestoreSource, SelectedBackup};
use super::select::ManualSnapshot;
use crate::aws::FailureKind;
use crate::aws::rds::{Database, Rds};
use crate::model::{BackupId, RestoreProfile};
use crate::repository::SmallError;
use crate::restore::aws::recorded;
use crate::restore::{AwsRestoreError, Refusal, RestoreError as _};
use crate::run::RunContext;
use crate::text::{error_chain, format_time};

/// The number of records that are tried where they cannot be read.
const TRIES: usize = 10;

/// The settings that were found.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordedSettings {
    pub(super) profile: RestoreProfile,
    /// The backup they were recorded with; `None`: those of the live database.
    pub(super) of: Option<BackupId>,
    /// Why they are not the record of what is restored, as text.
    pub(super) notes: Vec<String>,
}

/// Returns the backups whose records match best, best first: that very backup, older ones, and then newer
/// ones; of each, those of the same database before those of others that had its name.
fn nearest<'s>(via: &RestoreSource, stored: &'s [ManualSnapshot]) -> Vec<&'s ManualSnapshot> {
    let (own, resource_id) = match via {
        RestoreSource::Snapshot { backup, resource_id, .. } => (Some(backup), resource_id.as_deref()),
        RestoreSource::Automated { resource_id, .. } => (None, Some(resource_id.as_str())),
    };
    let until = via.until();
    let rank = |stored: &&ManualSnapshot| {
        let manifest = &stored.manifest;
        let of = manifest.managed.as_ref().and_then(|managed| managed.resource_id.as_deref());
        let is_other = of.zip(resource_id).is_some_and(|(of, id)| of != id);
        let (point, is_newer) = (manifest.recovery_point, manifest.recovery_point > until);
        let far = if is_newer { point - until } else { until - point };
        (Some(&manifest.id) != own, is_other, is_newer, far, Reverse(manifest.id.clone()))
    };
    let mut nearest: Vec<&ManualSnapshot> = stored.iter().collect();
    nearest.sort_by_key(rank);
    nearest
}

/// Returns the settings to restore with. `live`: the database as it is now, where its region answers.
pub(super) async fn recorded_settings(
    run: &RunContext,
    request: &RdsRestoreRequest,
    chosen: &SelectedBackup,
    stored: &[ManualSnapshot],
    live: Option<&Database>,
) -> Result<RecordedSettings, AwsRestoreError> {
    let mut failed: Option<(BackupId, AwsRestoreError)> = None;
    for candidate in nearest(&chosen.via, stored).into_iter().take(TRIES) {
        let id = &candidate.manifest.id;
        let error =
            match recorded(run, &candidate.manifest, &candidate.holders, |details| details.profile).await {
                Ok(profile) => {
                    let notes = substituted(&chosen.via, candidate, failed.as_ref());
                    notes.iter().for_each(|note| run.events.warning(note.clone()));
                    return Ok(RecordedSettings { profile, of: Some(id.clone()), notes });
                }
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => error,
            };
        let is_closed = matches!(error, AwsRestoreError::Details(SmallError::CannotDecrypt { .. }));
        failed.get_or_insert((id.clone(), error));
        // Without any identity the others cannot be opened either.
        if is_closed && run.identities.is_empty() {
            break;
        }
    }
    let reason = match &failed {
        Some((_, error)) => error_chain(error),
        None => "no manifest of it can be read".to_owned(),
    };
    // The next best are the current settings, where its region answers.
    if let Some(live) = live {
        let rds = Rds::to_look(&request.config.place).await?;
        match now(&rds, live).await {
            Ok((profile, lacks)) => {
                run.events.warning(format!("it is set up as the database is now, since {reason}"));
                lacks.iter().for_each(|words| run.events.warning(words.clone()));
                return Ok(RecordedSettings { profile, of: None, notes: lacks });
            }
            Err(failure) => run.events.warning(error_chain(&failure)),
        }
    }
    let code = match &failed {
        None => "no-manifest",
        Some((_, AwsRestoreError::Details(SmallError::CannotDecrypt { .. })))
            if run.identities.is_empty() =>
        {
            "no-identity"
        }
        Some((_, AwsRestoreError::Details(SmallError::CannotDecrypt { .. }))) => "wrong-identity",
        Some(_) => "damaged-settings",
    };
    let message = format!("nothing says how the instance was set up: {reason}");
    Err(AwsRestoreError::Refused(vec![Refusal::not_ready(code, message)]))
}

/// Returns a note where a snapshot gets the settings of another backup.
fn substituted(
    via: &RestoreSource,
    used: &ManualSnapshot,
    failed: Option<&(BackupId, AwsRestoreError)>,
) -> Vec<String> {
    let manifest = &used.manifest;
    let of = format!("{} of {}", manifest.id, format_time(manifest.recovery_point));
    match (via, failed) {
        (RestoreSource::Snapshot { backup, .. }, _) if *backup == manifest.id => vec![],
        (RestoreSource::Snapshot { backup, .. }, Some((failed, error))) if failed == backup => vec![format!(
            "how the database was set up at {backup} cannot be read ({}): it is set up as recorded with {of}",
            error_chain(error)
        )],
        (RestoreSource::Snapshot { backup, .. }, _) => vec![format!(
            "{backup} has no manifest that can be read, so that how the database was set up then is not known: it is set up as recorded with {of}"
        )],
        (RestoreSource::Automated { .. }, Some((failed, error))) => vec![format!(
            "how the database was set up at {failed} cannot be read ({}): it is set up as recorded with {of}",
            error_chain(error)
        )],
        (RestoreSource::Automated { .. }, None) => vec![],
    }
}

/// Returns the current settings of the database, and notes on what may not be queried.
async fn now(rds: &Rds, live: &Database) -> Result<(RestoreProfile, Vec<String>), crate::aws::AwsFailure> {
    let mut profile = live.profile.clone();
    let mut lacks = Vec::new();
    if let Some(group) = &profile.parameter_group {
        let of_cluster = profile.cluster.is_some();
        match rds.parameters(&group.name, of_cluster).await {
            Ok(known) => profile.parameter_group = Some(known),
            Err(failure) if failure.kind == FailureKind::Forbidden => {
                lacks.push(parameters_unknown(&group.name, &error_chain(&failure)));
            }
            Err(failure) => return Err(failure),
        }
    }
    if let Some(cluster) = &mut profile.cluster {
        let (groups, unread) = rds.parameters_of(&cluster.members).await?;
        cluster.parameter_groups = groups;
        lacks.extend(unread.iter().map(|(name, reason)| parameters_unknown(name, reason)));
    }
    Ok((profile, lacks))
}

/// Returns a note on a group of which only the name is known.
fn parameters_unknown(group: &str, reason: &str) -> String {
    format!("which parameters `{group}` sets is not known, so that it cannot be made elsewhere: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CloudBackup;
    use crate::repository::fixtures::{backup, noon};
    use chrono::TimeDelta;

    fn stored(minutes: i64, resource_id: &str) -> ManualSnapshot {
        let mut manifest = backup(minutes).0;
        manifest.managed = Some(CloudBackup {
            resource: "arn".to_owned(),
            resource_id: Some(resource_id.to_owned()),
            encrypted: true,
            plan: None,
            allocated_gib: None,
            held: vec![],
        });
        ManualSnapshot { manifest, holders: vec![] }
    }

    #[test]
    fn what_was_recorded_is_taken_from_the_nearest_older_backup_of_the_same_database() {
        let all = [stored(60, "db-1"), stored(40, "db-1"), stored(30, "db-2"), stored(20, "db-1")];
        let order = |via: &RestoreSource| -> Vec<i64> {
            let minutes = |one: &ManualSnapshot| (one.manifest.recovery_point - noon()).num_minutes();
            nearest(via, &all).into_iter().map(minutes).collect()
        };
        let snapshot = |own: &BackupId, minutes| RestoreSource::Snapshot {
            backup: own.clone(),
            identifier: "s".to_owned(),
            arn: "arn:s".to_owned(),
            resource_id: Some("db-1".to_owned()),
            recovery_point: noon() + TimeDelta::minutes(minutes),
            encrypted: true,
        };
        // Its own record, and that of no other.
        assert_eq!(order(&snapshot(&all[2].manifest.id, 30))[0], 30);
        // None of its own: the next older one, whatever came after it, and another database's last.
        let unrecorded = stored(50, "db-1").manifest.id;
        assert_eq!(order(&snapshot(&unrecorded, 50)), [40, 20, 60, 30]);
        let automated = RestoreSource::Automated {
            origin: crate::aws::rds::Origin::Snapshot("s".to_owned()),
            identifier: "shop".to_owned(),
            resource_id: "db-2".to_owned(),
            until: noon() + TimeDelta::minutes(10),
            encrypted: true,
        };
        assert_eq!(order(&automated), [30, 20, 40, 60]);
    }
}
