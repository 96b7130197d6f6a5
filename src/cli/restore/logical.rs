//! A dump, into a database.

use chrono::Days;

use super::super::Context;
use super::super::error::CommandError;
use super::RestoreCommand;
use crate::catalog::{BackupEntry, Catalog, Filter};
use crate::model::SourceName;
use crate::platform::{ExposeSecret as _, SecretRef};
use crate::postgres::{ConnectionParameters, Password, split_quoted};
use crate::restore::logical::{
    BackupSelector, CatalogHints, DumpRestoreRequest, EntrySelection, Exclusion, LoadCost, Rates,
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
        request.known = known(catalog, context, &run, command.source).await;
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
    let (args, source) = (command.args, command.source);
    let is_reference =
        ["env:", "file:", "command:", "secretsmanager:"].iter().any(|scheme| args.to().starts_with(scheme));
    let mut target = if is_reference {
        let reference: SecretRef = args.to().parse().map_err(CommandError::usage)?;
        let url = reference.resolve().await.map_err(CommandError::usage)?;
        parse_url(url.expose_secret())?
    } else if args.to().contains("://") {
        let target = parse_url(args.to())?;
        if target.password.is_some() {
            return Err(CommandError::usage("a password in `--to` can be read by everyone on this host")
                .hint("Give it by `--password env:NAME` or `--password file:/path`, or the whole URL by `--to env:NAME`."));
        }
        target
    } else {
        let name = args.to().strip_prefix("new-database:").unwrap_or(args.to());
        let Some(login) = command.login() else {
            return Err(CommandError::usage(format!(
                "the policy does not say how to log in to a server of `{source}`, so it is not known"
            ))
            .hint("Say where to with `--to postgres://user@host/new_database`."));
        };
        let server = ConnectionParameters::resolve(login).await.map_err(CommandError::usage)?;
        server.with_database(name)
    };
    if let Some(reference) = &args.password {
        let reference: SecretRef = reference.parse().map_err(CommandError::usage)?;
        let password = reference.resolve().await.map_err(CommandError::usage)?;
        target.password = Some(Password::Known(password));
    }
    target.application_name = "drctl restore".to_owned();
    Ok(target)
}

fn parse_url(text: &str) -> Result<ConnectionParameters, CommandError> {
    ConnectionParameters::from_text(text).map_err(CommandError::usage)
}

/// Returns the catalog's facts: damaged copies, and the speed of earlier restores. They are optional: a
/// restore continues without them.
async fn known(catalog: &Catalog, context: &Context, run: &RunContext, source: &SourceName) -> CatalogHints {
    let entries = catalog.backups(&Filter { source: Some(source.clone()), vanished: false }).await;
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
