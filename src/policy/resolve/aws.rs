use std::time::Duration;

use super::ResolveBase;
use super::login;
use super::methods::methods;
use super::repository::credentials;
use crate::policy::address::{Arn, Region, S3Endpoint};
use crate::policy::aws::{
    AwsBackupSource, PromoteHooks, RdsDatabase, RdsNames, RdsRegion, RdsSource, VaultCopy,
};
use crate::policy::aws_location::AwsLocation;
use crate::policy::decode::{Diagnostics, Spanned};
use crate::policy::schema::{AwsBackupTable, CredentialsTable, RdsMethodWord, RdsRegionTable, RdsTable};
use crate::policy::value::Period;

/// The default of AWS Backup, and the minimum that it accepts.
const START_WINDOW: Duration = Duration::from_secs(8 * 3600);
const LEAST_START_WINDOW: Duration = Duration::from_secs(3600);
/// Describe calls are throttled for a whole account.
const POLL: Duration = Duration::from_secs(20);
/// A region in an outage may accept connections without responding; others are queried meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);
/// A first copy of terabytes to another region takes many hours.
const DEADLINE: Duration = Duration::from_secs(24 * 3600);

pub(super) fn rds(table: &Spanned<RdsTable>, base: ResolveBase<'_>, log: &mut Diagnostics<'_>) -> RdsSource {
    let database = database(table, log);
    for account in table.share_with.iter().flat_map(|accounts| &accounts.value) {
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            let message = format!("`{}` is not an AWS account", account.value);
            log.fault(&account.spot, message, "write its 12 digits");
        }
    }
    let own = table.region.as_ref().map_or("", |region| region.0.as_str());
    let regions = table.copy_to.iter().flat_map(|regions| &regions.0);
    let regions = regions.map(|(name, region)| self::region(own, name, region, log)).collect();
    let methods = methods(&table.methods, RdsMethodWord::Snapshot, log);
    let place = place(
        own,
        table.endpoint.as_ref(),
        table.credentials.as_ref(),
        Waits {
            poll: table.poll.as_ref(),
            deadline: table.deadline.as_ref(),
            patience: table.patience.as_ref(),
        },
        base,
        log,
    );
    RdsSource {
        database,
        snapshots: methods.contains(&RdsMethodWord::Snapshot),
        login: login::login(table, &place, methods.contains(&RdsMethodWord::Logical), base, log),
        place,
        regions,
        share_with: table.share_with.iter().flat_map(|list| &list.value).map(|at| at.value.clone()).collect(),
        promote: hooks(table, log),
    }
}

fn hooks(table: &RdsTable, log: &mut Diagnostics<'_>) -> PromoteHooks {
    let Some(table) = &table.promote else { return PromoteHooks::default() };
    let mut hook = |command: &Option<Spanned<Vec<Spanned<String>>>>| {
        let Some(command) = command else { return vec![] };
        if command.is_empty() && !log.has_faults_at(&command.spot) {
            let hint = "write it like `[\"/usr/local/bin/stop-writers\"]`, or remove the setting";
            log.fault(&command.spot, "names no program", hint);
        }
        command.iter().map(|word| word.value.clone()).collect()
    };
    PromoteHooks { freeze: hook(&table.freeze), redirect: hook(&table.redirect), reopen: hook(&table.reopen) }
}

/// How long to wait for AWS.
struct Waits<'a> {
    poll: Option<&'a Spanned<Period>>,
    deadline: Option<&'a Spanned<Period>>,
    patience: Option<&'a Spanned<Period>>,
}

fn place(
    region: &str,
    endpoint: Option<&Spanned<S3Endpoint>>,
    table: Option<&Spanned<CredentialsTable>>,
    waits: Waits<'_>,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> AwsLocation {
    AwsLocation {
        region: region.to_owned(),
        endpoint: endpoint.map(|endpoint| endpoint.0.clone()),
        credentials: credentials(table, base, log),
        poll: waits.poll.map_or(POLL, |poll| poll.0),
        deadline: waits.deadline.map_or(DEADLINE, |deadline| deadline.0),
        patience: waits.patience.map_or(PATIENCE, |patience| patience.0),
    }
}

fn database(table: &Spanned<RdsTable>, log: &mut Diagnostics<'_>) -> RdsDatabase {
    match (&table.instance, &table.cluster) {
        (Some(_), Some(cluster)) => {
            log.fault(&cluster.spot, "is given, and `instance` too", "a source is one of the two");
        }
        (None, None)
            if !["instance", "cluster"].iter().any(|name| log.has_faults_at(&table.spot.below(name))) =>
        {
            let hint = "add `instance = \"…\"` or `cluster = \"…\"`, the identifier RDS has for it";
            log.fault(&table.spot, "names no database", hint);
        }
        _ => {}
    }
    let given = table.instance.as_ref().or(table.cluster.as_ref());
    if let Some(identifier) = given.filter(|identifier| !is_identifier(identifier)) {
        let message = format!("`{}` is not an identifier of RDS", identifier.value);
        let hint = "it begins with a letter, has letters, digits and single `-`, and 63 characters at most";
        log.fault(&identifier.spot, message, hint);
    }
    // In the case in which RDS stores them.
    let word = |at: &Spanned<String>| at.value.to_ascii_lowercase();
    match &table.cluster {
        Some(cluster) => RdsDatabase::Cluster(word(cluster)),
        None => RdsDatabase::Instance(table.instance.as_ref().map(word).unwrap_or_default()),
    }
}

fn is_identifier(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.contains("--")
        && !text.ends_with('-')
}

fn region(own: &str, name: &Spanned<Region>, table: &RdsRegionTable, log: &mut Diagnostics<'_>) -> RdsRegion {
    if name.0 == own {
        log.fault(&name.spot, "is the region the database is in", "name another region");
    }
    let word = |setting: &Option<Spanned<String>>| setting.as_deref().cloned();
    let groups = table.security_groups.as_ref();
    RdsRegion {
        name: name.0.clone(),
        kms_key: word(&table.kms_key),
        automated_backups: table.automated_backups.as_deref().copied().unwrap_or(false),
        names: RdsNames {
            subnet_group: word(&table.subnet_group),
            security_groups: groups.map(|list| list.iter().map(|group| group.value.clone()).collect()),
            parameter_group: word(&table.parameter_group),
            option_group: word(&table.option_group),
        },
    }
}

pub(super) fn aws_backup(
    table: &AwsBackupTable,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> AwsBackupSource {
    if let Some(role) = table.role.as_ref().filter(|role| role.service() != "iam") {
        let hint = "write it like `arn:aws:iam::123456789012:role/backup`";
        log.fault(&role.spot, "is not the ARN of a role", hint);
    }
    let global = |resource: &&Spanned<Arn>| resource.region().is_empty();
    if let Some(resource) = table.resource.as_ref().filter(global).filter(|_| table.region.is_none()) {
        let hint = "add `region = \"us-east-1\"`: the ARN does not say where the resource is";
        log.fault(&resource.spot, "names no region", hint);
    }
    let window = table.start_window.as_ref();
    if let Some(window) = window.filter(|window| window.0 < LEAST_START_WINDOW) {
        log.fault(&window.spot, "is less than AWS Backup takes", "write `1h` or more");
    }
    let arn = |setting: &Option<Spanned<Arn>>| setting.as_ref().map(|arn| arn.0.clone()).unwrap_or_default();
    let named = table.region.as_ref().map(|region| region.0.as_str());
    let own = named.or(table.resource.as_ref().map(|arn| arn.region())).unwrap_or_default().to_owned();
    let mut copies = Vec::new();
    for (region, vault) in table.copy_to.iter().flat_map(|regions| &regions.0) {
        if region.0 == own {
            log.fault(&region.spot, "is the region the resource is in", "name another region");
        }
        let vault = vault.vault.as_deref().cloned().unwrap_or_default();
        copies.push(VaultCopy { region: region.0.clone(), vault });
    }
    AwsBackupSource {
        place: place(
            &own,
            table.endpoint.as_ref(),
            table.credentials.as_ref(),
            Waits {
                poll: table.poll.as_ref(),
                deadline: table.deadline.as_ref(),
                patience: table.patience.as_ref(),
            },
            base,
            log,
        ),
        resource: arn(&table.resource),
        vault: table.vault.as_deref().cloned().unwrap_or_default(),
        role: arn(&table.role),
        copies,
        start_window: window.map_or(START_WINDOW, |window| window.0),
        plan: table.plan.as_deref().cloned(),
        restored_by_aws: table.restored_by_aws.as_deref().copied().unwrap_or(false),
    }
}
