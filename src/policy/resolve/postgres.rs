use std::time::Duration;

use url::Url;

use super::methods::{methods, unused};
use super::{ResolveBase, number, repository};
use crate::platform::SecretRef;
use crate::policy::address::{PostgresUrl, UrlOrRef};
use crate::policy::decode::{Diagnostics, Spanned};
use crate::policy::postgres::{
    BaseBackup, BaseMethod, LogicalDump, PasswordSource, PostgresSource, RowCounts, WalArchiving, WalMethod,
};
use crate::policy::schema::{
    BaseTable, BaseWord, LogicalTable, MethodWord, PostgresTable, WalTable, WalWord,
};
use crate::policy::settings::RepositoryConfig;

const LOCK_WAIT: Duration = Duration::from_secs(60);
/// A healthy server archives a segment within seconds; after three failed attempts it waits for a minute.
const WAL_WAIT: Duration = Duration::from_secs(120);
const WAL_PARALLEL: usize = 4;
const WAL_PREFETCH: usize = 8;

pub(super) fn postgres(
    table: &Spanned<PostgresTable>,
    repositories: &[RepositoryConfig],
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> PostgresSource {
    let methods = methods(&table.methods, MethodWord::Logical, log);
    let [logical, base_backup, wal] =
        [MethodWord::Logical, MethodWord::Base, MethodWord::Wal].map(|method| methods.contains(&method));
    // A list with a fault in it may have been meant to name the method.
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
