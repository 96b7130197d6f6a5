//! Keeps jobs from running in a restored database: they are loaded inactive, or set inactive before it is
//! published.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::DumpRestoreError;
use super::database::execute;
use super::plan::DumpRestorePlan;
use super::query::WITHIN;
use crate::postgres::{close, identifier};
use crate::restore::scheduled_jobs::{InactiveJob, PG_CRON};

/// The names of what holds pg_cron's jobs back while they are loaded.
const GUARD: &str = "drctl_load_inactive";
const WERE_ACTIVE: &str = "drctl_were_active";

/// Creates pg_cron before the load, with a trigger that makes every active job inactive and records its id:
/// pg_cron's launcher reads jobs as soon as they are committed.
pub(super) async fn hold(plan: &DumpRestorePlan) -> Result<(), DumpRestoreError> {
    if !plan.steps.deactivates.contains(&&PG_CRON) {
        return Ok(());
    }
    let (schema, table) = (identifier(PG_CRON.schema), PG_CRON.qualified());
    let statement = format!(
        "BEGIN;
         CREATE TABLE {schema}.{WERE_ACTIVE} (jobid int8);
         CREATE FUNCTION {schema}.{GUARD}() RETURNS trigger LANGUAGE plpgsql AS $guard$
         BEGIN
             IF NEW.active THEN
                 INSERT INTO {schema}.{WERE_ACTIVE} VALUES (NEW.jobid);
                 NEW.active := false;
             END IF;
             RETURN NEW;
         END $guard$;
         CREATE TRIGGER {GUARD} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE PROCEDURE {schema}.{GUARD}();
         ALTER TABLE {table} ENABLE ALWAYS TRIGGER {GUARD};
         COMMIT"
    );
    let mut connection = plan.inside().connect().await.map_err(DumpRestoreError::Connect)?;
    let extensions = &plan.steps.recorded.extensions;
    let recorded = extensions.iter().find(|extension| extension.name == PG_CRON.extension);
    let in_schema = recorded.map(|extension| format!(" WITH SCHEMA {}", identifier(&extension.schema)));
    let create = format!("CREATE EXTENSION IF NOT EXISTS pg_cron{}", in_schema.unwrap_or_default());
    let created = execute(&mut connection, "create extension pg_cron", create).await;
    let what = "keep the jobs of pg_cron from running while they are loaded (`--with-active-jobs` loads them as they are)";
    let held = match created {
        Ok(()) => execute(&mut connection, what, statement).await,
        // The dump cannot create it either, and is restored without its jobs.
        Err(DumpRestoreError::Statement { source: sqlx::Error::Database(_), .. })
            if plan.incomplete.is_some() =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    };
    close(connection).await;
    held
}

/// Sets all jobs inactive, removes what [`hold`] created, and returns the jobs that were active.
pub(super) async fn deactivate(plan: &DumpRestorePlan) -> Result<Vec<InactiveJob>, DumpRestoreError> {
    if plan.steps.deactivates.is_empty() {
        return Ok(vec![]);
    }
    let mut connection = plan.inside().connect().await.map_err(DumpRestoreError::Connect)?;
    let mut jobs = Vec::new();
    for scheduler in &plan.steps.deactivates {
        let what = format!("set the jobs of {} inactive", scheduler.name);
        let done = async {
            // With `--continue`, its table may be missing.
            if !scheduler.is_in(&mut connection).await? {
                return Ok(vec![]);
            }
            if **scheduler == PG_CRON {
                release(&mut connection).await
            } else {
                scheduler.deactivate(&mut connection).await
            }
        };
        match tokio::time::timeout(WITHIN, done).await {
            Ok(Ok(found)) => jobs.extend(found),
            Ok(Err(source)) => return Err(DumpRestoreError::Statement { what, source }),
            Err(_) => return Err(DumpRestoreError::StatementSilent { what, waited: WITHIN }),
        }
    }
    close(connection).await;
    Ok(jobs)
}

async fn release(connection: &mut PgConnection) -> Result<Vec<InactiveJob>, sqlx::Error> {
    let (schema, table, columns) = (identifier(PG_CRON.schema), PG_CRON.qualified(), PG_CRON.columns());
    let mut transaction = connection.begin().await?;
    let query = format!(
        "SELECT {columns} FROM {table} j WHERE j.jobid IN (SELECT jobid FROM {schema}.{WERE_ACTIVE})"
    );
    let jobs = PG_CRON.fetch(&mut transaction, query).await?;
    let statement = format!(
        "DROP TRIGGER {GUARD} ON {table}; DROP FUNCTION {schema}.{GUARD}(); DROP TABLE {schema}.{WERE_ACTIVE}"
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(jobs)
}
