//! A dump, into a database.

use chrono::Days;

use super::super::Context;
use super::super::error::CommandError;
use super::RestoreCommand;
use crate::catalog::{BackupEntry, Catalog, Filter};
use crate::model::SourceName;
use crate::platform::SecretRef;
use crate::postgres::{ConnectionParameters, split_quoted};
use crate::restore::logical::{
    BackupSelector, CatalogHints, DestinationError, DumpRestoreRequest, EntrySelection, Exclusion, LoadCost,
    Rates, destination,
};
use crate::run::RunContext;
use crate::text::error_chain;

/// The age up to which earlier restores are used to estimate the duration.
const MEASURED_WITHIN: Days = Days::new(180);

pub(super) async fn begin(
    command: &RestoreCommand<'_>,
) -> Result<(RunContext, DumpRestoreRequest), CommandError> {
    let context = command.context;
    let identities = context.identities(&command.args.identity).await?;
    let target = target(command).await?;
    let mut request = request(command, target)?;
    let run = command.open(identities).await?;
    if let Some(catalog) = &run.catalog {
        request.known = known(catalog, context, &run, Some(command.source)).await;
    } else {
        request.known.doubtful = super::doubtful(&run, &[]).await;
    }
    Ok((run, request))
}

fn request(
    command: &RestoreCommand<'_>,
    target: ConnectionParameters,
) -> Result<DumpRestoreRequest, CommandError> {
    let args = command.args;
    let tables = args.table.iter().map(|text| table(text)).collect::<Result<_, _>>()?;
    let table_data = args.exclude_table_data.iter().map(|text| table(text)).collect::<Result<_, _>>()?;
    let incomplete =
        args.continues.clone().map(|name| name.unwrap_or_else(|| incomplete_name(&target.database)));
    Ok(DumpRestoreRequest {
        source: command.source.clone(),
        backup: match args.backup.as_deref() {
            None | Some("latest") => BackupSelector::Latest,
            Some(prefix) => BackupSelector::Prefix(prefix.to_owned()),
        },
        from: args.from.clone(),
        database: target.database.clone(),
        target,
        tools: command.login().and_then(|login| login.tools.clone()),
        jobs: args.jobs.unwrap_or_else(default_jobs),
        selection: EntrySelection {
            tables,
            schemas: args.schema.clone(),
            large_objects: args.with_large_objects,
        },
        exclusion: Exclusion { table_data, schemas: args.exclude_schema.clone() },
        locale: args.locale.clone(),
        globals: args.globals,
        owners: !args.no_owner,
        tablespaces: !args.no_tablespaces,
        keeps_name: args.no_rename,
        incomplete,
        active_jobs: args.with_active_jobs,
        scratch: args.scratch.clone(),
        drop_leftovers: args.drop_leftovers,
        known: CatalogHints::default(),
    })
}

/// Returns the default name of an incomplete database.
fn incomplete_name(database: &str) -> String {
    format!("{database}_incomplete")
}

fn default_jobs() -> u32 {
    std::thread::available_parallelism().map_or(2, |n| u32::try_from(n.get()).unwrap_or(4)).clamp(1, 4)
}

/// Parses `schema.table`, each in double quotes where it contains a dot; the default schema is `public`.
fn table(text: &str) -> Result<(String, String), CommandError> {
    let parts = split_quoted(text, '.').unwrap_or_default();
    match &parts[..] {
        [table] if !table.is_empty() => Ok(("public".to_owned(), table.clone())),
        [schema, table] if !schema.is_empty() && !table.is_empty() => Ok((schema.clone(), table.clone())),
        _ => Err(CommandError::usage(format!("`{text}` does not name a table"))
            .hint("Write `schema.table`; a name with a dot in it in double quotes.")),
    }
}

/// Returns the server and role to restore with, and the name of the database to create.
async fn target(command: &RestoreCommand<'_>) -> Result<ConnectionParameters, CommandError> {
    let args = command.args;
    let password = args.password.as_deref().map(str::parse::<SecretRef>).transpose();
    let password = password.map_err(CommandError::usage)?;
    let of_source = (command.source, command.login());
    destination(args.to(), password.as_ref(), of_source).await.map_err(|error| {
        let hint = match &error {
            DestinationError::PasswordInUrl => Some(
                "Give it by `--password env:NAME` or `--password file:/path`, or the whole URL by `--to env:NAME`.",
            ),
            DestinationError::NoServer(_) => Some("Say where to with `--to postgres://user@host/new_database`."),
            _ => None,
        };
        let refused = CommandError::usage(error);
        hint.into_iter().fold(refused, CommandError::hint)
    })
}

/// Returns the catalog's facts: damaged copies, and the speed of earlier restores. They are optional: a
/// restore continues without them.
pub(super) async fn known(
    catalog: &Catalog,
    context: &Context,
    run: &RunContext,
    source: Option<&SourceName>,
) -> CatalogHints {
    let entries = catalog.backups(&Filter { source: source.cloned(), vanished: false }).await;
    let since = context.clock.now().checked_sub_days(MEASURED_WITHIN);
    let (entries, records) = match (entries, catalog.runs(since).await) {
        (Ok(entries), Ok(records)) => (entries, records),
        (Err(error), _) | (_, Err(error)) => {
            context.output.warn(format!("going on without the catalog: {}", error_chain(&error)));
            return CatalogHints { doubtful: super::doubtful(run, &[]).await, ..CatalogHints::default() };
        }
    };
    let doubtful = super::doubtful(run, &entries).await;
    let weigh = |entry: &BackupEntry| LoadCost {
        stored: entry.manifest.stored_size(),
        plain: entry.manifest.plain_size(),
    };
    let rates = Rates::measure(&records, |id| entries.iter().find(|entry| entry.id() == id).map(weigh));
    CatalogHints { doubtful, rates }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_with_or_without_their_schema() {
        let named = |text: &str| table(text).ok();
        let pair = |schema: &str, name: &str| Some((schema.to_owned(), name.to_owned()));
        assert_eq!(named("orders"), pair("public", "orders"));
        assert_eq!(named("shop.Orders"), pair("shop", "Orders"));
        assert_eq!(named(r#""a.b"."c ""d""#), pair("a.b", "c \"d"));
        for wrong in ["", "a.", ".b", "a.b.c", "\"a"] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }
}
