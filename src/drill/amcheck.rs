//! Whether tables and indexes that came back are sound inside, by PostgreSQL's own `amcheck`. It follows what is usable,
//! and does not count towards the RTO.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::Instant;

use super::amcheck_verdict::{Inspected, Relation, RelationState, judge, outcome};
use crate::checks::CheckResult;
use crate::platform::CancellationToken;
use crate::postgres::{ConnectionParameters, close};
use crate::text::error_chain;

/// How long it may take; the smallest tables and indexes come first.
pub(super) const BUDGET: Duration = Duration::from_secs(600);
/// The first major version that records the version of a database's own collation.
const DATABASE_VERSIONS: i32 = 15;
/// Names nothing but PostgreSQL's own, and runs none of the application's triggers: before version 17 event triggers
/// are off in a replica only.
const PREPARE: &str =
    "SET search_path = pg_catalog; SET statement_timeout = 0; SET default_transaction_read_only = off;
    SET session_replication_role = replica;
    SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'event_triggers';
    CREATE SCHEMA IF NOT EXISTS drctl_amcheck;
    CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA drctl_amcheck";

/// In an invalid database, which cannot be connected to, a DROP DATABASE did not come to its end.
const DATABASES: &str = "
    SELECT datname::text FROM pg_catalog.pg_database
     WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY 1";

/// An index is in the order of a locale where a column has a collation other than `C` (950) and `POSIX` (951), or a type
/// that sorts the text within by the collation of the database.
const RELATIONS: &str = "
    SELECT c.oid::int8 AS oid, c.oid::regclass::text AS name, COALESCE(a.amname::text, '') AS method,
           COALESCE(a.amname = 'btree' AND (
               EXISTS (SELECT FROM unnest(i.indcollation) u(oid) WHERE u.oid NOT IN (0, 950, 951))
            OR EXISTS (SELECT FROM unnest(i.indclass) u(oid)
                         JOIN pg_opclass o ON o.oid = u.oid JOIN pg_type t ON t.oid = o.opcintype
                        WHERE t.typname IN ('jsonb', 'anyarray', 'record', 'anyrange', 'anymultirange'))), false)
             AS is_locale_ordered
      FROM pg_class c
      LEFT JOIN pg_am a ON a.oid = c.relam
      LEFT JOIN pg_index i ON i.indexrelid = c.oid
     WHERE c.relpersistence <> 't'
       AND (c.relkind IN ('r', 'm', 't') AND a.amname = 'heap'
            OR c.relkind = 'i' AND a.amname IN ('btree', 'gin') AND i.indisvalid AND i.indisready AND i.indislive)
     ORDER BY pg_relation_size(c.oid), c.oid";

/// An index sorted by another version of a locale than this host has is out of order here, and was not there.
const OTHER_COLLATIONS: &str = "
    SELECT EXISTS (SELECT FROM pg_collation c WHERE c.collversion <> pg_collation_actual_version(c.oid))";
const OTHER_DATABASE_COLLATION: &str = "
    SELECT EXISTS (SELECT FROM pg_database d WHERE d.datname = current_database()
                    AND d.datcollversion <> pg_database_collation_actual_version(d.oid))";

/// Checks the databases that a login reaches, as its server's superuser, for as long as `budget` lasts. Returns the
/// result, and what is to be followed up.
pub(super) async fn inspect(
    login: &ConnectionParameters,
    budget: Duration,
    cancel: &CancellationToken,
) -> (CheckResult, Option<String>) {
    let until = Instant::now() + budget;
    let mut inspected = Inspected::default();
    let run = async {
        match databases(login).await {
            Ok((superuser, databases)) => {
                for database in databases {
                    if Instant::now() >= until {
                        break;
                    }
                    let mut way = login.with_database(&database);
                    way.user.clone_from(&superuser);
                    inspect_database(&way, until, &mut inspected).await;
                }
            }
            Err(why) => inspected.obstacles.push(why),
        }
    };
    let interrupted = tokio::select! {
        _ = tokio::time::timeout_at(until, run) => None,
        () = cancel.cancelled() => Some("it was interrupted".to_owned()),
    };
    inspected.obstacles.extend(interrupted);
    inspected.ran_out = Instant::now() >= until;
    judge(&inspected, budget)
}

/// Returns a superuser, and the databases.
async fn databases(login: &ConnectionParameters) -> Result<(String, Vec<String>), String> {
    let mut connection = login.connect().await.map_err(|error| error_chain(&error))?;
    let superuser = sqlx::query_scalar::<_, Option<String>>(
        "SELECT min(rolname::text) FROM pg_catalog.pg_roles WHERE rolsuper AND rolcanlogin",
    );
    let superuser = superuser.fetch_one(&mut connection).await;
    let databases = sqlx::query_scalar::<_, String>(DATABASES).fetch_all(&mut connection).await;
    close(connection).await;
    let superuser = superuser.map_err(|error| error_chain(&error))?;
    let superuser = superuser.ok_or("no superuser may log in to what was restored")?;
    Ok((superuser, databases.map_err(|error| error_chain(&error))?))
}

async fn inspect_database(login: &ConnectionParameters, until: Instant, inspected: &mut Inspected) {
    let mut connection = match login.connect().await {
        Ok(connection) => connection,
        Err(error) => return inspected.obstacles.push(error_chain(&error)),
    };
    if let Err(error) = inspect_all(&mut connection, until, inspected).await {
        inspected.obstacles.push(error_chain(&error));
    }
    close(connection).await;
}

async fn inspect_all(
    connection: &mut PgConnection,
    until: Instant,
    inspected: &mut Inspected,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(PREPARE).execute(&mut *connection).await?;
    let schema =
        "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                   WHERE e.extname = 'amcheck'";
    let schema: String = sqlx::query_scalar(schema).fetch_one(&mut *connection).await?;
    let has_heap =
        has(connection, format!("{schema}.verify_heapam(regclass,boolean,boolean,text,bigint,bigint)"))
            .await?;
    let has_gin = has(connection, format!("{schema}.gin_index_check(regclass)")).await?;
    let has_other_locales = has_other_locales(connection).await?;
    let relations: Vec<Relation> = sqlx::query_as(RELATIONS).fetch_all(&mut *connection).await?;
    inspected.relations += relations.len();
    for relation in relations {
        if Instant::now() >= until {
            break;
        }
        let Relation { oid, method, .. } = &relation;
        let query = match method.as_str() {
            "heap" if has_heap => format!(
                "SELECT msg FROM {schema}.verify_heapam({oid}::oid::regclass, on_error_stop => true) LIMIT 1"
            ),
            "btree" => {
                format!(
                    "SELECT NULL::text FROM {schema}.bt_index_parent_check({oid}::oid::regclass, heapallindexed => true)"
                )
            }
            "gin" if has_gin => {
                format!("SELECT NULL::text FROM {schema}.gin_index_check({oid}::oid::regclass)")
            }
            _ => {
                inspected.unknown += 1;
                continue;
            }
        };
        let said = sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(query)).persistent(false);
        let outcome = match said.fetch_optional(&mut *connection).await {
            Ok(said) => said.flatten().map_or(RelationState::Sound, RelationState::Corrupted),
            Err(error) => {
                let Some(told) = error.as_database_error() else { return Err(error) };
                outcome(told.code().as_deref().unwrap_or_default(), told.message(), error_chain(&error))
            }
        };
        inspected.add(&relation, has_other_locales, outcome);
    }
    Ok(())
}

/// Returns whether the database has a function.
async fn has(connection: &mut PgConnection, signature: String) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar("SELECT to_regprocedure($1) IS NOT NULL").bind(signature);
    query.fetch_one(connection).await
}

/// Returns whether this host sorts text otherwise than the original, as far as the version of the server records it.
async fn has_other_locales(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let major: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int4 / 10000")
        .fetch_one(&mut *connection)
        .await?;
    let differs: bool = sqlx::query_scalar(OTHER_COLLATIONS).fetch_one(&mut *connection).await?;
    if differs || major < DATABASE_VERSIONS {
        return Ok(differs);
    }
    sqlx::query_scalar(OTHER_DATABASE_COLLATION).fetch_one(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Judgement;

    #[tokio::test]
    async fn a_budget_that_is_used_up_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let _listener =
            std::os::unix::net::UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let login = ConnectionParameters::by_socket(directory.path(), 5432, "postgres", "postgres").unwrap();
        // The server takes the connection, and never answers.
        let (result, _) = inspect(&login, Duration::from_millis(50), &CancellationToken::new()).await;
        assert_eq!(result.verdict.outcome, Judgement::Undetermined, "{result:?}");
        let cancel = CancellationToken::new();
        cancel.cancel();
        let (result, _) = inspect(&login, BUDGET, &cancel).await;
        assert_eq!(result.verdict.outcome, Judgement::Undetermined, "{result:?}");
    }
}
