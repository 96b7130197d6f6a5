use std::collections::BTreeSet;
use std::path::PathBuf;

use chrono::Days;
use url::Url;

use super::super::Context;
use super::super::catalog_view::warn_lost;
use super::super::error::CommandError;
use super::super::exit::Exit;
use super::RestoreArgs;
use crate::catalog::{BackupEntry, Catalog, Filter};
use crate::cli::render::restore_logical;
use crate::model::{BackupKind, Judgement, SourceName};
use crate::platform::{SecretRef, host_name, seed};
use crate::policy::{Policy, PostgresSource, SourceConfig};
use crate::postgres::{ConnectionParameters, Password, split_quoted};
use crate::restore::logical::{
    BackupSelector, CatalogHints, DumpCleanup, DumpRefusal, DumpRefusalClass, DumpRestoreError,
    DumpRestoreFailure, DumpRestoreReport, DumpRestoreRequest, EntrySelection, Exclusion, LoadCost, Rates,
    Run, plan,
};

/// How far back earlier restores are looked at, for how long this one will take.
const MEASURED_WITHIN: Days = Days::new(180);

pub(super) async fn run(
    args: RestoreArgs,
    source: &SourceName,
    context: &Context,
) -> Result<Exit, CommandError> {
    let policy = context.policy()?;
    let identities = context.identities(&args.identity).await?;
    let target = target(&args, source, &policy).await?;
    let request = request(&args, source, target.database.clone())?;
    super::check_from(args.from.as_ref(), &policy)?;
    let (catalog, repositories) = context.recall(&policy).await;
    let known = match &catalog {
        Some(catalog) => known(catalog, context, source).await,
        None => CatalogHints::default(),
    };
    let repositories = match &args.from {
        Some(name) => repositories.only(name),
        None => repositories,
    };
    let begun = context.clock.now();
    let run = Run {
        id: crate::model::RunId::new(begun, seed()),
        system: policy.system.clone(),
        host: host_name(),
        clock: context.clock.clone(),
        repositories: repositories.for_restoring(&policy.system, None).await,
        identities,
        target,
        tools: tools(source, &policy),
        events: context.output.events(),
        cancel: context.cancel.clone(),
    };
    let situation = run.survey(&request, known).await.map_err(refused)?;
    let plan = plan(&request, situation, context.clock.now(), seed())
        .map_err(|refusals| refused(DumpRestoreError::Refused(refusals)))?;
    restore_logical::show_plan(&context.output, &plan, args.plan);
    if args.plan {
        return Ok(Exit::Done);
    }
    let backup = plan.backup.clone();
    let outcome = run.execute(plan).await;
    let (record, unrecorded) = run.conclude(begun, &backup, outcome.as_ref()).await;
    for lost in &unrecorded {
        warn_lost(context, lost);
    }
    if let Some(catalog) = catalog {
        let catalog = catalog.of_repository(run.repositories.id());
        if let Err(error) = catalog.record_run(&record).await {
            context.output.warn(crate::text::error_chain(&error));
        }
        catalog.close().await;
    }
    match outcome {
        Ok(report) => {
            restore_logical::show_report(&context.output, &report);
            Ok(ending(&report))
        }
        Err(failure) => Err(failed(failure, request.incomplete.is_some())),
    }
}

fn ending(report: &DumpRestoreReport) -> Exit {
    match report.verdict.outcome {
        Judgement::Fail => Exit::DrillFailed,
        Judgement::Undetermined => Exit::Undetermined,
        Judgement::Pass if report.left_out.is_empty() => Exit::Done,
        Judgement::Pass => Exit::Partly,
    }
}

fn request(
    args: &RestoreArgs,
    source: &SourceName,
    database: String,
) -> Result<DumpRestoreRequest, CommandError> {
    let tables = args.table.iter().map(|text| table(text)).collect::<Result<_, _>>()?;
    let table_data = args.exclude_table_data.iter().map(|text| table(text)).collect::<Result<_, _>>()?;
    let incomplete = args.continues.clone().map(|name| name.unwrap_or_else(|| incomplete_name(&database)));
    Ok(DumpRestoreRequest {
        source: source.clone(),
        backup: match args.backup.as_deref() {
            None | Some("latest") => BackupSelector::Latest,
            Some(prefix) => BackupSelector::Prefix(prefix.to_owned()),
        },
        from: args.from.clone(),
        database,
        jobs: args.jobs.unwrap_or_else(default_jobs),
        selection: EntrySelection { tables, schemas: args.schema.clone() },
        exclusion: Exclusion { table_data, schemas: args.exclude_schema.clone() },
        locale: args.locale.clone(),
        globals: args.globals,
        owners: !args.no_owner,
        tablespaces: !args.no_tablespaces,
        keeps_name: args.no_rename,
        incomplete,
        scratch: args.scratch.clone(),
        drop_leftovers: args.drop_leftovers,
    })
}

/// The name of what is not complete, unless another is given.
fn incomplete_name(database: &str) -> String {
    format!("{database}_incomplete")
}

fn default_jobs() -> u32 {
    std::thread::available_parallelism().map_or(2, |n| u32::try_from(n.get()).unwrap_or(4)).clamp(1, 4)
}

/// `schema.table`, each in double quotes where it has a dot in it; without a schema it is `public`.
fn table(text: &str) -> Result<(String, String), CommandError> {
    let parts = split_quoted(text, '.').unwrap_or_default();
    match &parts[..] {
        [table] if !table.is_empty() => Ok(("public".to_owned(), table.clone())),
        [schema, table] if !schema.is_empty() && !table.is_empty() => Ok((schema.clone(), table.clone())),
        _ => Err(CommandError::usage(format!("`{text}` does not name a table"))
            .hint("Write `schema.table`; a name with a dot in it in double quotes.")),
    }
}

/// The server and role to restore with, and the name of the database that is to be.
async fn target(
    args: &RestoreArgs,
    source: &SourceName,
    policy: &Policy,
) -> Result<ConnectionParameters, CommandError> {
    let is_reference =
        ["env:", "file:", "command:", "secretsmanager:"].iter().any(|scheme| args.to().starts_with(scheme));
    let mut target = if is_reference {
        let reference: SecretRef = args.to().parse().map_err(CommandError::usage)?;
        let url = reference.resolve().await.map_err(CommandError::usage)?;
        parse_url(crate::platform::ExposeSecret::expose_secret(&url))?
    } else if args.to().contains("://") {
        let target = parse_url(args.to())?;
        if target.password.is_some() {
            return Err(CommandError::usage("a password in `--to` can be read by everyone on this host")
                .hint("Give it by `--password env:NAME` or `--password file:/path`, or the whole URL by `--to env:NAME`."));
        }
        target
    } else {
        let name = args.to().strip_prefix("new-database:").unwrap_or(args.to());
        let Some(login) = postgres(source, policy) else {
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
    let url = Url::parse(text).map_err(|error| CommandError::usage(error).context("`--to` is not a URL"))?;
    ConnectionParameters::from_url(&url).map_err(CommandError::usage)
}

/// How to log in to the source's own server.
fn postgres<'p>(source: &SourceName, policy: &'p Policy) -> Option<&'p PostgresSource> {
    match &policy.source(source)?.config {
        SourceConfig::Postgres(postgres) => Some(postgres),
        SourceConfig::Rds(rds) => rds.login.as_deref(),
        _ => None,
    }
}

pub(super) fn tools(source: &SourceName, policy: &Policy) -> Option<PathBuf> {
    postgres(source, policy)?.tools.clone()
}

/// What the catalog knows: copies that were found bad, how fast earlier restores were. It helps, and a restore goes
/// on without it.
async fn known(catalog: &Catalog, context: &Context, source: &SourceName) -> CatalogHints {
    let entries = catalog.backups(&Filter { source: Some(source.clone()), vanished: false }).await;
    let since = context.clock.now().checked_sub_days(MEASURED_WITHIN);
    let (entries, records) = match (entries, catalog.runs(since).await) {
        (Ok(entries), Ok(records)) => (entries, records),
        (Err(error), _) | (_, Err(error)) => {
            context
                .output
                .warn(format!("going on without the catalog: {}", crate::text::error_chain(&error)));
            return CatalogHints::default();
        }
    };
    let doubtful = super::doubtful(&entries);
    let weigh = |entry: &BackupEntry| LoadCost {
        stored: entry.manifest.stored_size(),
        plain: entry.manifest.plain_size(),
    };
    let rates = Rates::measure(&records, |id| entries.iter().find(|entry| entry.id() == id).map(weigh));
    CatalogHints { doubtful, rates }
}

/// A restore that was not begun.
fn refused(error: DumpRestoreError) -> CommandError {
    let (exit, hints) = match &error {
        DumpRestoreError::Refused(refusals) => (exit(refusals), hints(refusals)),
        DumpRestoreError::CannotDecrypt { .. } => (
            Exit::CannotDecrypt,
            vec![
                "Name the file that holds an identity with `--identity`; `drctl show` says whose recipients the backup has.",
            ],
        ),
        // What a dump is compared with is lost; the dump itself may be whole.
        DumpRestoreError::Details { .. } => (
            Exit::Failed,
            vec![
                "`drctl verify` says what is left of it; `drctl show` has the commands that restore the dump by hand.",
            ],
        ),
        DumpRestoreError::Interrupted => (Exit::Interrupted, vec![]),
        DumpRestoreError::Tools(_) => (Exit::Failed, vec!["`drctl doctor` says which versions are here."]),
        _ => (Exit::Failed, vec![]),
    };
    hints.into_iter().fold(CommandError::new(exit, error), CommandError::hint)
}

fn exit(refusals: &[DumpRefusal]) -> Exit {
    let any = |class| refusals.iter().any(|refusal| refusal.class() == class);
    match () {
        () if any(DumpRefusalClass::Nothing) => Exit::Nothing,
        () if any(DumpRefusalClass::Usage) => Exit::Usage,
        () => Exit::Failed,
    }
}

fn hints(refusals: &[DumpRefusal]) -> Vec<&'static str> {
    let hints: BTreeSet<&'static str> = refusals.iter().filter_map(hint).collect();
    hints.into_iter().collect()
}

fn hint(refusal: &DumpRefusal) -> Option<&'static str> {
    Some(match refusal {
        DumpRefusal::NoBackup { .. } | DumpRefusal::UnknownBackup { .. } => {
            "`drctl list` shows what there is."
        }
        DumpRefusal::Kind { kind: BackupKind::Snapshot } => {
            "`--to-instance NAME` makes an instance of what RDS keeps."
        }
        DumpRefusal::Ambiguous { .. } => "Give more of the id; `drctl list` shows how much is enough.",
        DumpRefusal::NotEmpty { .. }
        | DumpRefusal::Closed { .. }
        | DumpRefusal::InUse { .. }
        | DumpRefusal::NotMine { .. } => {
            "Name a database that does not exist with `--to`, and rename the two by hand when you have looked at it."
        }
        DumpRefusal::LeftOfRestore { .. } => {
            "`--drop-leftovers` drops what drctl made. A database that was there before, empty by hand (DROP SCHEMA … CASCADE), or drop it and make it anew."
        }
        DumpRefusal::Taken { .. } => "`--continue=NAME` gives what is incomplete another name.",
        DumpRefusal::CronElsewhere { .. } => {
            "Set `cron.database_name` to the database on the target server, and load under that name: `--no-rename`. `--continue` restores the rest without it."
        }
        DumpRefusal::Reserved(_) => "`--no-rename` loads into the database `postgres` where it is empty.",
        DumpRefusal::MeantRoles(_) => "`--globals` makes the missing roles.",
        DumpRefusal::Roles(_) => "`--globals` makes the missing roles; `--no-owner` does without them.",
        DumpRefusal::Tablespaces(_) => {
            "`--globals` makes the missing tablespaces; `--no-tablespaces` does without them."
        }
        DumpRefusal::Extensions(_) => "Install their packages on the target server.",
        DumpRefusal::NoCreateDatabase { .. } => {
            "Restore with a role that has CREATEDB, or into an empty database of its own with `--no-rename`."
        }
        DumpRefusal::NoCreateRole { .. } => "Restore with a role that has CREATEROLE, or with `--no-owner`.",
        DumpRefusal::NotMemberOfOwner { .. } | DumpRefusal::NotMemberOfOwners { .. } => {
            "Grant it the membership, or restore with `--no-owner`."
        }
        DumpRefusal::Scratch { .. } => {
            "`--scratch` names another directory; `--jobs 1` needs no scratch disk."
        }
        DumpRefusal::Locale { .. } => {
            "Install the locale on the target server, and restart PostgreSQL; or name one that it has with `--locale`."
        }
        _ => return None,
    })
}

/// A restore that was begun and given up, or is not published. `continues`: what does not load was passed over.
fn failed(failure: DumpRestoreFailure, continues: bool) -> CommandError {
    let exit = match &failure.aftermath {
        DumpCleanup::Kept { .. } | DumpCleanup::Published { .. } => Exit::Partly,
        _ if failure.source.is_interruption() => Exit::Interrupted,
        _ => Exit::Failed,
    };
    let made = match &failure.globals_made[..] {
        [] => None,
        made => Some(format!("These stay on the server: {}.", made.join(", "))),
    };
    let mut hints: Vec<String> = made.into_iter().collect();
    match &failure.aftermath {
        DumpCleanup::Left { database, .. } => {
            hints.push(format!("Drop it by hand: DROP DATABASE \"{database}\" WITH (FORCE);"));
        }
        DumpCleanup::Kept { database, by_hand, .. } => {
            hints.push(format!("Do not drop {database}: nothing but its name is missing."));
            hints.push(format!("When others are not connected to it: {by_hand}"));
        }
        DumpCleanup::Marked { .. } => {
            hints.push(
                "Empty the database by hand, or drop it and make it anew, before the next try.".to_owned(),
            );
        }
        DumpCleanup::NothingMade | DumpCleanup::Dropped { .. } | DumpCleanup::Published { .. } => {}
    }
    match &failure.source {
        DumpRestoreError::LoadObject { .. } | DumpRestoreError::Load(_) | DumpRestoreError::Different(_)
            if !continues && !failure.source.is_interruption() =>
        {
            hints.push(
                "`--continue` restores what loads under another name, with an account of what is missing."
                    .to_owned(),
            );
        }
        _ => {}
    }
    hints.into_iter().fold(CommandError::new(exit, failure), CommandError::hint)
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
