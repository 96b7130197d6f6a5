//! Schedulers that keep their jobs as rows of a database: a restored copy of them would run production's jobs.
//!
//! TimescaleDB and schedulers of other vendors, whose rows drctl does not change, are only named.

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::postgres::{identifier, qualified};

/// A scheduler, and the columns in which it keeps its jobs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JobScheduler {
    pub(super) name: &'static str,
    /// Also the name of its library, if it has one.
    pub(super) extension: &'static str,
    pub(super) schema: &'static str,
    pub(super) table: &'static str,
    id: &'static str,
    label: &'static str,
    active: &'static str,
}

/// Runs in the server itself, which reads its jobs again as soon as they change.
pub(super) const PG_CRON: JobScheduler = JobScheduler {
    name: "pg_cron",
    extension: "pg_cron",
    schema: "cron",
    table: "job",
    id: "jobid",
    label: "jobname",
    active: "active",
};

/// An agent outside of the server runs them, connected to a database by its name.
const PGAGENT: JobScheduler = JobScheduler {
    name: "pgAgent",
    extension: "pgagent",
    schema: "pgagent",
    table: "pga_job",
    id: "jobid",
    label: "jobname",
    active: "jobenabled",
};

/// As those of pgAgent.
const PG_TIMETABLE: JobScheduler = JobScheduler {
    name: "pg_timetable",
    extension: "pg_timetable",
    schema: "timetable",
    table: "chain",
    id: "chain_id",
    label: "chain_name",
    active: "live",
};

pub(super) const SCHEDULERS: [&JobScheduler; 3] = [&PG_CRON, &PGAGENT, &PG_TIMETABLE];

/// Extensions with jobs that are not set inactive.
pub(super) const NOT_CHANGED: [&str; 7] =
    ["dbms_scheduler", "pg_later", "pg_scheduler", "pg_task", "pgpro_scheduler", "pgq", "timescaledb"];

/// A job that was active in the backup, and is not in the restored database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InactiveJob {
    pub scheduler: &'static str,
    pub id: i64,
    pub name: Option<String>,
    /// The server that it connects to, `host:port`; absent where that is not in its row.
    pub server: Option<String>,
    /// The statement that turns it on again.
    pub activate: String,
}

impl std::fmt::Display for InactiveJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "job {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        write!(f, " of {}", self.scheduler)?;
        if let Some(server) = &self.server {
            write!(f, ", which connects to {server},")?;
        }
        write!(f, " is inactive: {}; turns it on", self.activate)
    }
}

/// A job's id, name, host and port.
type Row = (i64, Option<String>, Option<String>, Option<String>);

impl JobScheduler {
    pub(super) fn qualified(&self) -> String {
        qualified(self.schema, self.table)
    }

    /// Returns the statement that returns the active jobs.
    fn select(&self) -> String {
        let (table, columns, active) = (self.qualified(), self.columns(), identifier(self.active));
        format!("SELECT {columns} FROM {table} j WHERE j.{active} ORDER BY 1")
    }

    /// Returns the statement that sets them inactive, and returns them.
    fn update(&self) -> String {
        let (table, columns, active) = (self.qualified(), self.columns(), identifier(self.active));
        format!("UPDATE {table} j SET {active} = false WHERE j.{active} RETURNING {columns}")
    }

    /// Columns that some versions do not have are NULL.
    pub(super) fn columns(&self) -> String {
        let (id, label) = (identifier(self.id), self.label);
        format!(
            "j.{id}::int8, to_jsonb(j) ->> '{label}', to_jsonb(j) ->> 'nodename', to_jsonb(j) ->> 'nodeport'"
        )
    }

    pub(super) fn job(&self, (id, name, host, port): Row) -> InactiveJob {
        let (table, column, active) = (self.qualified(), identifier(self.id), identifier(self.active));
        InactiveJob {
            scheduler: self.name,
            id,
            name,
            server: host.map(|host| match port {
                Some(port) => format!("{host}:{port}"),
                None => host,
            }),
            activate: format!("UPDATE {table} SET {active} = true WHERE {column} = {id}"),
        }
    }

    /// Returns whether the database has its table.
    pub(super) async fn is_in(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT pg_catalog.to_regclass($1) IS NOT NULL")
            .bind(self.qualified())
            .fetch_one(connection)
            .await
    }

    /// Returns its active jobs.
    pub(super) async fn active_jobs(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<InactiveJob>, sqlx::Error> {
        self.fetch(connection, self.select()).await
    }

    /// Sets its active jobs inactive, and returns them.
    pub(super) async fn deactivate(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<InactiveJob>, sqlx::Error> {
        self.fetch(connection, self.update()).await
    }

    pub(super) async fn fetch(
        &self,
        connection: &mut PgConnection,
        query: String,
    ) -> Result<Vec<InactiveJob>, sqlx::Error> {
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(query)).fetch_all(connection).await?;
        let mut jobs: Vec<InactiveJob> = rows.into_iter().map(|row| self.job(row)).collect();
        jobs.sort_by_key(|job| job.id);
        Ok(jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_comes_with_the_statement_that_turns_it_on() {
        let row = (3, Some("nightly".to_owned()), Some("db1".to_owned()), Some("5432".to_owned()));
        let job = PG_CRON.job(row);
        assert_eq!(job.server.as_deref(), Some("db1:5432"));
        assert_eq!(job.activate, "UPDATE \"cron\".\"job\" SET \"active\" = true WHERE \"jobid\" = 3");
        assert!(
            job.to_string()
                .starts_with("job 3 `nightly` of pg_cron, which connects to db1:5432, is inactive")
        );
        let other = PG_TIMETABLE.job((7, None, None, None));
        assert!(other.to_string().starts_with("job 7 of pg_timetable is inactive: UPDATE \"timetable\""));
    }
}
