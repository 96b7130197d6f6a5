//! What ChromaDB keeps in SQLite.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::model::ChromaCollection;
use crate::sqlite::{SqliteHeader, open_live};

/// Returns the collections of a database, each with the number of its embeddings.
pub fn collections(database: &Connection) -> rusqlite::Result<Vec<ChromaCollection>> {
    let positions = vector_positions(database)?;
    let mut statement = database.prepare(
        "SELECT c.name, (SELECT s.id FROM segments s WHERE s.collection = c.id AND s.scope = 'VECTOR'),
                (SELECT count(*) FROM embeddings e JOIN segments s ON e.segment_id = s.id WHERE s.collection = c.id)
         FROM collections c ORDER BY c.name, c.id",
    )?;
    let rows = statement.query_map([], |row| {
        let segment: Option<String> = row.get(1)?;
        Ok(ChromaCollection {
            name: row.get(0)?,
            embeddings: u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
            max_seq_id: segment.as_ref().and_then(|segment| positions.get(segment)).cloned(),
            segment,
        })
    })?;
    rows.collect()
}

/// Returns how far each vector index is complete, by its segment. Of the other segments SQLite itself holds the data.
pub(super) fn vector_positions(database: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = database.prepare(
        "SELECT m.segment_id, m.seq_id FROM max_seq_id m JOIN segments s ON s.id = m.segment_id WHERE s.scope = 'VECTOR'",
    )?;
    let rows = statement.query_map([], |row| {
        // Older versions have bytes.
        let position = match row.get_ref(1)? {
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => hex::encode(bytes),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Null => "null".to_owned(),
        };
        Ok((row.get(0)?, position))
    })?;
    rows.collect()
}

/// Reads the positions of the live database.
pub(super) fn live_positions(
    path: &Path,
    header: SqliteHeader,
    lock_wait: Duration,
) -> rusqlite::Result<BTreeMap<String, String>> {
    let connection = open_live(path, header)?;
    connection.busy_timeout(lock_wait)?;
    vector_positions(&connection)
}
