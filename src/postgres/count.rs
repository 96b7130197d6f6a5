use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::FactsError;
use super::facts::{all, answer};
use super::facts_queries::COUNTABLE;
use super::quote::qualified;
use crate::model::Table;

/// How long the rows of one table may take to count.
const COUNT_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Counts the rows of every table that holds rows a dump has, within the connection's transaction, and
/// writes them into `tables`. Fails where row-level security would hide some.
pub async fn count_rows(connection: &mut PgConnection, tables: &mut [Table]) -> Result<(), FactsError> {
    let countable: Vec<(String, String, bool)> = all(connection, "the tables to count", COUNTABLE).await?;
    let mut index: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (position, table) in tables.iter().enumerate() {
        index.insert((&table.schema, &table.name), position);
    }
    let wanted: Vec<(usize, bool)> = countable
        .iter()
        .filter_map(|(schema, name, only)| Some((*index.get(&(schema.as_str(), name.as_str()))?, *only)))
        .collect();
    drop(index);
    let strict = sqlx::query("SET row_security = off").execute(&mut *connection);
    answer("row-level security", strict).await?;
    for (position, only) in wanted {
        let table = &mut tables[position];
        let name = qualified(&table.schema, &table.name);
        // A table others inherit from counts its own rows only; theirs are counted with them.
        let from = if only { format!("ONLY {name}") } else { name.clone() };
        let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("SELECT count(*) FROM {from}")))
            .persistent(false)
            .fetch_one(&mut *connection);
        let rows = match tokio::time::timeout(COUNT_WITHIN, count).await {
            Ok(counted) => counted.map_err(|source| FactsError::Count { table: name, source })?,
            Err(_) => {
                return Err(FactsError::Deadline {
                    what: format!("the rows of `{name}`"),
                    waited: COUNT_WITHIN,
                });
            }
        };
        table.rows = Some(u64::try_from(rows).unwrap_or_default());
    }
    Ok(())
}
