//! An RDS database and what AWS keeps of it, beside what the policy asks.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Area, Finding};
use crate::aws::AwsFailure;
use crate::aws::rds::{AutomatedBackup, Database, Rds, SnapshotId};
use crate::event::told;
use crate::policy::{Policy, RdsDatabase, RdsRegion, RdsSource, Source, period};

/// RDS uploads log every five minutes; so long behind, something holds it up.
const LAG: Duration = Duration::from_secs(15 * 60);

pub(super) async fn examine(
    policy: &Policy,
    source: &Source,
    rds: &RdsSource,
    now: DateTime<Utc>,
) -> Vec<Finding> {
    let mut found = Findings { subject: source.name.as_str(), list: vec![] };
    let database = match database(rds).await {
        Ok(Some(database)) => {
            of_database(&mut found, policy, source, rds, &database, now);
            Some(database)
        }
        Ok(None) => {
            let (kind, name) = match &rds.database {
                RdsDatabase::Instance(name) => ("instance", name),
                RdsDatabase::Cluster(name) => ("cluster", name),
            };
            found.fault(
                format!("there is no {kind} `{name}` in {}", rds.place.region),
                format!("Look at the source's `region` and `{kind}`."),
            );
            None
        }
        Err(reason) => {
            found
                .fault(reason, "Look at the credentials and the endpoint of the source, and at the network.");
            None
        }
    };
    quota(&mut found, rds, &rds.place.region).await;
    for region in &rds.regions {
        match of_region(&mut found, policy, rds, region, database.as_ref(), now).await {
            Ok(()) => quota(&mut found, rds, &region.name).await,
            Err(reason) => found.fault(
                format!("{} could not be asked: {reason}", region.name),
                "Backups there cannot be made, nor restored, before it can: look at the credentials and the region.",
            ),
        }
    }
    found.list
}

struct Findings<'s> {
    subject: &'s str,
    list: Vec<Finding>,
}

impl Findings<'_> {
    fn good(&mut self, message: impl Into<String>) {
        self.list.push(Finding::good(Area::Source, self.subject, message));
    }

    fn note(&mut self, message: impl Into<String>) {
        self.list.push(Finding::note(Area::Source, self.subject, message));
    }

    fn warning(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.list.push(Finding::warning(Area::Source, self.subject, message, remedy));
    }

    fn fault(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.list.push(Finding::fault(Area::Source, self.subject, message, remedy));
    }
}

async fn database(source: &RdsSource) -> Result<Option<Database>, String> {
    let rds = Rds::of(&source.place).await.map_err(|error| told(&error))?;
    rds.database(&source.database).await.map_err(|failure| told(&failure))
}

fn of_database(
    found: &mut Findings<'_>,
    policy: &Policy,
    source: &Source,
    rds: &RdsSource,
    database: &Database,
    now: DateTime<Utc>,
) {
    let profile = &database.profile;
    let name = rds.database.identifier();
    let version = profile.engine_version.as_deref().unwrap_or("of unknown version");
    let what =
        format!("`{name}` in {} is {} {version}, `{}`", rds.place.region, profile.engine, database.status);
    match () {
        () if !profile.engine.contains("postgres") => {
            found.fault(what, "drctl protects PostgreSQL: name another instance.");
        }
        () if database.is_lost() => {
            found.fault(what, "Mend it, or restore it: `drctl list` shows from what.")
        }
        () if database.is_stopped() => found.fault(
            format!("{what}, and RDS takes no snapshot of it"),
            format!("Start it: {}.", database.start_command()),
        ),
        () if !database.is_available() => found.note(what),
        () => found.good(what),
    }
    if !profile.encrypted {
        found.warning(
            format!("`{name}` is not encrypted, and its snapshots are not either"),
            "A copy of a snapshot can be encrypted, and restored in its place: `kms_key` under `copy_to` makes one.",
        );
    }
    if profile.deletion_protection == Some(false) {
        found.warning(
            format!("`{name}` has no deletion protection: one call deletes it, with its automated backups"),
            "Turn it on; it costs nothing and needs no restart.",
        );
    }
    if profile.cluster.is_none() && profile.multi_az == Some(false) {
        found.note(format!(
            "`{name}` is in one availability zone: its loss is an outage until it is restored"
        ));
    }
    found.list.extend(super::token::examine(found.subject, rds, database));
    retention(found, policy, source, database);
    if profile.backup_retention_days != Some(0) {
        lag(found, policy, &rds.place.region, database.latest_restorable, now);
    }
}

/// How far back any moment can be restored, beside what the policy wants.
fn retention(found: &mut Findings<'_>, policy: &Policy, source: &Source, database: &Database) {
    let rules = policy.retention.as_ref().map(|retention| retention.rules_for(&source.name));
    let wanted = rules.and_then(|rules| rules.pitr);
    let name = database.id.identifier();
    let remedy = "Raise the instance's backup retention (1 to 35 days).";
    match (database.profile.backup_retention_days, wanted) {
        (Some(0), wanted) => {
            let asked = wanted.map(|wanted| format!(", and the policy asks for {}", period(wanted)));
            found.fault(
                format!(
                    "RDS keeps no automated backups of `{name}` (retention 0): no moment between snapshots can be restored{}",
                    asked.unwrap_or_default()
                ),
                format!("{remedy} RDS stops its I/O for a moment when it turns them on."),
            );
        }
        (Some(days), Some(wanted)) if Duration::from_secs(u64::from(days) * 86_400) < wanted => {
            found.warning(
                format!(
                    "RDS keeps automated backups of `{name}` for {days} days, and the policy asks for {}",
                    period(wanted)
                ),
                remedy,
            );
        }
        (Some(days), _) => found.good(format!("RDS keeps automated backups of `{name}` for {days} days")),
        (None, _) => found.note(format!("RDS does not say how long it keeps automated backups of `{name}`")),
    }
}

/// Warned of at three quarters of the objective, as for archived log.
fn lag(
    found: &mut Findings<'_>,
    policy: &Policy,
    region: &str,
    latest: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) {
    let rpo = policy.objectives.rpo;
    let Some(latest) = latest else {
        return found.warning(
            format!("automated backups in {region} can restore no moment yet"),
            "The first takes RDS a while; if it stays so, look at the instance's events.",
        );
    };
    let behind = (now - latest).to_std().unwrap_or_default();
    let said = format!("automated backups in {region} reach until {} ago", period(whole(behind)));
    let remedy = "RDS ships log every five minutes while the instance is available and has room: look at its state, its storage and its events.";
    match () {
        () if behind > rpo => found.fault(format!("{said}, more than the RPO of {}", period(rpo)), remedy),
        () if behind > LAG.min(rpo * 3 / 4) => found.warning(said, remedy),
        () => found.good(said),
    }
}

fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

async fn quota(found: &mut Findings<'_>, source: &RdsSource, region: &str) {
    let Ok(rds) = Rds::of(&source.place.in_region(region)).await else { return };
    match rds.snapshot_quota(&SnapshotId::like(&source.database, "")).await {
        Ok(Some((used, most))) if used >= most => found.fault(
            format!("all {most} manual snapshots that the account may have in {region} are used"),
            "Have AWS raise the quota, or remove old ones: the next backup fails.",
        ),
        Ok(Some((used, most))) if used * 5 >= most * 4 => found.warning(
            format!("{used} of {most} manual snapshots are used in {region}"),
            "Have AWS raise the quota, or remove old ones, before it ends the backups.",
        ),
        Ok(Some((used, most))) => {
            found.good(format!("{used} of {most} manual snapshots are used in {region}"))
        }
        Ok(None) => found.note(format!("the quota of snapshots in {region} cannot be asked")),
        // Whoever cannot be asked at all is told elsewhere.
        Err(_) => {}
    }
}

async fn of_region(
    found: &mut Findings<'_>,
    policy: &Policy,
    source: &RdsSource,
    region: &RdsRegion,
    database: Option<&Database>,
    now: DateTime<Utc>,
) -> Result<(), String> {
    let rds = Rds::of(&source.place.in_region(&region.name)).await.map_err(|error| told(&error))?;
    let failed = |failure: AwsFailure| told(&failure);
    let of_cluster = matches!(source.database, RdsDatabase::Cluster(_));
    // RDS replicates those of instances only.
    let kept = match of_cluster {
        true => vec![],
        false => rds.automated_backups_of(&source.database).await.map_err(failed)?,
    };
    let name = &region.name;
    if database.is_some_and(|database| database.profile.encrypted) && region.kms_key.is_none() {
        found.fault(
            format!("the database is encrypted, and the policy names no key in {name}: no snapshot can be copied there"),
            format!("Add `kms_key` to `copy_to.{name}`."),
        );
    }
    if let Some(group) = &region.names.subnet_group {
        match rds.has_subnet_group(group).await.map_err(failed)? {
            true => found.good(format!("subnet group `{group}` is there in {name}")),
            false => found.fault(
                format!("there is no subnet group `{group}` in {name}, which a restore there would use"),
                "Make it, or name another: a restore needs it on the worst day.",
            ),
        }
    }
    if let Some(group) = &region.names.parameter_group {
        let has = match of_cluster {
            true => rds.has_cluster_parameter_group(group).await,
            false => rds.has_parameter_group(group).await,
        };
        match has.map_err(failed)? {
            true => found.good(format!("parameter group `{group}` is there in {name}")),
            false => found.fault(
                format!("there is no parameter group `{group}` in {name}, which a restore there would use"),
                "Make it, or name another: a restore needs it on the worst day.",
            ),
        }
    }
    let own = |kept: &&AutomatedBackup| {
        kept.database_region.as_ref().is_none_or(|region| *region == source.place.region)
            && database.is_none_or(|database| database.resource_id == kept.resource_id)
    };
    let replicated = kept.iter().filter(own).find(|kept| kept.status != "retained");
    match replicated {
        Some(backup) => {
            if backup.status != "replicating" {
                found.note(format!("the replication of automated backups to {name} is `{}`", backup.status));
            }
            lag(found, policy, name, backup.window.map(|window| window.latest), now);
        }
        None if region.automated_backups => found.fault(
            format!("the policy asks for automated backups in {name}, and RDS does not replicate them there"),
            format!("`drctl rds replicate-automated-backups {} --apply` has it do so.", found.subject),
        ),
        None => {}
    }
    Ok(())
}
