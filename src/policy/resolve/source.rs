use super::repository::credentials;
use super::{ResolveBase, aws, postgres};
use crate::model::{BackupKind, SourceName};
use crate::policy::address::UrlOrRef;
use crate::policy::decode::{Diagnostics, KeyLocation, KeyedTable, Spanned, TableKind as _};
use crate::policy::schema::{CommandTable, CredentialsTable, SourceTable};
use crate::policy::settings::RepositoryConfig;
use crate::policy::source::{Source, SourceConfig};

/// Names with another meaning in a repository.
const RESERVED: [&str; 2] = ["journal", "leases"];
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
            SourceTable::Postgres(table) => {
                let source = postgres::postgres(table, repositories, base, log);
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

/// Checks the kinds whose backups are files.
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
    // Used by a later version that runs this kind of source.
    let _later = credentials(table, base, log);
}

/// Returns the source with this name, and reports a fault with a hint if there is none.
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
