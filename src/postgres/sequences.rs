//! The state of sequences. They are not part of a snapshot, so they are read before and after a dump.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::query::{FactsError, all, answer, execute};
use super::quote::{literal, qualified};
use crate::model::{SequenceBound, SequenceState};

/// Sequences per statement.
const AT_ONCE: usize = 200;
/// SQLSTATEs of an unknown sequence, and of missing privileges.
const NOT_READ: [&str; 2] = ["42P01", "42501"];

type Value = (String, String, i64, bool);

/// Reads all sequences of a dump, within the connection's transaction, and releases their locks. Omits those
/// that are dropped meanwhile or that the role may not read.
pub(super) async fn sequences(
    connection: &mut PgConnection,
    names: &'static str,
) -> Result<Vec<SequenceState>, FactsError> {
    let names: Vec<(String, String, i64, bool, Option<i64>)> =
        all(connection, "the sequences", names).await?;
    let mut states = Vec::with_capacity(names.len());
    let mut values: BTreeMap<(String, String), (i64, bool)> = BTreeMap::new();
    let wanted: Vec<(&str, &str)> =
        names.iter().map(|(schema, name, ..)| (schema.as_str(), name.as_str())).collect();
    for some in wanted.chunks(AT_ONCE) {
        for (schema, name, last_value, is_called) in read(connection, some).await? {
            values.insert((schema, name), (last_value, is_called));
        }
    }
    for (schema, name, increment, cycles, file) in names {
        let Some((last_value, is_called)) = values.remove(&(schema.clone(), name.clone())) else { continue };
        states.push(SequenceState {
            schema,
            name,
            last_value,
            is_called,
            increment: Some(increment),
            cycles: Some(cycles),
            restarted: None,
            after: None,
            file,
        });
    }
    Ok(states)
}

async fn read(connection: &mut PgConnection, some: &[(&str, &str)]) -> Result<Vec<Value>, FactsError> {
    match read_at_once(connection, some).await {
        Err(FactsError::Question { source, .. }) if is_not_read(&source) => {}
        other => return other,
    }
    let mut values = Vec::new();
    for one in some {
        match read_at_once(connection, std::slice::from_ref(one)).await {
            Ok(value) => values.extend(value),
            Err(FactsError::Question { source, .. }) if is_not_read(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(values)
}

fn is_not_read(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| NOT_READ.contains(&&*code))
}

async fn read_at_once(
    connection: &mut PgConnection,
    some: &[(&str, &str)],
) -> Result<Vec<Value>, FactsError> {
    let query: Vec<String> = some
        .iter()
        .map(|(schema, name)| {
            format!(
                "SELECT {}::text, {}::text, last_value, is_called FROM {}",
                literal(schema),
                literal(name),
                qualified(schema, name)
            )
        })
        .collect();
    execute(connection, "the sequences", "SAVEPOINT drctl").await?;
    let rows = sqlx::query_as(AssertSqlSafe(query.join(" UNION ALL ")))
        .persistent(false)
        .fetch_all(&mut *connection);
    let rows: Result<Vec<Value>, FactsError> = answer("the sequences", rows).await;
    execute(connection, "the sequences", "ROLLBACK TO SAVEPOINT drctl").await?;
    execute(connection, "the sequences", "RELEASE SAVEPOINT drctl").await?;
    rows
}

/// Sets the upper bounds of `before` from `after`, which was read once the dump was complete.
pub(super) fn bound(before: &mut [SequenceState], after: Vec<SequenceState>) {
    let mut after: BTreeMap<(String, String), SequenceState> =
        after.into_iter().map(|state| ((state.schema.clone(), state.name.clone()), state)).collect();
    for state in before {
        let Some(later) = after.remove(&(state.schema.clone(), state.name.clone())) else { continue };
        let is_same =
            later.file == state.file && (later.increment, later.cycles) == (state.increment, state.cycles);
        state.restarted = Some(!is_same);
        state.after = Some(SequenceBound { last_value: later.last_value, is_called: later.is_called });
    }
}
