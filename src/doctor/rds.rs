//! An RDS database and its AWS-managed backups, compared with the policy.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{join, join_all};

use super::{Area, DoctorFinding};
use crate::aws::rds::{AutomatedBackup, Database, Rds, SnapshotId};
use crate::aws::{AwsFailure, KmsKey, key};
use crate::policy::{Policy, RdsDatabase, RdsRegion, RdsSource, Source};
use crate::text::error_chain;
use crate::text::format_duration;

/// RDS uploads WAL every five minutes; a larger lag means that something blocks it.
const LAG: Duration = Duration::from_secs(15 * 60);

/// The answer of its own region.
struct AtHome {
    database: Result<Option<Database>, String>,
    /// The KMS key of its snapshots, where these are shared; or why it is unknown, as text.
    shared_key: Option<Result<KmsKey, String>>,
    quota: Quota,
}

/// The answer of another region of the policy.
struct RegionFacts {
    /// RDS's automated backups there, of databases that have or had the name.
    kept: Vec<AutomatedBackup>,
    /// Whether it has the groups that a restore there would use; `None` where there is no name.
    has_subnet_group: Option<bool>,
    has_parameter_group: Option<bool>,
    quota: Quota,
}

/// The number and the limit of manual snapshots; `None`: the query failed, which is reported separately.
type Quota = Option<Option<(u64, u64)>>;

/// Examines the database. All regions are queried concurrently, each once: a lost one delays the result by no
/// more than the policy's patience.
pub(super) async fn examine(
    policy: &Policy,
    source: &Source,
    rds: &RdsSource,
    now: DateTime<Utc>,
) -> Vec<DoctorFinding> {
    let regions = join_all(rds.regions.iter().map(|region| ask(rds, region)));
    let (home, regions) = join(ask_home(rds), regions).await;
    let mut found = Findings { subject: source.name.as_str(), list: vec![] };
    let database = match home.database {
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
                format!("Are the source's `region` and `{kind}` right?"),
            );
            None
        }
        Err(reason) => {
            found.fault(reason, "Check the credentials and the endpoint of the source, and the network.");
            None
        }
    };
    if let Some(key) = home.shared_key {
        sharing(&mut found, rds, key);
    }
    quota(&mut found, &rds.place.region, home.quota);
    for (region, asked) in rds.regions.iter().zip(regions) {
        match asked {
            Ok(there) => {
                of_region(&mut found, policy, rds, (region, &there), database.as_ref(), now);
                quota(&mut found, &region.name, there.quota);
            }
            Err(reason) => found.fault(
                format!("{} could not be queried: {reason}", region.name),
                "Check the credentials and the region: backups there can be neither taken nor restored.",
            ),
        }
    }
    found.list
}

async fn ask_home(source: &RdsSource) -> AtHome {
    let rds = match Rds::to_look(&source.place).await {
        Ok(rds) => rds,
        Err(error) => return AtHome { database: Err(error_chain(&error)), shared_key: None, quota: None },
    };
    let (database, quota) = join(rds.database(&source.database), ask_quota(&rds, source)).await;
    let database = database.map_err(|failure| error_chain(&failure));
    let named = database.as_ref().ok().and_then(Option::as_ref);
    let named = named.and_then(|database| database.profile.kms_key.as_ref());
    let shared_key = match named.filter(|_| source.snapshots && !source.share_with.is_empty()) {
        Some(named) => match key(&source.place, named).await {
            Ok(Some(key)) => Some(Ok(key)),
            Ok(None) => Some(Err(format!("there is no key {named}"))),
            Err(error) => Some(Err(error_chain(&error))),
        },
        None => None,
    };
    AtHome { database, shared_key, quota }
}

async fn ask(source: &RdsSource, region: &RdsRegion) -> Result<RegionFacts, String> {
    let rds =
        Rds::to_look(&source.place.in_region(&region.name)).await.map_err(|error| error_chain(&error))?;
    let failed = |failure: AwsFailure| error_chain(&failure);
    let of_cluster = matches!(source.database, RdsDatabase::Cluster(_));
    // RDS replicates those of instances only.
    let kept =
        async { if of_cluster { Ok(vec![]) } else { rds.automated_backups_of(&source.database).await } };
    let has_subnet_group = async {
        match &region.names.subnet_group {
            Some(group) => rds.has_subnet_group(group).await.map(Some),
            None => Ok(None),
        }
    };
    let has_parameter_group = async {
        match &region.names.parameter_group {
            Some(group) if of_cluster => rds.has_cluster_parameter_group(group).await.map(Some),
            Some(group) => rds.has_parameter_group(group).await.map(Some),
            None => Ok(None),
        }
    };
    let (groups, (kept, quota)) =
        join(join(has_subnet_group, has_parameter_group), join(kept, ask_quota(&rds, source))).await;
    Ok(RegionFacts {
        kept: kept.map_err(failed)?,
        has_subnet_group: groups.0.map_err(failed)?,
        has_parameter_group: groups.1.map_err(failed)?,
        quota,
    })
}

async fn ask_quota(rds: &Rds, source: &RdsSource) -> Quota {
    rds.snapshot_quota(&SnapshotId::like(&source.database, "")).await.ok()
}

struct Findings<'s> {
    subject: &'s str,
    list: Vec<DoctorFinding>,
}

impl Findings<'_> {
    fn good(&mut self, message: impl Into<String>) {
        self.list.push(DoctorFinding::good(Area::Source, self.subject, message));
    }

    fn note(&mut self, message: impl Into<String>) {
        self.list.push(DoctorFinding::note(Area::Source, self.subject, message));
    }

    fn warning(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.list.push(DoctorFinding::warning(Area::Source, self.subject, message, remedy));
    }

    fn fault(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        self.list.push(DoctorFinding::fault(Area::Source, self.subject, message, remedy));
    }
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
        () if database.cluster.is_some() => {
            let cluster = database.cluster.as_deref().unwrap_or_default();
            found.fault(
                format!("`{name}` is an instance of cluster `{cluster}`, and RDS takes snapshots of the cluster only"),
                format!("Write `cluster = \"{cluster}\"` in the source, in the place of `instance`."),
            );
            return;
        }
        () if !profile.engine.contains("postgres") => {
            found.fault(what, "drctl protects PostgreSQL: name another instance.");
        }
        () if database.is_lost() => {
            found.fault(what, "Repair it, or restore it: `drctl list` shows the backups.")
        }
        () if database.is_stopped() => found.fault(
            format!("{what}, and RDS takes no snapshot of it"),
            format!("Start it: {}.", database.start_command()),
        ),
        () if !database.is_available() => found.note(what),
        () => found.good(what),
    }
    if !profile.encrypted {
        let remedy = match &rds.database {
            RdsDatabase::Instance(_) => "A copy of a snapshot can be encrypted, and restored in its place: `kms_key` under `copy_to` makes one.".to_owned(),
            RdsDatabase::Cluster(_) => format!("A cluster is encrypted by a restore: {}.", encrypt_cluster(found.subject)),
        };
        found.warning(format!("neither `{name}` nor its snapshots are encrypted"), remedy);
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
    found.list.extend(super::iam_token::examine(found.subject, rds, database));
    retention(found, policy, source, database);
    if profile.backup_retention_days != Some(0) {
        lag(found, policy, &rds.place.region, database.latest_restorable, now);
    }
}

/// Reports whether snapshots with that KMS key can be shared with other accounts.
fn sharing(found: &mut Findings<'_>, rds: &RdsSource, key: Result<KmsKey, String>) {
    let name = rds.database.identifier();
    match key {
        Ok(key) if key.is_of_aws => found.fault(
            format!(
                "`{name}` is encrypted with the AWS-managed key {}, and AWS shares no snapshot under it: account {} gets none",
                key.arn,
                rds.share_with.join(", ")
            ),
            match rds.database {
                RdsDatabase::Instance(_) => "Restore a copy of a snapshot that was encrypted with a key of your own (`aws rds copy-db-snapshot --kms-key-id`), and put it in its place; or take `share_with` from the source.".to_owned(),
                RdsDatabase::Cluster(_) => format!("Encrypt it with a key of your own: {}; or take `share_with` from the source.", encrypt_cluster(found.subject)),
            },
        ),
        Ok(_) => found.good(format!("the key of `{name}` can be shared with other accounts")),
        Err(reason) => {
            found.note(format!("whether snapshots of `{name}` can be shared is not known: {reason}"));
        }
    }
}

/// Compares how far back a point-in-time restore can go with the policy.
fn retention(found: &mut Findings<'_>, policy: &Policy, source: &Source, database: &Database) {
    let rules = policy.retention.as_ref().map(|retention| retention.rules_for(&source.name));
    let wanted = rules.and_then(|rules| rules.pitr);
    let name = database.id.identifier();
    let remedy = "Raise the instance's backup retention (1 to 35 days).";
    match (database.profile.backup_retention_days, wanted) {
        (Some(0), wanted) => {
            let asked = wanted.map(|wanted| format!(", and the policy asks for {}", format_duration(wanted)));
            found.fault(
                format!(
                    "RDS keeps no automated backups of `{name}` (retention 0): no time between snapshots can be restored{}",
                    asked.unwrap_or_default()
                ),
                format!("{remedy} RDS briefly suspends I/O when it turns them on."),
            );
        }
        (Some(days), Some(wanted)) if Duration::from_secs(u64::from(days) * 86_400) < wanted => {
            found.warning(
                format!(
                    "RDS keeps automated backups of `{name}` for {days} days, and the policy asks for {}",
                    format_duration(wanted)
                ),
                remedy,
            );
        }
        (Some(days), _) => found.good(format!("RDS keeps automated backups of `{name}` for {days} days")),
        (None, _) => found.note(format!("RDS does not say how long it keeps automated backups of `{name}`")),
    }
}

/// Warns at 75 % of the objective, as for archived WAL.
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
            format!("automated backups in {region} have no restorable time yet"),
            "The first takes RDS a while; if it persists, check the instance's events.",
        );
    };
    let behind = (now - latest).to_std().unwrap_or_default();
    let said = format!(
        "the latest restorable time of the automated backups in {region} is {} ago",
        format_duration(whole(behind))
    );
    let remedy = "RDS uploads WAL every five minutes while the instance is available and has free storage: check its state, storage and events.";
    match () {
        () if behind > rpo => {
            found.fault(format!("{said}, more than the RPO of {}", format_duration(rpo)), remedy)
        }
        () if behind > LAG.min(rpo * 3 / 4) => found.warning(said, remedy),
        () => found.good(said),
    }
}

fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

fn quota(found: &mut Findings<'_>, region: &str, quota: Quota) {
    match quota {
        Some(Some((used, most))) if used >= most => found.fault(
            format!("all {most} manual snapshots that the account may have in {region} are used"),
            "Request a quota increase, or delete old ones: the next backup fails.",
        ),
        Some(Some((used, most))) if used * 5 >= most * 4 => found.warning(
            format!("{used} of {most} manual snapshots are used in {region}"),
            "Request a quota increase, or delete old ones, before backups fail.",
        ),
        Some(Some((used, most))) => {
            found.good(format!("{used} of {most} manual snapshots are used in {region}"))
        }
        Some(None) => found.note(format!("the quota of snapshots in {region} cannot be queried")),
        None => {}
    }
}

fn of_region(
    found: &mut Findings<'_>,
    policy: &Policy,
    source: &RdsSource,
    (region, there): (&RdsRegion, &RegionFacts),
    database: Option<&Database>,
    now: DateTime<Utc>,
) {
    let name = &region.name;
    let encrypted = database.map(|database| database.profile.encrypted);
    match (encrypted, &region.kms_key, &source.database) {
        (Some(true), None, _) => found.fault(
            format!("the database is encrypted, and the policy names no key in {name}: no snapshot can be copied there"),
            format!("Add `kms_key` to `copy_to.{name}`."),
        ),
        (Some(false), Some(_), RdsDatabase::Cluster(_)) => found.warning(
            format!("the copies in {name} are not encrypted: AWS encrypts no copy of an unencrypted cluster's snapshot, and `kms_key` is not used for it"),
            format!("Encrypt the cluster: {}.", encrypt_cluster(found.subject)),
        ),
        _ => {}
    }
    if let (Some(has), Some(group)) = (there.has_subnet_group, &region.names.subnet_group) {
        match has {
            true => found.good(format!("subnet group `{group}` exists in {name}")),
            false => found.fault(
                format!("there is no subnet group `{group}` in {name}, which a restore there would use"),
                "Create it, or name another one.",
            ),
        }
    }
    if let (Some(has), Some(group)) = (there.has_parameter_group, &region.names.parameter_group) {
        match has {
            true => found.good(format!("parameter group `{group}` exists in {name}")),
            false => found.fault(
                format!("there is no parameter group `{group}` in {name}, which a restore there would use"),
                "Create it, or name another one.",
            ),
        }
    }
    let own = |kept: &&AutomatedBackup| {
        kept.database_region.as_ref().is_none_or(|region| *region == source.place.region)
            && database.is_none_or(|database| database.resource_id == kept.resource_id)
    };
    let replicated = there.kept.iter().filter(own).find(|kept| kept.status != "retained");
    match replicated {
        Some(backup) => {
            if backup.status != "replicating" {
                found.note(format!("the replication of automated backups to {name} is `{}`", backup.status));
            }
            lag(found, policy, name, backup.window.map(|window| window.latest), now);
        }
        None if region.automated_backups => found.fault(
            format!("the policy asks for automated backups in {name}, and RDS does not replicate there"),
            format!(
                "`drctl rds replicate-automated-backups {} --apply` starts the replication.",
                found.subject
            ),
        ),
        None => {}
    }
}

/// Returns how to turn an unencrypted cluster into an encrypted one.
fn encrypt_cluster(source: &str) -> String {
    format!(
        "`drctl restore {source} --backup latest --to-instance NEW --set kms_key=ARN` makes an encrypted one of a snapshot, and `drctl rds promote` puts it in its place"
    )
}
