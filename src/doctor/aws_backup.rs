//! A resource that AWS Backup protects: its vaults, their locks, its plan, and its recovery points.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::future::join;

use super::{Area, DoctorFinding};
use crate::aws::backup::{AwsBackup, AwsBackupPlan, Coverage, Vault};
use crate::event::Events;
use crate::policy::{AwsBackupSource, Policy, Rules, Source};
use crate::source::aws_backup::{LatestPoint, RegionPoint, in_each_region};
use crate::text::{error_chain, format_duration};

pub(super) async fn examine(policy: &Policy, source: &Source, now: DateTime<Utc>) -> Vec<DoctorFinding> {
    let Some(config) = source.aws_backup() else { return vec![] };
    let subject = source.name.as_str();
    let recorded = BTreeSet::new();
    let events = Events::default();
    let regions = in_each_region(config, &policy.system, &source.name, &recorded, &events);
    let (regions, plan) = join(regions, plan(subject, config)).await;
    let needed = policy.retention.as_ref().map(|retention| longest(retention.rules_for(&source.name)));
    let mut findings = Vec::new();
    for region in &regions {
        match &region.found {
            Ok(found) => {
                findings.push(describe_vault(subject, region, &found.vault, now));
                findings.extend(retention(subject, region, &found.vault, needed));
                findings.extend(found.unread.iter().map(|unread| {
                    let hint = "Give the role what `drctl iam show` prints for it, or have the plan write to the policy's `vault`.";
                    DoctorFinding::warning(Area::Source, subject, unread.clone(), hint)
                }));
                findings.push(describe_newest(subject, region, found, policy.objectives.rpo, now));
            }
            Err(reason) => findings.push(DoctorFinding::fault(
                Area::Source,
                subject,
                format!("failed to query {}: {reason}", region.region),
                "Check the region, the vault's name and the credentials in the policy; `drctl iam show auditor` prints the permissions.",
            )),
        }
    }
    findings.extend(unlocked(subject, &regions));
    findings.extend(plan);
    findings.push(DoctorFinding::note(
        Area::Source,
        subject,
        format!("whether {} may be passed to AWS Backup is known only when a job starts", config.role),
    ));
    findings
}

/// Returns the days for which the policy keeps anything.
fn longest(rules: &Rules) -> u64 {
    rules.longest_days().unwrap_or(0)
}

fn describe_vault(subject: &str, region: &RegionPoint, vault: &Vault, now: DateTime<Utc>) -> DoctorFinding {
    let lock = vault.lock.map_or_else(
        || "not locked".to_owned(),
        |lock| {
            let days = match (lock.least_days, lock.most_days) {
                (Some(least), Some(most)) => format!(", {least} to {most} days"),
                (Some(least), None) => format!(", {least} days at least"),
                (None, Some(most)) => format!(", {most} days at most"),
                (None, None) => String::new(),
            };
            format!("locked ({}{days})", lock.describe(now))
        },
    );
    DoctorFinding::good(
        Area::Source,
        subject,
        format!("vault `{}` in {} exists, {lock}", vault.name, region.region),
    )
}

/// Compares the retention that the lock allows with the policy.
fn retention(
    subject: &str,
    region: &RegionPoint,
    vault: &Vault,
    needed: Option<u64>,
) -> Option<DoctorFinding> {
    let (lock, needed) = (vault.lock?, needed?);
    let place = format!("vault `{}` in {}", vault.name, region.region);
    if let Some(most) = lock.most_days.filter(|most| *most < needed) {
        return Some(DoctorFinding::warning(
            Area::Source,
            subject,
            format!("{place} retains nothing for longer than {most} days, and `retention` requires {needed}"),
            "Choose a vault whose lock allows as long, or ask for less in `retention`.",
        ));
    }
    lock.least_days.filter(|least| *least > needed).map(|least| {
        DoctorFinding::note(
            Area::Source,
            subject,
            format!(
                "{place} retains everything for {least} days at least, and `retention` requires {needed}"
            ),
        )
    })
}

/// Reports an unlocked vault: only a lock stops an intruder with full access to the account.
fn unlocked(subject: &str, regions: &[RegionPoint]) -> Option<DoctorFinding> {
    let mut known = regions.iter().map(|region| region.found.as_ref().ok());
    let none = known.all(|found| found.is_some_and(|found| found.vault.lock.is_none()));
    none.then(|| {
        DoctorFinding::warning(
            Area::Source,
            subject,
            "none of its vaults is locked: a compromised account can delete every recovery point",
            "Lock one in another region (`aws backup put-backup-vault-lock-configuration`); with `--changeable-for-days` it becomes a compliance lock, which cannot be removed.",
        )
    })
}

fn describe_newest(
    subject: &str,
    region: &RegionPoint,
    found: &LatestPoint,
    rpo: std::time::Duration,
    now: DateTime<Utc>,
) -> DoctorFinding {
    let place = &region.region;
    let created = found.newest.as_ref().and_then(|point| Some((point, point.created?)));
    let Some((point, created)) = created else {
        if found.is_untold {
            return DoctorFinding::note(
                Area::Source,
                subject,
                format!(
                    "the newest of drctl's recovery points in {place} is recorded in the manifests only: `drctl status` reads them"
                ),
            );
        }
        return DoctorFinding::warning(
            Area::Source,
            subject,
            format!("{place} has no recovery point of it yet"),
            "`drctl backup` creates a recovery point and its copies.",
        );
    };
    let age = (now - created).to_std().unwrap_or_default();
    let told = format_duration(std::time::Duration::from_secs(age.as_secs()));
    let whose = point.plan.as_ref().map(|_| ", of the plan").unwrap_or_default();
    let message = format!("the newest recovery point in {place} is {told} old{whose}");
    if age <= rpo {
        return DoctorFinding::good(Area::Source, subject, message);
    }
    let message = format!("{message}, more than the RPO of {}", format_duration(rpo));
    DoctorFinding::warning(Area::Source, subject, message, "Run `drctl backup` more often.")
}

async fn plan(subject: &str, config: &AwsBackupSource) -> Option<DoctorFinding> {
    let named = config.plan.as_ref()?;
    let asked = match AwsBackup::to_look(&config.place).await {
        Ok(aws) => aws.plan(named).await.map_err(|error| error_chain(&error)),
        Err(error) => Err(error_chain(&error)),
    };
    Some(match asked {
        Ok(Some(plan)) => covers(subject, &plan, &config.resource),
        Ok(None) => DoctorFinding::fault(
            Area::Source,
            subject,
            format!("there is no plan `{named}` in {}", config.place.region),
            "Is the source's `plan` the name or ID of a plan in that region?",
        ),
        Err(reason) => DoctorFinding::warning(
            Area::Source,
            subject,
            format!("what plan `{named}` covers could not be queried: {reason}"),
            "Give the role what `drctl iam show auditor` prints.",
        ),
    })
}

fn covers(subject: &str, plan: &AwsBackupPlan, resource: &str) -> DoctorFinding {
    let name = &plan.name;
    match plan.covers(resource) {
        Coverage::Covered => {
            DoctorFinding::good(Area::Source, subject, format!("plan `{name}` covers {resource}"))
        }
        Coverage::NotCovered => DoctorFinding::warning(
            Area::Source,
            subject,
            format!("plan `{name}` does not cover {resource}: none of its selections matches it"),
            "Add it to a selection of the plan; until then only drctl's own backups protect it.",
        ),
        Coverage::Unknown => DoctorFinding::note(
            Area::Source,
            subject,
            format!("whether plan `{name}` covers {resource} depends on the resource's tags"),
        ),
    }
}
