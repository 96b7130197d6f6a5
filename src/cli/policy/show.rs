use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::style;
use crate::model::RepositoryName;
use crate::policy::{
    AwsBackupSource, BaseMethod, Credentials, CronLine, Drill, Encryption, Notify, NotifyRoute,
    PasswordSource, PointPolicy, Policy, PostgresSource, Probe, RdsDatabase, RdsSource, RepositoryLocation,
    Rules, ServerSideEncryption, Source, SourceConfig, WalArchiving, WalMethod,
};
use crate::retention::rule::in_words;
use crate::text::format_duration;
use crate::text::{count, format_size};

/// Describes what the policy resolves to, for people.
pub(super) fn lines(policy: &Policy) -> Vec<String> {
    let strong = style::STRONG;
    let mut lines = vec![format!("{strong}{}{strong:#}  {}", policy.system, policy.path.display())];
    let mut line = |label: &str, text: String| lines.push(format!("  {label:<13} {text}"));
    if let Some(description) = &policy.description {
        line("description", description.clone());
    }
    if let Some(owner) = &policy.owner {
        line("owner", owner.clone());
    }
    line(
        "objectives",
        format!(
            "RTO {}, RPO {}",
            format_duration(policy.objectives.rto),
            format_duration(policy.objectives.rpo)
        ),
    );
    line("encryption", encryption(&policy.encryption));
    let threads = match policy.compression.threads {
        0 => "a thread for each processor, up to four".to_owned(),
        threads => count(threads.into(), "thread"),
    };
    line("compression", format!("zstd level {}, {threads}", policy.compression.level));
    line("transfer", transfer(policy));
    line("catalog", policy.catalog.clone().unwrap_or_else(|| "SQLite in the state directory".to_owned()));

    let mut section = |title: &str, entries: Vec<(String, String)>| {
        lines.push(String::new());
        lines.push(format!("{strong}{title}{strong:#}"));
        lines.extend(entries.into_iter().map(|(label, text)| format!("  {label:<13} {text}")));
    };
    let repositories = policy.repositories.iter();
    section("Repositories", repositories.map(|r| (r.name.to_string(), place(&r.place))).collect());
    let sources = policy.sources.iter().flat_map(|source| {
        let names = std::iter::once(source.name.to_string()).chain(std::iter::repeat(String::new()));
        names.zip(self::source(source))
    });
    section("Sources", sources.collect());
    if let Some(point) = &policy.recovery_point {
        section("Recovery point", recovery_point(point));
    }
    section("Schedule (by `drctl run-due`)", schedule(policy));
    if let Some(retention) = &policy.retention {
        let of_copy = |(name, own): &(RepositoryName, Rules)| (format!("in {name}"), in_words(own));
        let mut entries = vec![("every source".to_owned(), in_words(&retention.rules))];
        entries.extend(retention.copies.iter().map(of_copy));
        for own in &retention.sources {
            entries.push((own.source.to_string(), in_words(&own.rules)));
            entries.extend(own.copies.iter().map(of_copy));
        }
        section("Retention (by `drctl retention apply`)", entries);
    }
    if let Some(drill) = &policy.drill {
        section("Drill", self::drill(drill));
    }
    if !policy.notify.channels.is_empty() {
        section("Notify", notify(&policy.notify));
    }
    lines
}

fn encryption(encryption: &Encryption) -> String {
    match encryption {
        Encryption::None => "none: read access to a repository is access to the data".to_owned(),
        Encryption::Age { recipients } => {
            let holders: Vec<&str> =
                recipients.iter().map(|r| r.holder.as_deref().unwrap_or(r.key.as_str())).collect();
            format!("age, {}: {}", count(recipients.len() as u64, "recipient"), holders.join(", "))
        }
    }
}

fn transfer(policy: &Policy) -> String {
    let transfer = &policy.transfer;
    let bandwidth = transfer
        .bandwidth
        .map_or("no limit".to_owned(), |bytes| format!("{} a second each", format_size(bytes)));
    format!(
        "parts of {}, {} at a time, objects of up to {}, {bandwidth}, given up after {} of silence",
        format_size(transfer.part_size),
        transfer.parallel,
        format_size(transfer.object_size),
        format_duration(transfer.stall)
    )
}

fn place(place: &RepositoryLocation) -> String {
    let place = match place {
        RepositoryLocation::Directory(path) => return path.display().to_string(),
        RepositoryLocation::S3(place) => place,
    };
    let mut text = format!("s3://{}", place.bucket);
    if !place.prefix.is_empty() {
        text.push('/');
        text.push_str(&place.prefix);
    }
    text.push_str(&format!(" in {}", place.region));
    if let Some(endpoint) = &place.endpoint {
        text.push_str(&format!(" at {endpoint}"));
    }
    match &place.credentials {
        Credentials::Default => {}
        Credentials::Profile(profile) => text.push_str(&format!(", profile {profile}")),
        Credentials::Role { arn, .. } => text.push_str(&format!(", role {arn}")),
        Credentials::Keys { access_key_id, .. } => text.push_str(&format!(", keys from {access_key_id}")),
    }
    if let Some(class) = &place.storage_class {
        text.push_str(&format!(", {class}"));
    }
    match &place.server_side_encryption {
        None => {}
        Some(ServerSideEncryption::S3) => text.push_str(", AES256"),
        Some(ServerSideEncryption::Kms { key }) => {
            text.push_str(&format!(", aws:kms {}", key.as_deref().unwrap_or("with the account's key")));
        }
    }
    if let Some(lock) = &place.object_lock {
        text.push_str(&format!(", locked {} ({})", lock.retain, lock.mode.as_str()));
    }
    text
}

/// Returns a line for the kind, and one for each method.
fn source(source: &Source) -> Vec<String> {
    match &source.config {
        SourceConfig::Postgres(postgres) => self::postgres(postgres),
        SourceConfig::Rds(rds) => self::rds(rds),
        SourceConfig::AwsBackup(resource) => aws_backup(resource),
        SourceConfig::Files(files) => {
            let paths: Vec<_> = files.paths.iter().map(|path| path.display().to_string()).collect();
            vec![format!("files, {}", paths.join(", "))]
        }
        SourceConfig::Sqlite(sqlite) => vec![format!("sqlite, {}", sqlite.path.display())],
        SourceConfig::Chroma(chroma) => vec![format!("chroma, {}", chroma.path.display())],
        SourceConfig::Redis(redis) => vec![match (&redis.url, &redis.url_ref) {
            (Some(url), _) => format!("redis, {url}"),
            (None, Some(reference)) => format!("redis, URL from {reference}"),
            (None, None) => "redis".to_owned(),
        }],
        SourceConfig::Git(git) => vec![format!("git, {}", git.remote)],
        SourceConfig::Bucket(bucket) => {
            vec![format!("bucket, s3://{}/{} in {}", bucket.bucket, bucket.prefix, bucket.region)]
        }
        SourceConfig::Command(command) => vec![format!("command, {}", command.command.join(" "))],
    }
}

fn rds(rds: &RdsSource) -> Vec<String> {
    let kind = match &rds.database {
        RdsDatabase::Instance(_) => "instance",
        RdsDatabase::Cluster(_) => "cluster",
    };
    let mut lines = vec![format!("rds, {kind} {} in {}", rds.database.identifier(), rds.place.region)];
    if rds.snapshots {
        let regions = rds.regions.iter().map(|region| {
            let key = region.kms_key.as_ref().map(|key| format!(" with {key}")).unwrap_or_default();
            let log = if region.automated_backups { " and RDS's automated backups" } else { "" };
            format!("{}{key}{log}", region.name)
        });
        let regions: Vec<_> = regions.collect();
        let copied = if regions.is_empty() { "nowhere else".to_owned() } else { regions.join(", ") };
        lines.push(format!("snapshot: copied to {copied}"));
    }
    if !rds.share_with.is_empty() {
        lines.push(format!("shared with {}", rds.share_with.join(", ")));
    }
    if let Some(login) = &rds.login {
        lines.extend(postgres(login));
    }
    lines
}

fn aws_backup(resource: &AwsBackupSource) -> Vec<String> {
    let vaults: Vec<_> =
        resource.copies.iter().map(|copy| format!("{} in {}", copy.vault, copy.region)).collect();
    let copied = if vaults.is_empty() {
        "copied nowhere else".to_owned()
    } else {
        format!("copied to {}", vaults.join(", "))
    };
    let mut lines = vec![
        format!("aws-backup, {} in {}", resource.resource, resource.place.region),
        format!("recovery point: vault {}, {copied}", resource.vault),
    ];
    if resource.restored_by_aws {
        lines.push("restored by AWS's own tools".to_owned());
    }
    lines
}

fn postgres(postgres: &PostgresSource) -> Vec<String> {
    let mut text = "postgres".to_owned();
    match (&postgres.url, &postgres.url_ref) {
        (Some(url), _) => text.push_str(&format!(", {url}")),
        (None, Some(reference)) => text.push_str(&format!(", URL from {reference}")),
        (None, None) => {}
    }
    match &postgres.password {
        Some(PasswordSource::Secret(password)) => text.push_str(&format!(", password from {password}")),
        Some(PasswordSource::IamToken(place)) => {
            text.push_str(&format!(", by an IAM token of {}", place.credentials));
        }
        None => {}
    }
    let mut lines = vec![text];
    if let Some(dump) = &postgres.logical {
        let globals = if dump.globals { "with" } else { "without" };
        lines.push(format!(
            "logical: row counts {}, {globals} roles and tablespaces, waits {} for a lock",
            dump.row_counts.as_str(),
            format_duration(dump.lock_wait)
        ));
    }
    if let Some(base) = &postgres.base {
        let through = match &base.method {
            BaseMethod::Replication => "over a replication connection".to_owned(),
            BaseMethod::DataDirectory { path } => format!("from the files in {}", path.display()),
        };
        let of = match (&base.url, &base.url_ref) {
            (Some(url), _) => format!(" of {url}"),
            (None, Some(reference)) => format!(" of the URL from {reference}"),
            (None, None) => String::new(),
        };
        let changes = match base.incrementals {
            0 => String::new(),
            most => format!(", up to {most} incremental backups after a full one"),
        };
        lines.push(format!(
            "base: {through}{of}{changes}, waits {} for its WAL",
            format_duration(base.wal_wait)
        ));
    }
    lines.extend(postgres.wal.as_ref().map(wal));
    lines
}

fn wal(wal: &WalArchiving) -> String {
    let through = match &wal.method {
        WalMethod::Archive => "by the server's archive_command",
        WalMethod::Stream { .. } => return "wal: this version cannot stream it".to_owned(),
    };
    let mut text = format!(
        "wal: {through}, {} at a time, at most {} fetched ahead",
        count(wal.parallel as u64, "file"),
        count(wal.prefetch as u64, "segment"),
    );
    if !wal.optional_repositories.is_empty() {
        let names: Vec<_> = wal.optional_repositories.iter().map(|name| name.as_str()).collect();
        text.push_str(&format!("; {} optional", names.join(" and ")));
    }
    text
}

fn recovery_point(point: &PointPolicy) -> Vec<(String, String)> {
    let members: Vec<_> = point.members.iter().map(ToString::to_string).collect();
    let mut entries = vec![("in this order".to_owned(), members.join(", "))];
    if let Some(hooks) = &point.pause {
        entries.push(("pause".to_owned(), hooks.pause.join(" ")));
        let resume =
            format!("{}, after {} at the latest", hooks.resume.join(" "), format_duration(hooks.deadline));
        entries.push(("resume".to_owned(), resume));
    }
    entries.extend(point.references.iter().map(|reference| {
        let below = if reference.prefix.is_empty() { "" } else { ", below " };
        let text = format!(
            "rows of {} name files of {}{below}{}",
            reference.source, reference.files, reference.prefix
        );
        ("reference".to_owned(), text)
    }));
    entries
}

fn cron(lines: &[CronLine]) -> String {
    lines.iter().map(CronLine::as_str).collect::<Vec<_>>().join(" and ")
}

fn schedule(policy: &Policy) -> Vec<(String, String)> {
    let schedule = &policy.schedule;
    let backups = schedule.backups.iter().filter(|times| !times.in_point);
    let mut entries: Vec<(String, String)> = backups
        .map(|times| (times.source.to_string(), format!("{} at {}", times.kind, cron(&times.lines))))
        .collect();
    let others =
        [("the point", &schedule.point), ("verify", &schedule.verify), ("retention", &schedule.retention)];
    for (label, lines) in others {
        if !lines.is_empty() {
            entries.push((label.to_owned(), cron(lines)));
        }
    }
    entries.push(("time zone".to_owned(), schedule.timezone.name().to_owned()));
    entries
}

fn drill(drill: &Drill) -> Vec<(String, String)> {
    let from = drill.from.as_ref().map_or("the farthest repository".to_owned(), ToString::to_string);
    let what = format!(
        "the {} backup of {} from {from}, within {}",
        drill.pick.as_str(),
        drill.source,
        format_duration(drill.deadline)
    );
    let when = if drill.schedule.is_empty() { "by hand".to_owned() } else { cron(&drill.schedule) };
    let mut entries = vec![("restores".to_owned(), what), ("when".to_owned(), when)];
    if let Some(runbook) = &drill.runbook {
        entries.push(("runbook".to_owned(), runbook.clone()));
    }
    if let Some(role) = &drill.role {
        entries.push(("checks as".to_owned(), role.clone()));
    }
    if drill.detect + drill.cut_over > Duration::ZERO {
        let allowed = format!(
            "{} to notice and decide, {} to cut over",
            format_duration(drill.detect),
            format_duration(drill.cut_over)
        );
        entries.push(("allows".to_owned(), allowed));
    }
    entries.extend(drill.checks.iter().map(|check| {
        let how = match &check.probe {
            Probe::Sql { .. } => "SQL",
            Probe::Command(_) => "command",
            Probe::Http(_) => "HTTP",
        };
        ("check".to_owned(), format!("{} ({how})", check.name))
    }));
    entries
}

fn notify(notify: &Notify) -> Vec<(String, String)> {
    let kind = |name: &String| {
        let kind = notify.channel(name).map_or("", |channel| match &channel.route {
            NotifyRoute::Slack { .. } => "Slack",
            NotifyRoute::PagerDuty { .. } => "PagerDuty",
            NotifyRoute::Email(_) => "mail",
            NotifyRoute::Sns { .. } => "SNS",
            NotifyRoute::Webhook(_) => "webhook",
            NotifyRoute::Alertmanager { .. } => "Alertmanager",
            NotifyRoute::File { .. } => "file",
        });
        format!("{name} ({kind})")
    };
    let severities = notify.routes.iter().enumerate().filter(|(_, told)| !told.is_empty());
    let mut entries: Vec<(String, String)> = severities
        .map(|(index, told)| {
            (format!("P{}", index + 1), told.iter().map(kind).collect::<Vec<_>>().join(", "))
        })
        .collect();
    let every = notify.heartbeats.every.iter().map(ToString::to_string);
    let by_job = notify.heartbeats.by_job.iter().map(|(job, url)| format!("{} {url}", job.as_str()));
    let heartbeats: Vec<String> = every.chain(by_job).collect();
    if !heartbeats.is_empty() {
        entries.push(("heartbeat".to_owned(), heartbeats.join(", ")));
    }
    entries
}

/// Returns the same for programs. Sections without an effect yet are as short as for people.
pub(super) fn document(policy: &Policy) -> Value {
    let recipients = match &policy.encryption {
        Encryption::None => Value::Null,
        Encryption::Age { recipients } => {
            recipients.iter().map(|r| json!({ "holder": r.holder, "recipient": r.key })).collect()
        }
    };
    let sources = policy.sources.iter().map(|source| {
        let kinds: Vec<&str> = source.kinds.iter().map(|kind| kind.as_str()).collect();
        json!({
            "name": source.name,
            "kind": source.config.kind(),
            "backups": kinds,
            "continuous": source.continuous,
            "text": self::source(source).join("; "),
        })
    });
    let repositories = policy.repositories.iter().map(|repository| {
        let mut repository_document = match &repository.place {
            RepositoryLocation::Directory(path) => json!({ "directory": path }),
            RepositoryLocation::S3(place) => json!({
                "bucket": place.bucket,
                "prefix": place.prefix,
                "region": place.region,
                "endpoint": place.endpoint.as_ref().map(ToString::to_string),
            }),
        };
        repository_document["name"] = json!(repository.name);
        repository_document["text"] = json!(place(&repository.place));
        repository_document
    });
    let pairs = |pairs: Vec<(String, String)>| {
        pairs.into_iter().map(|(what, text)| json!({ "what": what, "text": text })).collect::<Value>()
    };
    json!({
        "path": policy.path,
        "system": policy.system,
        "description": policy.description,
        "owner": policy.owner,
        "objectives": {
            "rto_seconds": policy.objectives.rto.as_secs(),
            "rpo_seconds": policy.objectives.rpo.as_secs(),
        },
        "repositories": repositories.collect::<Value>(),
        "recipients": recipients,
        "compression": { "level": policy.compression.level, "threads": policy.compression.threads },
        "transfer": {
            "part_size": policy.transfer.part_size,
            "parallel": policy.transfer.parallel,
            "bandwidth": policy.transfer.bandwidth,
            "stall_seconds": policy.transfer.stall.as_secs(),
            "object_size": policy.transfer.object_size,
        },
        "catalog": policy.catalog,
        "sources": sources.collect::<Value>(),
        "recovery_point": policy.recovery_point.as_ref().map(|point| pairs(recovery_point(point))),
        "schedule": pairs(schedule(policy)),
        "retention": policy.retention.as_ref().map(|retention| in_words(&retention.rules)),
        "drill": policy.drill.as_ref().map(|drill| pairs(self::drill(drill))),
        "notify": pairs(notify(&policy.notify)),
    })
}
