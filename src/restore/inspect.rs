//! Reads the restored database and compares it with what was recorded.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::compare::compare;
use super::database::execute;
use super::plan::RestorePlan;
use super::selection::Chosen;
use super::target::ask;
use super::watch::close;
use super::{Compared, RestoreError, Run};
use crate::model::Table;
use crate::postgres::{count_rows, qualified, read_facts};

/// Counts and compares.
pub(super) async fn inspect(
    run: &Run,
    plan: &RestorePlan,
    chosen: Option<&Chosen>,
) -> Result<Compared, RestoreError> {
    tokio::select! {
        compared = read_and_compare(run, plan, chosen) => compared,
        () = run.cancel.cancelled() => Err(RestoreError::Interrupted),
    }
}

async fn read_and_compare(
    run: &Run,
    plan: &RestorePlan,
    chosen: Option<&Chosen>,
) -> Result<Compared, RestoreError> {
    let mut connection = plan.inside(&run.target).connect().await.map_err(RestoreError::Connect)?;
    // Counting is all it does, and it may use what the load has used.
    let parallel = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL max_parallel_workers_per_gather = {}",
        plan.jobs.clamp(1, 8)
    );
    execute(&mut connection, "prepare to count", parallel).await?;
    let mut found = read_facts(&mut connection).await.map_err(RestoreError::TargetFacts)?;
    let mut recorded = plan.steps.recorded.clone();
    let counted: BTreeSet<(&str, &str)> = recorded
        .tables
        .iter()
        .filter(|table| table.rows.is_some())
        .map(|table| (table.schema.as_str(), table.name.as_str()))
        .collect();
    let is_wanted = |table: &Table| {
        let is_chosen =
            chosen.is_none_or(|chosen| chosen.loaded.contains(&(table.schema.clone(), table.name.clone())));
        is_chosen && counted.contains(&(table.schema.as_str(), table.name.as_str()))
    };
    let (mut wanted, others): (Vec<Table>, Vec<Table>) = found.tables.into_iter().partition(is_wanted);
    let uncounted = count_rows(&mut connection, &mut wanted).await.map_err(RestoreError::TargetFacts)?;
    for table in &mut recorded.tables {
        if uncounted.contains(&qualified(&table.schema, &table.name)) {
            table.rows = None;
        }
    }
    found.tables = wanted.into_iter().chain(others).collect();
    let descending = descending(&mut connection).await?;
    close(connection).await;
    let mut compared = compare(&recorded, &found, chosen, &descending).map_err(RestoreError::Different)?;
    let notes =
        uncounted.iter().map(|name| format!("rows of {name} were not counted: no lock on it was to be had"));
    compared.notes.extend(notes);
    Ok(compared)
}

/// Sequences that count downwards.
async fn descending(connection: &mut PgConnection) -> Result<BTreeSet<(String, String)>, RestoreError> {
    let rows: Vec<(String, String)> = ask(sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text
           FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE s.seqincrement < 0",
    )
    .fetch_all(connection))
    .await?;
    Ok(rows.into_iter().collect())
}
