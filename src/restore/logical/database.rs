//! The database that is restored into: created under a name or with a comment that identifies it, and dropped
//! on any failure. [`super::publish`] gives it its name.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::Instant;

use super::DumpRestoreError;
use super::existing_database::contents;
use super::loading::LoadsInto;
use super::marks::{BEING_RESTORED, HOLDS_A_PART};
use super::plan::{DumpRestorePlan, DumpRestoreSteps};
use super::query::ask;
use super::target::maintenance;
use crate::model::{DatabaseFacts, RoleSetting};
use crate::postgres::{ConnectionParameters, close, identifier, literal, split_quoted};
use crate::run::RunContext;
use crate::text::format_time;

/// Creating or dropping a database may wait for a checkpoint.
const WITHIN: Duration = Duration::from_secs(600);
/// How long to wait for sessions that cannot be terminated. The server itself waits five seconds each time.
const IN_USE_WITHIN: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(200);
const IN_USE: &str = "55006";
/// The tablespace of a database unless another one is given.
const DEFAULT_TABLESPACE: &str = "pg_default";

/// Runs one statement. `what` finishes "failed to …".
pub(super) async fn execute(
    connection: &mut PgConnection,
    what: &str,
    sql: String,
) -> Result<(), DumpRestoreError> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection);
    match tokio::time::timeout(WITHIN, done).await {
        Ok(outcome) => {
            outcome.map(drop).map_err(|source| DumpRestoreError::Statement { what: what.to_owned(), source })
        }
        Err(_) => Err(DumpRestoreError::StatementSilent { what: what.to_owned(), waited: WITHIN }),
    }
}

/// Opens a short-lived connection: one held through hours of loading may be dead.
pub(super) async fn connect(target: &ConnectionParameters) -> Result<PgConnection, DumpRestoreError> {
    maintenance(target).await.map_err(DumpRestoreError::Connect)
}

/// Creates the empty database. An existing one is checked again to be empty.
pub(super) async fn create(plan: &DumpRestorePlan) -> Result<(), DumpRestoreError> {
    if plan.loads_into == LoadsInto::Existing {
        return refuse_occupied(plan, &plan.database, &plan.database).await;
    }
    let mut connection = connect(&plan.steps.target).await?;
    let what = format!("create the database `{}`", plan.temporary);
    let created = execute(&mut connection, &what, create_statement(&plan.temporary, &plan.steps)).await;
    close(connection).await;
    created
}

pub(super) async fn refuse_occupied(
    plan: &DumpRestorePlan,
    database: &str,
    told_as: &str,
) -> Result<(), DumpRestoreError> {
    let holds = contents(&plan.steps.target.with_database(database)).await?;
    if holds.is_empty() {
        Ok(())
    } else {
        Err(DumpRestoreError::Occupied { database: told_as.to_owned(), holds })
    }
}

/// Records in the database's comment what it is. Where it has its final name already, other sessions are kept
/// out of it.
pub(super) async fn mark(run: &RunContext, plan: &DumpRestorePlan) -> Result<(), DumpRestoreError> {
    let mut connection = connect(&plan.steps.target).await?;
    let begin = match plan.loads_into {
        LoadsInto::Existing => HOLDS_A_PART,
        LoadsInto::Temporary | LoadsInto::New => BEING_RESTORED,
    };
    let mut comment = format!(
        "{begin} from {} by {} since {}; not complete, and of no use to anyone else",
        plan.backup,
        run.host,
        format_time(run.clock.now()),
    );
    if let Some(own) = plan.steps.properties.comment.as_ref().filter(|_| begin == HOLDS_A_PART) {
        comment.push_str(&format!("\nIts comment in the end: {own}"));
    }
    let name = identifier(&plan.temporary);
    let mut sql = format!("COMMENT ON DATABASE {name} IS {}", literal(&comment));
    if plan.loads_into == LoadsInto::New {
        // A connection limit does not apply to a superuser, and for any other role it would apply to the
        // restore, too.
        sql.push_str(&match plan.steps.superuser {
            true => format!("; ALTER DATABASE {name} CONNECTION LIMIT 0"),
            false => format!("; REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"),
        });
    }
    let marked = execute(&mut connection, "mark the database that is restored into", sql).await;
    close(connection).await;
    marked
}

/// Returns the statement; from `template0`, since any other template may contain objects, and has its own
/// encoding.
fn create_statement(name: &str, steps: &DumpRestoreSteps) -> String {
    let recorded = &steps.recorded;
    let mut sql = format!("CREATE DATABASE {} TEMPLATE template0", identifier(name));
    if steps.owners {
        sql.push_str(&format!(" OWNER {}", identifier(&recorded.owner)));
    }
    sql.push_str(&format!(
        " ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        literal(&recorded.encoding),
        literal(&recorded.collate),
        literal(&recorded.ctype)
    ));
    if steps.target_major >= 15 {
        sql.push_str(&format!(" LOCALE_PROVIDER {}", identifier(&recorded.locale_provider)));
    }
    if let Some(locale) = &recorded.icu_locale {
        let keyword = if recorded.locale_provider == "builtin" { "BUILTIN_LOCALE" } else { "ICU_LOCALE" };
        sql.push_str(&format!(" {keyword} {}", literal(locale)));
    }
    if let Some(rules) = &recorded.icu_rules {
        sql.push_str(&format!(" ICU_RULES {}", literal(rules)));
    }
    // Naming even the default tablespace requires a privilege on it, which only superusers have.
    if steps.tablespaces && !["", DEFAULT_TABLESPACE].contains(&recorded.tablespace.as_str()) {
        sql.push_str(&format!(" TABLESPACE {}", identifier(&recorded.tablespace)));
    }
    sql
}

/// Drops a database created by drctl, terminates its sessions, and waits for those that it may not terminate.
/// A missing database is not an error.
pub(super) async fn drop_database(target: &ConnectionParameters, name: &str) -> Result<(), DumpRestoreError> {
    let mut connection = connect(target).await?;
    let dropped = drop_within(&mut connection, target, name).await;
    close(connection).await;
    dropped
}

async fn drop_within(
    connection: &mut PgConnection,
    target: &ConnectionParameters,
    name: &str,
) -> Result<(), DumpRestoreError> {
    detach(connection, target, name).await?;
    let what = format!("drop the database `{name}`");
    when_free(connection, name, &what, &format!("DROP DATABASE IF EXISTS {}", identifier(name))).await
}

/// Removes what blocks dropping a database: subscriptions, whose slots on the publisher are left as they are,
/// and prepared transactions.
async fn detach(
    connection: &mut PgConnection,
    target: &ConnectionParameters,
    name: &str,
) -> Result<(), DumpRestoreError> {
    let subscriptions: Vec<String> = ask(sqlx::query_scalar(
        "SELECT subname::text FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE d.datname = $1",
    )
    .bind(name)
    .fetch_all(&mut *connection))
    .await?;
    let prepared: Vec<String> =
        ask(sqlx::query_scalar("SELECT gid FROM pg_prepared_xacts WHERE database = $1")
            .bind(name)
            .fetch_all(&mut *connection))
        .await?;
    if subscriptions.is_empty() && prepared.is_empty() {
        return Ok(());
    }
    // An earlier attempt may have closed it to connections.
    let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(name));
    execute(connection, &format!("enter the database `{name}`"), open).await?;
    let mut inside = target.with_database(name).connect().await.map_err(DumpRestoreError::Connect)?;
    for subscription in subscriptions {
        let name = identifier(&subscription);
        let what = format!("drop the subscription `{subscription}`");
        execute(&mut inside, &what, format!("ALTER SUBSCRIPTION {name} DISABLE")).await?;
        execute(&mut inside, &what, format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")).await?;
        execute(&mut inside, &what, format!("DROP SUBSCRIPTION {name}")).await?;
    }
    for gid in prepared {
        let what = format!("roll the prepared transaction `{gid}` back");
        execute(&mut inside, &what, format!("ROLLBACK PREPARED {}", literal(&gid))).await?;
    }
    close(inside).await;
    Ok(())
}

/// Runs a statement that requires a database without sessions: rejects new ones, terminates existing ones,
/// and retries for a while where some may not be terminated.
pub(super) async fn when_free(
    connection: &mut PgConnection,
    name: &str,
    what: &str,
    sql: &str,
) -> Result<(), DumpRestoreError> {
    let begun = Instant::now();
    loop {
        evict(connection, name).await?;
        match execute(connection, what, sql.to_owned()).await {
            Err(error) if is_in_use(&error) && begun.elapsed() < IN_USE_WITHIN => {
                tokio::time::sleep(STEP).await;
            }
            done => return done,
        }
    }
}

fn is_in_use(error: &DumpRestoreError) -> bool {
    matches!(error, DumpRestoreError::Statement { source: sqlx::Error::Database(error), .. }
        if error.code().is_some_and(|code| code == IN_USE))
}

/// Rejects new sessions, and terminates those that this role may terminate.
async fn evict(connection: &mut PgConnection, name: &str) -> Result<(), DumpRestoreError> {
    let close = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", identifier(name));
    // Where it is missing, or not ours, the next statement reports it.
    let _closed = execute(connection, "keep others out", close).await;
    let pids: Vec<i32> = ask(sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
    )
    .bind(name)
    .fetch_all(&mut *connection))
    .await?;
    for pid in pids {
        // One statement each: one that may not be terminated must not protect the others.
        let _ended =
            execute(connection, "end a session", format!("SELECT pg_terminate_backend({pid})")).await;
    }
    Ok(())
}

/// Returns the OID of a database, which survives renaming.
pub(super) async fn oid(target: &ConnectionParameters, name: &str) -> Result<u32, DumpRestoreError> {
    let mut connection = connect(target).await?;
    let query = sqlx::query_scalar("SELECT oid::int8 FROM pg_database WHERE datname = $1");
    let found: Result<i64, _> = ask(query.bind(name).fetch_one(&mut connection)).await;
    close(connection).await;
    Ok(u32::try_from(found?).unwrap_or_default())
}

/// Returns the current name of a database; `None`: it was dropped.
pub(super) async fn name_of(
    target: &ConnectionParameters,
    oid: u32,
) -> Result<Option<String>, DumpRestoreError> {
    let mut connection = connect(target).await?;
    let query = sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE oid = $1::int8::oid");
    let found = ask(query.bind(i64::from(oid)).fetch_optional(&mut connection)).await;
    close(connection).await;
    found
}

/// Returns whether the server confirms that there is no database of that name.
pub(super) async fn is_gone(target: &ConnectionParameters, name: &str) -> bool {
    let Ok(mut connection) = connect(target).await else { return false };
    let query = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1");
    let found: Result<i64, _> = ask(query.bind(name).fetch_one(&mut connection)).await;
    close(connection).await;
    found.is_ok_and(|count| count == 0)
}

/// Applies the recorded properties of the database to the temporary one. Returns what cannot be applied, as
/// text: the data is correct without it.
pub(super) async fn apply_properties(plan: &DumpRestorePlan) -> Result<Vec<String>, DumpRestoreError> {
    let (recorded, properties) = (&plan.steps.recorded, &plan.steps.properties);
    let mut connection = connect(&plan.steps.target).await?;
    let mut left_out = Vec::new();
    let settings = properties
        .settings
        .iter()
        .map(|setting| (format!("setting {}", setting.name), setting_statement(&plan.temporary, setting)));
    let grants = if properties.sets_grants { grant_statements(&plan.temporary, recorded) } else { vec![] };
    let grants = grants.into_iter().map(|sql| ("privileges on the database".to_owned(), sql));
    for (what, sql) in settings.chain(grants) {
        match execute(&mut connection, "apply", sql).await {
            Ok(()) => {}
            Err(DumpRestoreError::Statement { source: sqlx::Error::Database(error), .. }) => {
                left_out.push(format!("{what}: {}", error.message()));
            }
            Err(error) => return Err(error),
        }
    }
    close(connection).await;
    Ok(left_out)
}

/// Settings whose value is a list of names (`GUC_LIST_QUOTE`), which must not become one name with commas.
const LISTS: [&str; 6] = [
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "local_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
];

fn setting_statement(database: &str, setting: &RoleSetting) -> String {
    let whose = match &setting.role {
        Some(role) => format!("ALTER ROLE {} IN DATABASE {}", identifier(role), identifier(database)),
        None => format!("ALTER DATABASE {}", identifier(database)),
    };
    // `a.b` is two identifiers, as in the setting of an extension.
    let name = setting.name.split('.').map(identifier).collect::<Vec<_>>().join(".");
    // A list is recorded as the server displays it, its parts quoted where necessary.
    let is_list = LISTS.iter().any(|list| list.eq_ignore_ascii_case(&setting.name));
    let value = match split_quoted(&setting.value, ',') {
        Some(parts) if is_list => {
            // The server puts one space after each comma; any other belongs to a quoted name.
            let parts = parts.iter().map(|part| literal(part.strip_prefix(' ').unwrap_or(part)));
            parts.collect::<Vec<_>>().join(", ")
        }
        _ => literal(&setting.value),
    };
    format!("{whose} SET {name} TO {value}")
}

/// Returns statements that start from no privileges: some of PostgreSQL's default ones may have been revoked.
fn grant_statements(database: &str, recorded: &DatabaseFacts) -> Vec<String> {
    let Some(grants) = &recorded.grants else { return vec![] };
    let name = identifier(database);
    let mut statements = vec![
        format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"),
        format!("REVOKE ALL ON DATABASE {name} FROM {}", identifier(&recorded.owner)),
    ];
    statements.extend(grants.iter().map(|grant| {
        let to = grant.grantee.as_ref().map_or_else(|| "PUBLIC".to_owned(), |role| identifier(role));
        let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {} ON DATABASE {name} TO {to}{option}", grant.privilege)
    }));
    statements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Grant;

    #[test]
    fn lists_stay_lists_and_nothing_leaves_its_quotes() {
        let statement = |role: Option<&str>, name: &str, value: &str| {
            let role = role.map(str::to_owned);
            setting_statement("d\"b", &RoleSetting { role, name: name.to_owned(), value: value.to_owned() })
        };
        assert_eq!(
            statement(None, "search_path", "\"$user\", public, \"a,b\"\"c\""),
            "ALTER DATABASE \"d\"\"b\" SET \"search_path\" TO '$user', 'public', 'a,b\"c'"
        );
        assert_eq!(
            statement(Some("app"), "plpgsql.extra_warnings", "it's"),
            "ALTER ROLE \"app\" IN DATABASE \"d\"\"b\" SET \"plpgsql\".\"extra_warnings\" TO 'it''s'"
        );
    }

    #[test]
    fn recorded_privileges_begin_from_nothing() {
        let grant = |grantee: Option<&str>, privilege: &str, grantable| Grant {
            grantee: grantee.map(str::to_owned),
            privilege: privilege.to_owned(),
            grantable,
        };
        let grants = vec![grant(None, "CONNECT", false), grant(Some("app"), "CREATE", true)];
        let recorded =
            DatabaseFacts { owner: "me".to_owned(), grants: Some(grants), ..DatabaseFacts::default() };
        assert_eq!(
            grant_statements("d", &recorded),
            [
                "REVOKE ALL ON DATABASE \"d\" FROM PUBLIC",
                "REVOKE ALL ON DATABASE \"d\" FROM \"me\"",
                "GRANT CONNECT ON DATABASE \"d\" TO PUBLIC",
                "GRANT CREATE ON DATABASE \"d\" TO \"app\" WITH GRANT OPTION",
            ]
        );
        assert!(grant_statements("d", &DatabaseFacts::default()).is_empty());
    }
}
