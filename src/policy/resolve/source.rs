use std::time::Duration;

use url::Url;

use super::repository::credentials;
use super::{ResolveBase, aws, number, repository};
use crate::model::{BackupKind, SourceName};
use crate::platform::SecretRef;
use crate::policy::address::{PostgresUrl, UrlOrRef};
use crate::policy::decode::{Diagnostics, KeyLocation, KeyedTable, Spanned, TableKind as _};
use crate::policy::schema::{
    BaseTable, BaseWord, CommandTable, CredentialsTable, LogicalTable, MethodWord, PostgresTable,
    SourceTable, WalTable, WalWord,
};
use crate::policy::settings::{
    BaseBackup, BaseMethod, LogicalDump, PasswordSource, PostgresSource, RepositoryConfig, RowCounts, Source,
    SourceConfig, WalArchiving, WalMethod,
};

/// Names that mean something else in a repository.
const RESERVED: [&str; 2] = ["journal", "leases"];
const LOCK_WAIT: Duration = Duration::from_secs(60);
/// A server archives a segment within seconds where nothing is wrong; at the first that fails it waits for
/// a minute after three attempts.
const WAL_WAIT: Duration = Duration::from_secs(120);
const WAL_PARALLEL: usize = 4;
const WAL_PREFETCH: usize = 8;

pub(super) fn sources(
    table: &Spanned<KeyedTable<SourceName, SourceTable>>,
    repositories: &[RepositoryConfig],
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> Vec<Source> {
    if table.0.is_empty() && !log.has_faults_at(&table.spot) {
        log.fault(&table.spot, "names nothing to back up", "add a table like `[sources.database]`");
    }
    let mut sources = Vec::new();
    for (name, table) in &table.0 {
        if RESERVED.contains(&name.as_str()) {
            log.fault(&name.spot, "is a name drctl uses itself", "give the source another name");
        }
        let mut config = SourceConfig::NotBuilt { kind: table.kind() };
        let mut continuous = false;
        let kinds = match &table.value {
            SourceTable::Postgres(postgres) => {
                let source = self::postgres(postgres, repositories, base, log);
                continuous = source.wal.is_some();
                let kinds = [
                    (source.logical.is_some(), BackupKind::Logical),
                    (source.base.is_some(), BackupKind::Base),
                ];
                config = SourceConfig::Postgres(Box::new(source));
                asked(kinds)
            }
            SourceTable::Rds(rds) => {
                let source = aws::rds(rds, base, log);
                continuous = source.regions.iter().any(|region| region.automated_backups);
                let kinds = [
                    (source.snapshots, BackupKind::Snapshot),
                    (source.login.as_ref().is_some_and(|login| login.logical.is_some()), BackupKind::Logical),
                ];
                config = SourceConfig::Rds(Box::new(source));
                asked(kinds)
            }
            SourceTable::AwsBackup(table) => {
                config = SourceConfig::AwsBackup(Box::new(aws::aws_backup(table, base, log)));
                vec![BackupKind::RecoveryPoint]
            }
            other => {
                files(other, base, log);
                vec![BackupKind::Files]
            }
        };
        sources.push(Source { name: name.value.clone(), config, kinds, continuous });
    }
    sources
}

fn asked(kinds: [(bool, BackupKind); 2]) -> Vec<BackupKind> {
    kinds.into_iter().filter_map(|(asked, kind)| asked.then_some(kind)).collect()
}

/// Faults a setting that nothing reads.
pub(super) fn unused<T>(setting: &Option<Spanned<T>>, hint: &str, log: &mut Diagnostics<'_>) {
    if let Some(at) = setting {
        log.fault(&at.spot, "is not used", hint);
    }
}

/// The methods asked for, or `otherwise`; none twice, and not none at all.
pub(super) fn methods<T: Copy + PartialEq>(
    given: &Option<Spanned<Vec<Spanned<T>>>>,
    otherwise: T,
    log: &mut Diagnostics<'_>,
) -> Vec<T> {
    let Some(given) = given else { return vec![otherwise] };
    if given.is_empty() && !log.has_faults_at(&given.spot) {
        log.fault(&given.spot, "names no method", "name one, or remove the setting");
    }
    let mut methods = Vec::new();
    for method in &given.value {
        if methods.contains(&method.value) {
            log.fault(&method.spot, "is there twice", "name each method once");
        }
        methods.push(method.value);
    }
    methods
}

fn postgres(
    table: &Spanned<PostgresTable>,
    repositories: &[RepositoryConfig],
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> PostgresSource {
    let methods = methods(&table.methods, MethodWord::Logical, log);
    let [logical, base_backup, wal] =
        [MethodWord::Logical, MethodWord::Base, MethodWord::Wal].map(|method| methods.contains(&method));
    // A list with a fault in it may have meant to name the method.
    if table.methods.is_none() || !log.has_faults_at(&table.spot.below("methods")) {
        for (asked, name) in [(logical, "logical"), (base_backup, "base"), (wal, "wal")] {
            let spot = match name {
                "logical" => table.logical.as_ref().map(|at| &at.spot),
                "base" => table.base.as_ref().map(|at| &at.spot),
                _ => table.wal.as_ref().map(|at| &at.spot),
            };
            if let Some(spot) = spot.filter(|_| !asked) {
                log.fault(spot, "is not used", format!("add `\"{name}\"` to `methods`, or remove the table"));
            }
        }
        if let Some(methods) = table.methods.as_ref().filter(|_| wal && !base_backup) {
            let hint = "add `\"base\"`: archived WAL restores nothing without a base backup to start from";
            log.fault(&methods.spot, "name `wal` without `base`", hint);
        }
    }
    let copying = base_settings(table.base.as_ref(), base, log);
    let data_directory = table.base.as_ref().and_then(|table| table.data_directory.as_ref());
    if let (BaseMethod::DataDirectory { path }, Some(given)) = (&copying.method, data_directory)
        && let Some(inside) = repository::inside(path, repositories)
    {
        let message = format!("has repository `{}` in it", inside.name);
        let hint = "give the repository a directory elsewhere, best on another disk: each base backup would hold the ones before it";
        log.fault(&given.spot, message, hint);
    }
    let archiving = wal_settings(table.wal.as_deref(), repositories, log);
    let (url, url_ref) = url_or_ref(table.url.as_ref(), base);
    PostgresSource {
        url,
        url_ref,
        password: base.secret(&table.password).map(PasswordSource::Secret),
        tools: table.tools.as_deref().map(|path| base.path(path)),
        logical: logical.then(|| logical_dump(table.logical.as_deref())),
        base: base_backup.then_some(copying),
        wal: wal.then_some(archiving),
    }
}

pub(super) fn logical_dump(table: Option<&LogicalTable>) -> LogicalDump {
    LogicalDump {
        row_counts: table.and_then(|table| table.row_counts.as_deref()).copied().unwrap_or(RowCounts::Exact),
        globals: table.and_then(|table| table.globals.as_deref()).copied().unwrap_or(true),
        lock_wait: table.and_then(|table| table.lock_wait.as_ref()).map_or(LOCK_WAIT, |wait| wait.0),
    }
}

pub(super) fn url_or_ref(
    url: Option<&Spanned<PostgresUrl>>,
    base: ResolveBase<'_>,
) -> (Option<Url>, Option<SecretRef>) {
    match url.map(|url| &url.0) {
        Some(UrlOrRef::Url(url)) => (Some(url.clone()), None),
        Some(UrlOrRef::Ref(reference)) => (None, Some(base.secret_ref(reference))),
        None => (None, None),
    }
}

fn base_settings(
    table: Option<&Spanned<BaseTable>>,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> BaseBackup {
    let method = table.and_then(|table| table.method.as_deref()).copied();
    let method = match method.unwrap_or(BaseWord::Replication) {
        BaseWord::Replication => BaseMethod::Replication,
        BaseWord::DataDirectory => {
            let path = table.and_then(|table| table.data_directory.as_deref());
            BaseMethod::DataDirectory { path: path.map(|path| base.path(path)).unwrap_or_default() }
        }
    };
    let mut copying = BaseBackup { method, url: None, url_ref: None, incrementals: 0, wal_wait: WAL_WAIT };
    let Some(table) = table else { return copying };
    if copying.method == BaseMethod::Replication {
        unused(&table.data_directory, "it goes with `method = \"data-directory\"`", log);
    } else if table.data_directory.is_none() && !log.has_faults_at(&table.spot.below("data_directory")) {
        log.missing(&table.spot, "data_directory", "\"/var/lib/postgresql/16/main\"");
    }
    (copying.url, copying.url_ref) = url_or_ref(table.url.as_ref(), base);
    copying.incrementals = number(&table.incrementals).unwrap_or(0);
    if copying.method != BaseMethod::Replication && copying.incrementals > 0 {
        unused(&table.incrementals, "it goes with `method = \"replication\"`", log);
    }
    copying.wal_wait = table.wal_wait.as_ref().map_or(WAL_WAIT, |wait| wait.0);
    copying
}

fn wal_settings(
    table: Option<&WalTable>,
    repositories: &[RepositoryConfig],
    log: &mut Diagnostics<'_>,
) -> WalArchiving {
    let method = table.and_then(|table| table.method.as_deref()).copied().unwrap_or(WalWord::Archive);
    let slot = table.and_then(|table| table.slot.as_ref());
    if let Some(table) = table.filter(|_| method != WalWord::Stream) {
        unused(&table.slot, "it goes with `method = \"stream\"`", log);
    }
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if let Some(slot) = slot.filter(|slot| slot.len() > 63 || !slot.bytes().all(fits)) {
        log.fault(&slot.spot, "is not the name of a slot", "use a-z, 0-9 and `_`, 63 characters at most");
    }
    let lagging = table.and_then(|table| table.optional.as_ref());
    let mut optional_repositories = Vec::new();
    for name in lagging.iter().flat_map(|names| &names.value) {
        if repository::known(name, repositories, log) {
            optional_repositories.push(name.value.clone());
        }
    }
    let all = repositories.iter().all(|repository| optional_repositories.contains(&repository.name));
    if let Some(names) = lagging.filter(|_| all && !repositories.is_empty()) {
        let hint = "leave out the one that must have the WAL before the server removes it";
        log.fault(&names.spot, "are all repositories", hint);
    }
    WalArchiving {
        method: match method {
            WalWord::Archive => WalMethod::Archive,
            WalWord::Stream => {
                WalMethod::Stream { slot: slot.map_or("drctl", |slot| slot.value.as_str()).to_owned() }
            }
        },
        parallel: table.and_then(|table| number(&table.parallel)).unwrap_or(WAL_PARALLEL),
        prefetch: table.and_then(|table| number(&table.prefetch)).unwrap_or(WAL_PREFETCH),
        optional_repositories,
    }
}

/// The kinds whose backups are files.
fn files(table: &SourceTable, base: ResolveBase<'_>, log: &mut Diagnostics<'_>) {
    match table {
        SourceTable::Files(table) => {
            if let Some(paths) = table.paths.as_ref().filter(|paths| paths.0.is_empty())
                && !log.has_faults_at(&paths.spot)
            {
                log.fault(&paths.spot, "names nothing", "name a file or directory");
            }
        }
        SourceTable::Git(table) => {
            let Some(remote) = &table.remote else { return };
            let secret = url::Url::parse(remote).is_ok_and(|url| url.password().is_some());
            if secret {
                log.fault(&remote.spot, "holds a password", "take it out, and give it by reference: `token`");
            }
        }
        SourceTable::Bucket(table) => check_credentials(table.credentials.as_ref(), base, log),
        SourceTable::Sqlite(table) => {
            if let Some(path) = table.path.as_ref().filter(|path| path.as_os_str() == ":memory:") {
                log.fault(&path.spot, "is in memory, where nothing outlives its process", "name a file");
            }
        }
        SourceTable::Redis(table) => {
            if let Some(url) = &table.url
                && let UrlOrRef::Url(given) = &url.0
                && given.scheme().starts_with("redis")
                && !given.path().trim_matches('/').is_empty()
            {
                log.fault(
                    &url.spot,
                    "names one database, and a backup holds them all",
                    "leave the number out",
                );
            }
        }
        SourceTable::Command(table) => command(table, log),
        SourceTable::Postgres(_) | SourceTable::Rds(_) | SourceTable::AwsBackup(_) => {}
    }
}

fn command(table: &CommandTable, log: &mut Diagnostics<'_>) {
    for command in [&table.command, &table.restore_command].into_iter().flatten() {
        if command.is_empty() && !log.has_faults_at(&command.spot) {
            log.fault(
                &command.spot,
                "names no program",
                "write it like `[\"/usr/local/bin/export\", \"--all\"]`",
            );
        }
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    if let Some(name) =
        table.file_name.as_ref().filter(|name| name.starts_with('.') || !name.bytes().all(fits))
    {
        log.fault(&name.spot, "is not a plain file name", "use letters, digits, `.`, `-` and `_`");
    }
}

fn check_credentials(
    table: Option<&Spanned<CredentialsTable>>,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) {
    // What they say is for the version that runs the source.
    let _later = credentials(table, base, log);
}

/// The source called this, with a fault and a hint if there is none.
pub(super) fn known<'s>(
    name: &SourceName,
    spot: &KeyLocation,
    sources: &'s [Source],
    log: &mut Diagnostics<'_>,
) -> Option<&'s Source> {
    let source = sources.iter().find(|source| source.name == *name);
    if source.is_none() {
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let hint = crate::text::suggest("sources", name.as_str(), &names);
        log.fault(spot, format!("there is no source `{name}`"), hint);
    }
    source
}
