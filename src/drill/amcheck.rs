//! Whether tables and indexes that came back are sound inside, by PostgreSQL's own `amcheck`. It follows what is usable,
//! and does not count towards the RTO.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::Instant;

use crate::checks::{CHECK_FAILED, CheckResult, NOT_ASKED};
use crate::model::{Cause, Judgement, Verdict};
use crate::platform::CancellationToken;
use crate::postgres::{ConnectionParameters, close};
use crate::text::{count, error_chain, format_duration};

/// The name of the check.
pub(super) const AMCHECK: &str = "amcheck";
/// How long it may take; the smallest tables and indexes come first.
pub(super) const BUDGET: Duration = Duration::from_secs(600);
/// Data or an index is corrupted.
const CORRUPTED: [&str; 2] = ["XX001", "XX002"];
/// Names that are checked in messages; the record has none of them.
const NAMED: usize = 5;

/// Names nothing but PostgreSQL's own, and runs none of the application's triggers.
const PREPARE: &str =
    "SET search_path = pg_catalog; SET statement_timeout = 0; SET default_transaction_read_only = off;
    CREATE SCHEMA IF NOT EXISTS drctl_amcheck;
    CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA drctl_amcheck";

const RELATIONS: &str = "
    SELECT c.oid::int8, c.oid::regclass::text, COALESCE(a.amname::text, ''), pg_relation_size(c.oid)
      FROM pg_class c
      LEFT JOIN pg_am a ON a.oid = c.relam
      LEFT JOIN pg_index i ON i.indexrelid = c.oid
     WHERE c.relpersistence <> 't'
       AND (c.relkind IN ('r', 'm', 't') AND a.amname = 'heap'
            OR c.relkind = 'i' AND a.amname IN ('btree', 'gin') AND i.indisvalid AND i.indisready AND i.indislive)
     ORDER BY 4, 1";

/// An index sorted by another version of a locale than this host has is out of order here, and was not there.
const OTHER_LOCALES: &str = "
    SELECT EXISTS (SELECT FROM pg_database d WHERE d.datname = current_database()
                    AND d.datcollversion IS DISTINCT FROM pg_database_collation_actual_version(d.oid))
        OR EXISTS (SELECT FROM pg_collation c WHERE c.collversion IS NOT NULL
                    AND c.collversion IS DISTINCT FROM pg_collation_actual_version(c.oid))";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Inspected {
    /// Of all databases.
    relations: usize,
    checked: usize,
    /// Indexes of a kind that this version of `amcheck` does not know.
    unknown: usize,
    corrupted: Vec<String>,
    /// Where the host sorts text otherwise than the original, its indexes cannot be judged.
    has_other_locales: bool,
    /// Why it could not be run.
    obstacles: Vec<String>,
}

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
                    let mut way = login.with_database(&database);
                    way.user.clone_from(&superuser);
                    inspect_database(&way, until, &mut inspected).await;
                }
            }
            Err(why) => inspected.obstacles.push(why),
        }
    };
    tokio::select! {
        _ = tokio::time::timeout_at(until, run) => {}
        () = cancel.cancelled() => {}
    }
    judge(&inspected, budget)
}

fn judge(inspected: &Inspected, budget: Duration) -> (CheckResult, Option<String>) {
    let Inspected { relations, checked, corrupted, .. } = inspected;
    let mut verdict = Verdict::default();
    let named = corrupted.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if !corrupted.is_empty() && inspected.has_other_locales {
        let message = format!(
            "failed to run check `{AMCHECK}`: this host sorts text otherwise than the original, and so its indexes cannot be judged: {named}"
        );
        verdict.add(Judgement::Undetermined, Cause::Environment, NOT_ASKED, message);
    } else if !corrupted.is_empty() {
        let message = format!(
            "check `{AMCHECK}` failed: {} corrupted: {named}",
            match corrupted.len() {
                1 => "one table or index is".to_owned(),
                several => format!("{several} tables or indexes are"),
            }
        );
        verdict.add(Judgement::Fail, Cause::Backup, CHECK_FAILED, message);
    }
    if let Some(why) = inspected.obstacles.first() {
        let message = format!("failed to run check `{AMCHECK}`: {why}");
        verdict.add(Judgement::Undetermined, Cause::Environment, NOT_ASKED, message);
    } else if *checked == 0 && *relations > 0 {
        let message =
            format!("failed to run check `{AMCHECK}`: it reached nothing in {}", format_duration(budget));
        verdict.add(Judgement::Undetermined, Cause::Environment, NOT_ASKED, message);
    }
    let left = relations - checked;
    let finding = (left > 0 && verdict.has_passed()).then(|| {
        let known = match inspected.unknown {
            0 => String::new(),
            unknown => format!(
                "; {} of a kind that this version of it does not know",
                count(unknown as u64, "index")
            ),
        };
        format!(
            "`{AMCHECK}` reached {checked} of {relations} tables and indexes in {}{known}",
            format_duration(budget)
        )
    });
    let found = Some(format!("{checked} of {relations} tables and indexes"));
    (CheckResult { check: AMCHECK.to_owned(), verdict, found }, finding)
}

/// Returns a superuser, and the databases.
async fn databases(login: &ConnectionParameters) -> Result<(String, Vec<String>), String> {
    let mut connection = login.connect().await.map_err(|error| error_chain(&error))?;
    let superuser = sqlx::query_scalar::<_, Option<String>>(
        "SELECT min(rolname::text) FROM pg_catalog.pg_roles WHERE rolsuper AND rolcanlogin",
    );
    let superuser = superuser.fetch_one(&mut connection).await;
    let databases = sqlx::query_scalar::<_, String>(
        "SELECT datname::text FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1",
    );
    let databases = databases.fetch_all(&mut connection).await;
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
    let has_gin = "SELECT to_regprocedure($1) IS NOT NULL";
    let has_gin: bool = sqlx::query_scalar(has_gin)
        .bind(format!("{schema}.gin_index_check(regclass)"))
        .fetch_one(&mut *connection)
        .await?;
    let major: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int4 / 10000")
        .fetch_one(&mut *connection)
        .await?;
    if major >= 15 {
        let differs: bool = sqlx::query_scalar(OTHER_LOCALES).fetch_one(&mut *connection).await?;
        inspected.has_other_locales |= differs;
    }
    let relations: Vec<(i64, String, String, i64)> =
        sqlx::query_as(RELATIONS).fetch_all(&mut *connection).await?;
    inspected.relations += relations.len();
    for (oid, name, method, _) in relations {
        if Instant::now() >= until {
            break;
        }
        let query = match method.as_str() {
            "heap" => format!(
                "SELECT msg FROM {schema}.verify_heapam({oid}::oid::regclass, on_error_stop => true) LIMIT 1"
            ),
            "btree" => {
                format!(
                    "SELECT NULL::text FROM {schema}.bt_index_parent_check({oid}::oid::regclass, heapallindexed => true)"
                )
            }
            _ if has_gin => format!("SELECT NULL::text FROM {schema}.gin_index_check({oid}::oid::regclass)"),
            _ => {
                inspected.unknown += 1;
                continue;
            }
        };
        let said = sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(query)).persistent(false);
        match said.fetch_optional(&mut *connection).await {
            Ok(said) => inspected.corrupted.extend(said.flatten().map(|said| format!("{name}: {said}"))),
            Err(error) if is_corruption(&error) => {
                inspected.corrupted.push(format!("{name}: {}", error_chain(&error)));
            }
            Err(error) if error.as_database_error().is_some() => {
                inspected.obstacles.push(format!("{name}: {}", error_chain(&error)));
                continue;
            }
            Err(error) => return Err(error),
        }
        inspected.checked += 1;
    }
    Ok(())
}

fn is_corruption(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| CORRUPTED.contains(&&*code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(inspected: &Inspected) -> (Judgement, Option<Cause>, bool) {
        let (result, finding) = judge(inspected, BUDGET);
        let cause = result.verdict.reasons.first().map(|reason| reason.cause);
        (result.verdict.outcome, cause, finding.is_some())
    }

    #[test]
    fn only_what_was_reached_is_sound_and_what_could_not_be_run_has_not_passed() {
        let all = Inspected { relations: 9, checked: 9, ..Inspected::default() };
        assert_eq!(judged(&all), (Judgement::Pass, None, false));
        let some = Inspected { checked: 4, ..all.clone() };
        assert_eq!(judged(&some), (Judgement::Pass, None, true));
        let environment = (Judgement::Undetermined, Some(Cause::Environment), false);
        assert_eq!(judged(&Inspected { checked: 0, ..all.clone() }), environment);
        let lacking = "could not open extension control file \"amcheck.control\"".to_owned();
        let lacking = Inspected { obstacles: vec![lacking], checked: 0, ..all.clone() };
        assert_eq!(judged(&lacking), environment);
        let corrupted = Inspected { corrupted: vec!["t: lacks a tuple".to_owned()], ..all.clone() };
        assert_eq!(judged(&corrupted), (Judgement::Fail, Some(Cause::Backup), false));
        // The order of another locale is no damage.
        let elsewhere = Inspected { has_other_locales: true, ..corrupted };
        assert_eq!(judged(&elsewhere), environment);
        // An empty server has nothing to check.
        assert_eq!(judged(&Inspected::default()), (Judgement::Pass, None, false));
    }
}
