//! Derives the settings of a new database from those of the original.

use serde::Serialize;

use super::Lifetime;
use super::parameter_groups::is_default;
use super::restore_source::{RestoreSource, SelectedBackup};
use crate::aws::rds::{Changes, NewInstance};
use crate::aws::{AwsTags, EXPIRES, MANAGED, NAME, OWNER, RESTORED_FROM, SOURCE, SYSTEM};
use crate::model::{RegionNames, RestoreProfile, SourceName, SystemName};
use crate::text::format_time;

/// On a restored instance: the source it was created from.
pub(crate) const FROM: &str = RESTORED_FROM;
/// On one whose restore completed: the time whose data it has.
pub(crate) const DONE: &str = "drctl:restored-until";
/// On one whose data was checked: the number of the policy's checks that passed, of all, as `2/3`.
pub(super) const CHECKS: &str = "drctl:checks";
/// On an instance of a restored cluster: the name of the original instance.
pub(crate) const STANDS_FOR: &str = "drctl:stands-for";
/// On an instance created without automated backups: production's retention in days.
pub(crate) const RETENTION: &str = "drctl:backup-retention-days";
/// RDS allows 50 tags; some are reserved for drctl's own.
const OWN_TAGS: usize = 50 - 11;

/// Returns the retention in days of automated backups to set when it replaces production, where it was
/// created without.
pub(crate) fn retention(tags: &AwsTags) -> Option<u32> {
    tags.get(RETENTION)?.parse().ok().filter(|days| *days > 0)
}

/// Returns how many checks of a database's data passed when it was restored, and of how many.
pub(crate) fn checks(tags: &AwsTags) -> Option<(u64, u64)> {
    let (held, asked) = tags.get(CHECKS)?.split_once('/')?;
    Some((held.parse().ok()?, asked.parse().ok()?))
}

/// The default mode of Database Insights.
const STANDARD: &str = "standard";
/// Below this size, RDS determines the performance of gp3, and refuses a setting.
const GP3_TUNABLE: u64 = 400;

/// A line of the plan: a setting passed to RDS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedSetting {
    pub name: &'static str,
    pub value: String,
}

/// What a restore sets in RDS, and what it cannot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) new: NewInstance,
    /// Settings that creation does not take.
    pub(super) changes: Changes,
    /// As text, for a person.
    pub(super) not_reproduced: Vec<String>,
}

pub(super) fn settings(
    profile: &RestoreProfile,
    chosen: &SelectedBackup,
    names: &RegionNames,
    is_home: bool,
    to: &str,
    tags: AwsTags,
    lifetime: Option<&Lifetime>,
) -> Settings {
    // A temporary database must be easy to delete, and is not production.
    let stays = lifetime.is_none();
    let to_moment = matches!(chosen.via, RestoreSource::Automated { .. });
    let own = |name: &Option<String>| name.clone().filter(|_| is_home);
    let tunable = match profile.storage.kind.as_deref() {
        Some("gp3") => profile.storage.allocated_gib.is_some_and(|gib| gib >= GP3_TUNABLE),
        Some("io1" | "io2") => true,
        _ => false,
    };
    let is_gp3 = profile.storage.kind.as_deref() == Some("gp3");
    let parameters = profile.parameter_group.as_ref().map(|group| group.name.clone());
    let backup_retention_days = match (&profile.cluster, profile.backup_retention_days) {
        // RDS takes a full backup at once where it keeps any, and defers every change until that is done.
        (None, Some(_)) => Some(0),
        (None, None) => (!stays).then_some(0),
        // Clusters have a retention of at least one day.
        (Some(_), days) => {
            if stays {
                days.map(|days| days.max(1))
            } else {
                Some(1)
            }
        }
    };
    let security_groups = names.security_groups.clone();
    let new = NewInstance {
        identifier: to.to_owned(),
        class: profile.class.clone(),
        port: profile.port,
        subnet_group: names.subnet_group.clone().or_else(|| own(&profile.subnet_group)),
        security_groups: security_groups
            .unwrap_or_else(|| if is_home { profile.security_groups.clone() } else { vec![] }),
        parameter_group: names.parameter_group.clone().or(parameters).filter(|name| !is_default(name)),
        option_group: names
            .option_group
            .clone()
            .or_else(|| own(&profile.option_group))
            .filter(|name| !is_default(name)),
        multi_az: profile.multi_az,
        publicly_accessible: profile.publicly_accessible,
        iam_authentication: profile.iam_authentication,
        // Set explicitly: otherwise it is inherited.
        deletion_protection: if stays { profile.deletion_protection } else { Some(false) },
        minor_upgrades: profile.minor_upgrades,
        copy_tags_to_snapshot: profile.copy_tags_to_snapshot,
        log_exports: profile.log_exports.clone(),
        storage_kind: profile.storage.kind.clone(),
        iops: profile.storage.iops.filter(|_| tunable),
        throughput: profile.storage.throughput.filter(|_| tunable && is_gp3),
        max_allocated_gib: profile.storage.max_allocated_gib.filter(|_| to_moment),
        backup_retention_days,
        backup_window: profile.backup_window.clone(),
        ca_certificate: profile.ca_certificate.clone(),
        lifecycle_support: profile.lifecycle_support.clone(),
        network_type: profile.network_type.clone(),
        dedicated_log_volume: profile.dedicated_log_volume,
        zone: None,
        tags,
    };
    let insights = profile.performance_insights.as_ref();
    let changes = Changes {
        max_allocated_gib: profile.storage.max_allocated_gib.filter(|_| !to_moment),
        maintenance_window: profile.maintenance_window.clone(),
        monitoring: profile
            .monitoring
            .as_ref()
            .map(|monitoring| (monitoring.interval_seconds, monitoring.role.clone())),
        // A KMS key of the other region is of no use here; RDS then takes the account's.
        performance_insights: insights
            .map(|insights| (insights.kms_key.clone().filter(|_| is_home), insights.retention_days)),
        // The default need not be set.
        insights_mode: profile.insights_mode.clone().filter(|mode| mode != STANDARD),
        manage_password: profile.password_is_managed,
        secret_kms_key: profile.secret_kms_key.clone().filter(|_| is_home && profile.password_is_managed),
        ..Changes::default()
    };
    Settings { new, changes, not_reproduced: not_reproduced(profile, is_home) }
}

/// Returns the tags of the original, and those that identify the new owner.
pub(super) fn tags(
    profile: &RestoreProfile,
    system: &SystemName,
    source: &SourceName,
    to: &str,
    chosen: &SelectedBackup,
    lifetime: Option<&Lifetime>,
) -> AwsTags {
    // A temporary copy must not match tag selectors meant for the original.
    let own = inheritable(profile).take(if lifetime.is_none() { OWN_TAGS } else { 0 });
    let own: AwsTags = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    let tags = own
        .with(MANAGED, "true")
        .with(SYSTEM, system.as_str())
        .with(SOURCE, source.as_str())
        .with(NAME, to)
        .with(FROM, chosen.via.tag());
    let days = profile.backup_retention_days.filter(|days| *days > 0 && profile.cluster.is_none());
    let tags = match days {
        Some(days) => tags.with(RETENTION, days.to_string()),
        None => tags,
    };
    match lifetime {
        Some(lifetime) => tags.with(OWNER, &lifetime.owner).with(EXPIRES, format_time(lifetime.until)),
        None => tags,
    }
}

/// Returns whether this very restore began to create it.
pub(super) fn is_own(existing: &AwsTags, chosen: &SelectedBackup, tags: &AwsTags) -> bool {
    existing.is_managed()
        && existing.get(SYSTEM) == tags.get(SYSTEM)
        && existing.get(SOURCE) == tags.get(SOURCE)
        && existing.get(FROM).is_some_and(|tag| chosen.via.is_begun_as(tag))
}

/// Returns the tags without those of drctl and AWS, which describe the original.
fn inheritable(profile: &RestoreProfile) -> impl Iterator<Item = (&String, &String)> {
    profile.tags.iter().filter(|(key, _)| !key.starts_with("aws:") && !key.starts_with("drctl:"))
}

fn not_reproduced(profile: &RestoreProfile, is_home: bool) -> Vec<String> {
    let mut words = vec![
        "the master password is the one of that moment".to_owned(),
        "it has a new address and a new resource id: what names the old one (IAM policies, RDS Proxy, alarms) does not know it".to_owned(),
        "RDS starts a new series of backups of it; their replication to other regions has to be set up again".to_owned(),
    ];
    if profile.password_is_managed {
        words[0] = "the master password gets a new secret in Secrets Manager".to_owned();
    }
    if profile.secret_kms_key.is_some() && profile.password_is_managed && !is_home {
        words.push("the secret of the master password is encrypted with the account's key there".to_owned());
    }
    words.extend(profile.not_recorded.iter().map(|what| format!("it was not recorded {what}")));
    if !profile.replicas.is_empty() {
        words.push(format!("read replicas are not made: {}", profile.replicas.join(", ")));
    }
    for role in &profile.roles {
        let feature = role.feature.as_deref().unwrap_or("a feature");
        words.push(format!("the role for {feature} is not attached: {}", role.arn));
    }
    let dropped: Vec<_> = inheritable(profile).skip(OWN_TAGS).map(|(key, _)| key.as_str()).collect();
    if !dropped.is_empty() {
        words.push(format!("there is no room for these tags: {}", dropped.join(", ")));
    }
    if !is_home && profile.kms_key.is_some() {
        words.push("it is encrypted with the key of its snapshot there".to_owned());
    }
    words
}
