//! The database that is restored into: made under a name that says what it is, dropped when anything
//! fails, renamed when everything is right.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::plan::{RestorePlan, Steps};
use super::target::{COMMENT, REPLACED, ask, contents, maintenance};
use super::watch::close;
use super::{RestoreError, Run};
use crate::event::told;
use crate::model::{DatabaseFacts, RoleSetting};
use crate::postgres::{ConnectionParameters, identifier, literal, split_quoted};

/// Making or dropping a database may wait for a checkpoint.
const WITHIN: Duration = Duration::from_secs(600);
/// How often the last step is tried while someone else is connected. The server itself waits five seconds
/// each time.
const TRIES: u32 = 3;
const IN_USE: &str = "55006";
/// Where a database is when nothing is said.
const DEFAULT_TABLESPACE: &str = "pg_default";

/// Runs one statement. `what` finishes "failed to …".
pub(super) async fn execute(
    connection: &mut PgConnection,
    what: &str,
    sql: String,
) -> Result<(), RestoreError> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection);
    match tokio::time::timeout(WITHIN, done).await {
        Ok(outcome) => {
            outcome.map(drop).map_err(|source| RestoreError::Statement { what: what.to_owned(), source })
        }
        Err(_) => Err(RestoreError::StatementSilent { what: what.to_owned(), waited: WITHIN }),
    }
}

/// A connection for this one purpose: one that was held through hours of loading may be dead.
async fn connect(target: &ConnectionParameters) -> Result<PgConnection, RestoreError> {
    maintenance(target).await.map_err(RestoreError::Connect)
}

/// Makes the empty database.
pub(super) async fn create(run: &Run, plan: &RestorePlan) -> Result<(), RestoreError> {
    let mut connection = connect(&run.target).await?;
    let what = format!("create the database `{}`", plan.temporary);
    let created = execute(&mut connection, &what, create_statement(&plan.temporary, &plan.steps)).await;
    close(connection).await;
    created
}

/// Says in the database's comment what it is.
pub(super) async fn mark(run: &Run, plan: &RestorePlan) -> Result<(), RestoreError> {
    let mut connection = connect(&run.target).await?;
    let comment = format!(
        "{COMMENT}being restored from {} by {} since {}; not complete, and of no use to anyone else",
        plan.backup,
        run.host,
        run.clock.now().format("%Y-%m-%d %H:%M:%S UTC"),
    );
    let sql = format!("COMMENT ON DATABASE {} IS {}", identifier(&plan.temporary), literal(&comment));
    let marked = execute(&mut connection, "mark the temporary database", sql).await;
    close(connection).await;
    marked
}

/// From `template0`: any other may hold things, and has its own encoding.
fn create_statement(name: &str, steps: &Steps) -> String {
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
    // Naming even the default one takes a right to it, and only superusers have that.
    if steps.tablespaces && !["", DEFAULT_TABLESPACE].contains(&recorded.tablespace.as_str()) {
        sql.push_str(&format!(" TABLESPACE {}", identifier(&recorded.tablespace)));
    }
    sql
}

/// Drops a database of ours and ends whoever is in it. That it is not there is a success.
pub(super) async fn drop_database(
    target: &ConnectionParameters,
    name: &str,
    force: bool,
) -> Result<(), RestoreError> {
    let mut connection = connect(target).await?;
    if force {
        terminate(&mut connection, name).await?;
    }
    let what = format!("drop the database `{name}`");
    let (version,): (i32,) =
        ask(sqlx::query_as("SELECT current_setting('server_version_num')::int4").fetch_one(&mut connection))
            .await?;
    let with_force = if force && version >= 130_000 { " WITH (FORCE)" } else { "" };
    let dropped =
        execute(&mut connection, &what, format!("DROP DATABASE IF EXISTS {}{with_force}", identifier(name)))
            .await;
    close(connection).await;
    dropped
}

/// Whether the server says that there is no database of that name.
pub(super) async fn is_gone(target: &ConnectionParameters, name: &str) -> bool {
    let Ok(mut connection) = connect(target).await else { return false };
    let query = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1");
    let found: Result<i64, _> = ask(query.bind(name).fetch_one(&mut connection)).await;
    close(connection).await;
    found.is_ok_and(|count| count == 0)
}

async fn terminate(connection: &mut PgConnection, name: &str) -> Result<(), RestoreError> {
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {} AND pid <> pg_backend_pid()",
        literal(name)
    );
    execute(connection, "end the connections to the temporary database", sql).await
}

/// Gives the temporary database what the recorded one had beside its contents. What cannot be applied comes
/// back in words: the data is right without it.
pub(super) async fn apply_properties(run: &Run, plan: &RestorePlan) -> Result<Vec<String>, RestoreError> {
    let (recorded, owners) = (&plan.steps.recorded, plan.steps.owners);
    let mut connection = connect(&run.target).await?;
    let mut left_out = Vec::new();
    let wanted = recorded.settings.iter().filter(|setting| owners || setting.role.is_none());
    let settings = wanted
        .map(|setting| (format!("setting {}", setting.name), setting_statement(&plan.temporary, setting)));
    let grants = if owners { grant_statements(&plan.temporary, recorded) } else { vec![] };
    let grants = grants.into_iter().map(|sql| ("privileges on the database".to_owned(), sql));
    for (what, sql) in settings.chain(grants) {
        match execute(&mut connection, "apply", sql).await {
            Ok(()) => {}
            Err(RestoreError::Statement { source: sqlx::Error::Database(error), .. }) => {
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
    // `a.b` is two names, as a setting of an extension has it.
    let name = setting.name.split('.').map(identifier).collect::<Vec<_>>().join(".");
    // A list is kept as the server shows it, its parts quoted where that is needed.
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

/// From nothing: what PostgreSQL grants by default may have been taken away.
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

/// Gives the database its name, in one transaction with what must not be there before. Gives the name under
/// which an empty database that had it still stands.
pub(super) async fn publish(run: &Run, plan: &RestorePlan) -> Result<Option<String>, RestoreError> {
    if plan.replaces_empty {
        refuse_occupied(run, &plan.database, &plan.database).await?;
    }
    let aside = plan.temporary.replacen(super::target::RESTORING, REPLACED, 1);
    let mut connection = connect(&run.target).await?;
    let statements = publish_statements(plan, &aside);
    let mut attempt = 1;
    loop {
        // Nobody has any business in it.
        terminate(&mut connection, &plan.temporary).await?;
        let what = format!("give the restored database the name `{}`", plan.database);
        match execute(&mut connection, &what, statements.clone()).await {
            Ok(()) => break,
            Err(error) if attempt < TRIES && is_in_use(&error) => attempt += 1,
            Err(error) => return Err(error),
        }
    }
    close(connection).await;
    Ok(plan.replaces_empty.then_some(aside))
}

fn is_in_use(error: &RestoreError) -> bool {
    matches!(error, RestoreError::Statement { source: sqlx::Error::Database(error), .. }
        if error.code().is_some_and(|code| code == IN_USE))
}

async fn refuse_occupied(run: &Run, database: &str, told_as: &str) -> Result<(), RestoreError> {
    let holds = contents(&run.target.with_database(database)).await?;
    if holds.is_empty() {
        Ok(())
    } else {
        Err(RestoreError::Occupied { database: told_as.to_owned(), holds })
    }
}

/// Sent as one message, and so one transaction.
fn publish_statements(plan: &RestorePlan, aside: &str) -> String {
    let recorded = &plan.steps.recorded;
    let (temporary, database) = (identifier(&plan.temporary), identifier(&plan.database));
    let mut sql = String::new();
    if plan.replaces_empty {
        let comment = literal(&format!(
            "{COMMENT}the empty database that {} was before it was restored",
            plan.database
        ));
        sql.push_str(&format!(
            "COMMENT ON DATABASE {database} IS {comment}; ALTER DATABASE {database} RENAME TO {}; ",
            identifier(aside)
        ));
    }
    let comment = recorded.comment.as_ref().map_or_else(|| "NULL".to_owned(), |comment| literal(comment));
    sql.push_str(&format!("COMMENT ON DATABASE {temporary} IS {comment}; "));
    if recorded.connection_limit >= 0 {
        sql.push_str(&format!("ALTER DATABASE {temporary} CONNECTION LIMIT {}; ", recorded.connection_limit));
    }
    if recorded.is_template {
        sql.push_str(&format!("ALTER DATABASE {temporary} IS_TEMPLATE true; "));
    }
    sql.push_str(&format!("ALTER DATABASE {temporary} RENAME TO {database}"));
    sql
}

/// Drops the empty database that stood in the place, after one more look. Gives words where it stays.
pub(super) async fn drop_replaced(run: &Run, aside: &str) -> Option<String> {
    let checked = refuse_occupied(run, aside, aside).await;
    let dropped = match checked {
        Ok(()) => drop_database(&run.target, aside, false).await,
        Err(error) => Err(error),
    };
    dropped.err().map(|error| {
        format!("the empty database that stood in its place is kept as `{aside}`: {}", told(&error))
    })
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
