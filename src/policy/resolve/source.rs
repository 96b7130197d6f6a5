use super::{ResolveBase, application, aws, postgres};
use crate::model::{BackupKind, SourceName};
use crate::policy::decode::{Diagnostics, KeyLocation, KeyedTable, Spanned};
use crate::policy::schema::SourceTable;
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
        let mut continuous = false;
        let (config, kinds) = match &table.value {
            SourceTable::Postgres(table) => {
                let source = postgres::postgres(table, repositories, base, log);
                continuous = source.wal.is_some();
                let kinds = [
                    (source.logical.is_some(), BackupKind::Logical),
                    (source.base.is_some(), BackupKind::Base),
                ];
                (SourceConfig::Postgres(Box::new(source)), asked(kinds))
            }
            SourceTable::Rds(rds) => {
                let source = aws::rds(rds, base, log);
                continuous = source.regions.iter().any(|region| region.automated_backups);
                let kinds = [
                    (source.snapshots, BackupKind::Snapshot),
                    (source.login.as_ref().is_some_and(|login| login.logical.is_some()), BackupKind::Logical),
                ];
                (SourceConfig::Rds(Box::new(source)), asked(kinds))
            }
            SourceTable::AwsBackup(table) => {
                let source = aws::aws_backup(table, base, log);
                (SourceConfig::AwsBackup(Box::new(source)), vec![BackupKind::RecoveryPoint])
            }
            SourceTable::Files(table) => {
                let source = application::files(table, base, log);
                (SourceConfig::Files(Box::new(source)), vec![BackupKind::Files])
            }
            SourceTable::Sqlite(table) => {
                let source = application::sqlite(table, base, log);
                (SourceConfig::Sqlite(Box::new(source)), vec![BackupKind::Sqlite])
            }
            SourceTable::Chroma(table) => {
                let source = application::chroma(table, base);
                (SourceConfig::Chroma(Box::new(source)), vec![BackupKind::Chroma])
            }
            SourceTable::Redis(table) => {
                let source = application::redis(table, base, log);
                (SourceConfig::Redis(Box::new(source)), vec![BackupKind::Redis])
            }
            SourceTable::Git(table) => {
                let source = application::git(table, base, log);
                (SourceConfig::Git(Box::new(source)), vec![BackupKind::Git])
            }
            SourceTable::Bucket(table) => {
                let source = application::bucket(table, base, log);
                (SourceConfig::Bucket(Box::new(source)), vec![BackupKind::Bucket])
            }
            SourceTable::Command(table) => {
                let source = application::command(table, base, log);
                (SourceConfig::Command(Box::new(source)), vec![BackupKind::Command])
            }
        };
        sources.push(Source { name: name.value.clone(), config, kinds, continuous });
    }
    sources
}

fn asked(kinds: [(bool, BackupKind); 2]) -> Vec<BackupKind> {
    kinds.into_iter().filter_map(|(asked, kind)| asked.then_some(kind)).collect()
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
