//! Warnings about policies that are valid but unwise.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use serde::Serialize;
use url::Url;

use super::automation::CronLine;
use super::aws::RdsDatabase;
use super::fault::TextPosition;
use super::settings::{Encryption, Policy, RepositoryLocation, S3Location};
use super::source::{Source, SourceConfig};
use crate::model::RepositoryName;
use crate::text::format_duration;

/// A warning: the policy is valid, but recovery may be worse than expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lint {
    /// The policy cannot meet its own objective.
    pub misses_objective: bool,
    /// `None` if it is about a missing setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<TextPosition>,
    /// The dotted setting it is about, which may be absent.
    pub key: String,
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  hint: {}", self.key, self.message, self.hint)
    }
}

/// Returns all warnings about a policy, the gravest first.
pub fn lint(policy: &Policy) -> Vec<Lint> {
    let mut lints = Vec::new();
    let mut lint = |key: String, message: String, hint: &str| {
        lints.push(Lint { misses_objective: false, at: None, key, message, hint: hint.to_owned() });
    };
    encryption(policy, &mut lint);
    copies(policy, &mut lint);
    regions(policy, &mut lint);
    transport(policy, &mut lint);
    routine(policy, &mut lint);
    lints.splice(0..0, objectives(policy));
    lints.splice(0..0, unrestorable(policy));
    lints
}

fn encryption(policy: &Policy, lint: &mut impl FnMut(String, String, &str)) {
    match &policy.encryption {
        Encryption::None => lint(
            "encryption".to_owned(),
            "backups are not encrypted: read access to a repository is access to the data".to_owned(),
            "run `drctl keys generate`, and put the keys into `recipients`",
        ),
        Encryption::Age { recipients } if recipients.len() < 2 => lint(
            "encryption.recipients".to_owned(),
            "backups have one recipient: without its identity every backup is lost".to_owned(),
            "add a second key that is kept elsewhere",
        ),
        Encryption::Age { .. } => {}
    }
}

fn copies(policy: &Policy, lint: &mut impl FnMut(String, String, &str)) {
    let Some((primary, copies)) = policy.repositories.split_first() else { return };
    let key = "repository.copies".to_owned();
    if copies.is_empty() {
        let message =
            "there is no copy: the loss of a region, an account or a bucket is the loss of every backup";
        lint(key, message.to_owned(), "add a `[repository.copies.…]` in another region");
    } else if !copies.iter().any(|copy| is_elsewhere(&primary.place, &copy.place)) {
        let message = match &primary.place {
            RepositoryLocation::S3(place) => format!("no copy is in another region than `{}`", place.region),
            RepositoryLocation::Directory(_) => {
                "no copy is known to be off this site: every repository is a directory".to_owned()
            }
        };
        lint(key, message, "put a copy into another region, or with another provider");
    }
    let locked = |place: &RepositoryLocation| matches!(place, RepositoryLocation::S3(place) if place.object_lock.is_some());
    if !policy.repositories.iter().any(|repository| locked(&repository.place)) {
        lint(
            "repository".to_owned(),
            "no repository is write-once: stolen credentials of this host can delete every backup".to_owned(),
            "set `object_lock` where the store supports it; otherwise deny this host the permission to delete",
        );
    }
    for repository in &policy.repositories {
        let RepositoryLocation::S3(place) = &repository.place else { continue };
        let is_r2 = host(place).is_some_and(|host| host.ends_with(".r2.cloudflarestorage.com"));
        let key = key_of(&repository.name);
        if is_r2 && (place.object_lock.is_some() || place.server_side_encryption.is_some()) {
            let message =
                "Cloudflare R2 has neither object lock nor server-side encryption by request".to_owned();
            lint(key.clone(), message, "remove the setting; `drctl doctor` shows what the store can do");
        }
        if is_r2 && place.region != "auto" {
            lint(
                key,
                format!("Cloudflare R2 has one region, `auto`, not `{}`", place.region),
                "say `region = \"auto\"`.",
            );
        }
    }
}

/// Warns about sources that drctl cannot restore: they meet no objective.
fn unrestorable(policy: &Policy) -> Vec<Lint> {
    let one = |source: &Source| {
        let kind = source.aws_backup()?.unrestorable()?;
        Some(Lint {
            misses_objective: true,
            at: None,
            key: format!("sources.{}.resource", source.name),
            message: format!("drctl does not restore {kind}, and takes no backup of `{}`", source.name),
            hint: "say `restored_by_aws = true` if AWS's console, or its command line, is to restore it; drctl restores RDS, Aurora, EFS, S3 and DynamoDB".to_owned(),
        })
    };
    policy.sources.iter().filter_map(one).collect()
}

/// Warns about differences between the policy and what RDS keeps.
fn regions(policy: &Policy, lint: &mut impl FnMut(String, String, &str)) {
    for source in &policy.sources {
        let Some(rds) = source.rds() else { continue };
        let (name, key) = (&source.name, format!("sources.{}.copy_to", source.name));
        if rds.snapshots && rds.regions.is_empty() {
            let message = format!("snapshots of `{name}` are in one region, with the database itself");
            lint(
                key,
                message,
                "add a region under `copy_to`; a dump beside it (`logical`) leaves the account, too",
            );
            continue;
        }
        for region in &rds.regions {
            let names = [
                ("`subnet_group`", region.names.subnet_group.is_none()),
                ("`security_groups`", region.names.security_groups.is_none()),
            ];
            let missing: Vec<_> =
                names.iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| *name).collect();
            if !missing.is_empty() {
                let message =
                    format!("a restore of `{name}` there is rejected without {}", missing.join(" and "));
                let hint = "name them: the names of the database's own region are not valid there";
                lint(format!("{key}.{}", region.name), message, hint);
            }
        }
        let pitr = policy.retention.as_ref().and_then(|retention| retention.rules_for(name).pitr);
        let replicates = rds.regions.iter().any(|region| region.automated_backups);
        // RDS replicates the automated backups of instances only.
        let can = matches!(rds.database, RdsDatabase::Instance(_)) && !rds.regions.is_empty();
        if let Some(pitr) = pitr.filter(|_| can && !replicates) {
            let message = format!(
                "`pitr` is {}, and other regions have only snapshots of `{name}`",
                format_duration(pitr)
            );
            lint(key, message, "add `automated_backups = true` to a region under `copy_to`");
        }
    }
}

fn key_of(name: &RepositoryName) -> String {
    match name.as_str() {
        "primary" => "repository.primary".to_owned(),
        copy => format!("repository.copies.{copy}"),
    }
}

/// Returns whether one location survives the loss of the other's region.
fn is_elsewhere(one: &RepositoryLocation, other: &RepositoryLocation) -> bool {
    match (one, other) {
        (RepositoryLocation::S3(one), RepositoryLocation::S3(other)) => {
            one.region != other.region || host(one) != host(other)
        }
        (RepositoryLocation::Directory(_), RepositoryLocation::Directory(_)) => false,
        _ => true,
    }
}

fn host(place: &S3Location) -> Option<&str> {
    place.endpoint.as_ref().and_then(Url::host_str)
}

fn objectives(policy: &Policy) -> Vec<Lint> {
    let rpo = policy.objectives.rpo;
    let mut lints = Vec::new();
    for source in &policy.sources {
        let key = format!("schedule.sources.{}", source.name);
        let lines: Vec<&CronLine> = policy
            .schedule
            .backups
            .iter()
            .filter(|times| times.source == source.name)
            .flat_map(|times| &times.lines)
            .collect();
        if lines.is_empty() {
            let message = format!("`{}` has no backup schedule", source.name);
            let hint = "add cron lines for it".to_owned();
            lints.push(Lint { misses_objective: false, at: None, key, message, hint });
            continue;
        }
        let apart = widest_gap(&lines);
        if !source.continuous && apart.is_none_or(|apart| apart > rpo) {
            let apart = apart.map_or("more than two months".to_owned(), format_duration);
            let message = format!(
                "`{}` cannot meet the RPO of {}: its backups are up to {apart} apart",
                source.name,
                format_duration(rpo),
            );
            lints.push(Lint { misses_objective: true, at: None, key, message, hint: remedy(source) });
        }
    }
    lints
}

fn remedy(source: &Source) -> String {
    let more = "back it up more often, or raise the RPO";
    match &source.config {
        SourceConfig::Postgres(_) => {
            format!("{more}; continuous archiving (`methods = [\"base\", \"wal\"]`) loses seconds to minutes")
        }
        SourceConfig::Rds(_) => format!(
            "{more}; RDS's automated backups in another region (`automated_backups = true` under `copy_to`) lose minutes"
        ),
        _ => more.to_owned(),
    }
}

/// The longest time between two firings, in a span that every usual line comes round in several times.
/// `None`: less than two in it. The hour that summer time adds or takes away is not counted.
pub fn widest_gap(lines: &[&CronLine]) -> Option<Duration> {
    // A line of every minute shows its widest gap (an hour, a night, a weekend) long before this many.
    const MOST: usize = 20_000;
    let begin: DateTime<Utc> = Utc.timestamp_nanos(0);
    let mut end = begin + TimeDelta::days(63);
    let mut times: Vec<DateTime<Utc>> = Vec::new();
    for line in lines {
        let firings: Vec<_> =
            line.cron().iter_after(begin).take(MOST).take_while(|time| *time <= end).collect();
        if firings.len() == MOST {
            end = firings.last().copied().unwrap_or(end);
        }
        times.extend(firings);
    }
    times.retain(|time| *time <= end);
    times.sort_unstable();
    times.windows(2).filter_map(|pair| (pair[1] - pair[0]).to_std().ok()).max()
}

fn transport(policy: &Policy, lint: &mut impl FnMut(String, String, &str)) {
    for source in &policy.sources {
        let Some(postgres) = source.postgres() else { continue };
        let Some(url) = &postgres.url else { continue };
        let mode = url.query_pairs().find(|(name, _)| name == "sslmode").map(|(_, mode)| mode.into_owned());
        let checked = mode.as_deref().is_some_and(|mode| mode.starts_with("verify-"));
        if !is_local(url) && !checked {
            let mode = mode.unwrap_or_else(|| "prefer".to_owned());
            let message = format!("`sslmode={mode}` does not verify the identity of the server");
            let hint = "say `sslmode=verify-full`, with `sslrootcert` where the certificate is not public";
            lint(format!("sources.{}.url", source.name), message, hint);
        }
    }
    for repository in &policy.repositories {
        let RepositoryLocation::S3(place) = &repository.place else { continue };
        if let Some(endpoint) = place.endpoint.as_ref().filter(|url| url.scheme() == "http" && !is_local(url))
        {
            let message = format!("connections to `{endpoint}` are not encrypted");
            lint(key_of(&repository.name), message, "use `https://`");
        }
    }
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        None => true,
        Some(url::Host::Domain(name)) => name.is_empty() || name == "localhost" || name.starts_with("%2F"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
    }
}

fn routine(policy: &Policy, lint: &mut impl FnMut(String, String, &str)) {
    if policy.drill.is_none() {
        let message = "no drill is scheduled: a backup that was never restored is not proven";
        lint(
            "drill".to_owned(),
            message.to_owned(),
            "add a `[drill]`, and let cron run `drctl drill run --scheduled -q` every month",
        );
    }
    if let Some(drill) = policy.drill.as_ref().filter(|drill| drill.deadline > policy.objectives.rto) {
        let message = format!(
            "a drill may take {}, more than the RTO of {}",
            format_duration(drill.deadline),
            format_duration(policy.objectives.rto)
        );
        lint("drill.deadline".to_owned(), message, "a drill that misses the RTO has failed: shorten it");
    }
    if policy.retention.is_none() {
        let message = "no retention is set: backups are kept for ever";
        lint(
            "retention".to_owned(),
            message.to_owned(),
            "add a `[retention]`, like `daily = \"30d\"` and `weekly = \"6mo\"`",
        );
    }
    if policy.notify.routes.iter().take(2).all(Vec::is_empty) {
        let message = "no notification is set for a backup that fails";
        lint("notify".to_owned(), message.to_owned(), "name channels in `p1` and `p2`");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::parse;
    use crate::policy::samples::{POLICY, with};

    fn keys(text: &str) -> Vec<String> {
        lint(&parse(Path::new("shop.toml"), text).unwrap()).into_iter().map(|lint| lint.key).collect()
    }

    #[test]
    fn a_careful_policy_has_no_warnings() {
        assert_eq!(keys(POLICY), Vec::<String>::new());
    }

    #[test]
    fn dumps_further_apart_than_the_rpo_are_warned_of() {
        let text = with("15 * * * *", "0 */6 * * *");
        let lints = lint(&parse(Path::new("shop.toml"), &text).unwrap());
        assert_eq!(lints.len(), 1, "{lints:?}");
        assert_eq!(lints[0].key, "schedule.sources.database");
        assert!(
            lints[0].message.ends_with("the RPO of 1h: its backups are up to 6h apart"),
            "{}",
            lints[0].message
        );
    }

    #[test]
    fn continuous_archiving_meets_the_rpo_whatever_the_schedule() {
        let text = with("logical = \"15 * * * *\"", "base = \"0 3 * * 0\"")
            .replace("methods = [\"logical\"]", "methods = [\"base\", \"wal\"]");
        assert_eq!(keys(&text), Vec::<String>::new());
    }

    #[test]
    fn a_copy_in_the_same_region_is_not_a_second_region() {
        assert_eq!(keys(&with("us-west-2", "us-east-1")), ["repository.copies"]);
    }

    #[test]
    fn snapshots_in_one_region_and_a_time_that_another_cannot_restore_are_warned_of() {
        let of_regions = |more: &str| {
            let source = "[sources.instance]\nkind = \"rds\"\nregion = \"us-east-1\"\ninstance = \"shop\"";
            let pitr =
                if POLICY.contains("pitr") { "" } else { "\n[retention.sources.instance]\npitr = \"7d\"" };
            let text = format!("{POLICY}\n{source}\n{more}{pitr}\n")
                .replace("[drill]", "[drill]\nsource = \"database\"");
            keys(&text).iter().any(|key| key == "sources.instance.copy_to")
        };
        assert!(of_regions(""), "one region");
        assert!(of_regions("copy_to = { us-west-2 = {} }"), "snapshots only");
        assert!(!of_regions("copy_to = { us-west-2 = { automated_backups = true } }"));
    }

    #[test]
    fn what_drctl_does_not_restore_meets_no_objective_unless_aws_is_to_restore_it() {
        let of = |resource: &str, more: &str| {
            let source = format!(
                "[sources.disk]\nkind = \"aws-backup\"\nresource = \"{resource}\"\nvault = \"v\"\nrole = \"arn:aws:iam::123456789012:role/b\"\n{more}"
            );
            let text = format!("{POLICY}\n{source}\n").replace("[drill]", "[drill]\nsource = \"database\"");
            let lints = lint(&parse(Path::new("shop.toml"), &text).unwrap());
            let own = lints.into_iter().find(|lint| lint.key == "sources.disk.resource");
            own.map(|lint| (lint.misses_objective, lint.message))
        };
        let volume = "arn:aws:ec2:us-east-1:123456789012:volume/vol-1";
        let said = (true, "drctl does not restore EBS, and takes no backup of `disk`".to_owned());
        assert_eq!(of(volume, ""), Some(said));
        assert_eq!(of(volume, "restored_by_aws = true"), None);
        assert_eq!(of("arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1", ""), None);
    }

    #[test]
    fn lines_together_can_meet_what_each_alone_cannot() {
        let text = with("\"15 * * * *\"", "[\"0 0-22/2 * * *\", \"0 1-23/2 * * *\"]");
        assert_eq!(keys(&text), Vec::<String>::new());
        let nights_only = with("\"15 * * * *\"", "\"* 0-6 * * *\"");
        assert_eq!(keys(&nights_only), ["schedule.sources.database"], "17 hours a day without one");
        let always = with("\"15 * * * *\"", "[\"* * * * *\", \"0 0 * * 0\"]");
        assert_eq!(keys(&always), Vec::<String>::new());
    }

    #[test]
    fn one_key_and_an_unproven_server_are_warned_of() {
        let text = with("sslmode=verify-full", "sslmode=require");
        assert_eq!(keys(&text), ["sources.database.url"]);
        assert_eq!(keys(&text.replace("db.internal", "localhost")), Vec::<String>::new());
    }
}
