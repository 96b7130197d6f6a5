//! The files of tables, indexes and sequences in the server's catalog, and whether they are in a copy.
//!
//! The catalog of each database is read before the copy, and queried again afterwards for missing files: what
//! was dropped, rewritten or moved meanwhile has another file by then, and the change is in the WAL. Compared
//! are the first files of permanent relations with PostgreSQL's own access methods: others may store their
//! data elsewhere. It takes a little more than four bytes of memory for each.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use super::error::BaseError;
use super::query::{ask, ask_within};
use crate::event::Events;
use crate::postgres::{ConnectionParameters, close};
use crate::text::{count, error_chain};

/// The tablespace of shared relations, in `global`.
pub(super) const SHARED: u32 = 1664;
/// The time limit for the catalog of one database.
const READ_WITHIN: Duration = Duration::from_secs(300);
/// Never changed, and not open to connections.
const TEMPLATE: &str = "template0";

/// A tablespace and a database in it; 0: shared relations.
type Place = (u32, u32);

/// The expected files of a copy.
#[derive(Debug, Default)]
pub(super) struct Relations {
    places: BTreeMap<Place, ExpectedFiles>,
}

#[derive(Debug, Default)]
struct ExpectedFiles {
    /// The database whose catalog they are from.
    database: String,
    /// Sorted.
    numbers: Vec<u32>,
    /// One bit for each.
    seen: Vec<u64>,
}

/// Files that are missing in a copy and that the server's catalog still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MissingRelation {
    pub(super) database: String,
    pub(super) name: String,
    /// Relative to the data directory.
    pub(super) path: String,
}

impl Relations {
    fn expect(&mut self, database: &str, mut found: Vec<(Place, u32)>) {
        found.sort_unstable();
        for (place, number) in found {
            let files = self.places.entry(place).or_default();
            // Shared relations are in every database's catalog.
            if !files.database.is_empty() && files.database != database {
                continue;
            }
            if files.database.is_empty() {
                database.clone_into(&mut files.database);
            }
            if files.numbers.last() != Some(&number) {
                files.numbers.push(number);
            }
        }
        for files in self.places.values_mut() {
            files.numbers.shrink_to_fit();
            files.seen.resize(files.numbers.len().div_ceil(64), 0);
        }
    }

    /// Records a file of the copy, by its name without the prefix of incremental files.
    pub(super) fn saw(&mut self, tablespace: u32, database: u32, file: &str) {
        let Ok(number) = file.parse() else { return };
        if let Some(files) = self.places.get_mut(&(tablespace, database))
            && let Ok(at) = files.numbers.binary_search(&number)
            && let Some(seen) = files.seen.get_mut(at / 64)
        {
            *seen |= 1 << (at % 64);
        }
    }

    /// Returns the missing files, by the database whose catalog has them.
    fn unseen(&self) -> BTreeMap<&str, Vec<(Place, u32)>> {
        let mut unseen: BTreeMap<&str, Vec<(Place, u32)>> = BTreeMap::new();
        for (place, files) in &self.places {
            let is_seen = |at: usize| files.seen.get(at / 64).is_some_and(|bits| bits >> (at % 64) & 1 == 1);
            let numbers = files.numbers.iter().enumerate().filter(|(at, _)| !is_seen(*at));
            let mut numbers = numbers.map(|(_, number)| (*place, *number)).peekable();
            if numbers.peek().is_some() {
                unseen.entry(&files.database).or_default().extend(numbers);
            }
        }
        unseen
    }
}

// The storage of an extension's own access method is unknown.
const FILES: &str = "
SELECT CASE WHEN c.relisshared THEN 1664 WHEN c.reltablespace = 0 THEN d.dattablespace::int8
            ELSE c.reltablespace::int8 END AS tablespace,
       CASE WHEN c.relisshared THEN 0 ELSE d.oid::int8 END AS database,
       pg_relation_filenode(c.oid)::int8 AS number
  FROM pg_class c, pg_database d
 WHERE d.datname = current_database() AND c.relkind IN ('r', 'i', 't', 'S', 'm') AND c.relpersistence = 'p'
   AND c.relam::int8 < 16384 AND pg_relation_filenode(c.oid) IS NOT NULL";

const STILL: &str = "
SELECT CASE WHEN c.relisshared THEN 1664 WHEN c.reltablespace = 0 THEN d.dattablespace::int8
            ELSE c.reltablespace::int8 END AS tablespace,
       CASE WHEN c.relisshared THEN 0 ELSE d.oid::int8 END AS database,
       pg_relation_filenode(c.oid)::int8 AS number,
       c.oid::regclass::text AS name, pg_relation_filepath(c.oid) AS path
  FROM pg_class c, pg_database d
 WHERE d.datname = current_database() AND c.relkind IN ('r', 'i', 't', 'S', 'm')
   AND pg_relation_filenode(c.oid)::int8 = ANY ($1)
 ORDER BY 5";

const DATABASES: &str = "
SELECT datname::text, datallowconn, has_database_privilege(oid, 'CONNECT') FROM pg_database
 WHERE datconnlimit <> -2 ORDER BY oid";

fn number(value: i64) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

/// Reads which files exist. A database that does not accept connections is reported, and not compared.
pub(super) async fn expected(
    parameters: &ConnectionParameters,
    connection: &mut PgConnection,
    server: &str,
    events: &Events,
) -> Result<Relations, BaseError> {
    let databases: Vec<(String, bool, bool)> =
        ask(server, sqlx::query_as(DATABASES).fetch_all(connection)).await?;
    let mut relations = Relations::default();
    for (database, allows, may_connect) in databases {
        let reason = match (allows, may_connect) {
            (false, _) if database == TEMPLATE => continue,
            (false, _) => "it does not allow connections".to_owned(),
            (true, false) => format!("role `{}` may not connect to it", parameters.user),
            (true, true) => match files(&parameters.with_database(&database), server).await {
                Ok(found) => {
                    relations.expect(&database, found);
                    continue;
                }
                Err(reason) => reason,
            },
        };
        not_compared(&database, &reason, events);
    }
    Ok(relations)
}

fn not_compared(database: &str, reason: &str, events: &Events) {
    // A file that is missing there would be noticed only at a restore.
    events.warning(format!(
        "the files of database `{database}` are copied, and not compared with its catalog: {reason}"
    ));
}

async fn files(parameters: &ConnectionParameters, server: &str) -> Result<Vec<(Place, u32)>, String> {
    let mut connection = parameters.connect().await.map_err(|error| error_chain(&error))?;
    let found = sqlx::query_as(FILES)
        .fetch(&mut connection)
        .map_ok(|(space, database, file): (i64, i64, i64)| ((number(space), number(database)), number(file)))
        .try_collect::<Vec<_>>();
    let found = ask_within(READ_WITHIN, server, found).await.map_err(|error| error_chain(&error));
    close(connection).await;
    found
}

/// Queries the missing files again. Returns those that the server's catalog still has, unchanged, and what could not
/// be determined, as text.
pub(super) async fn missing(
    relations: &Relations,
    parameters: &ConnectionParameters,
    server: &str,
) -> (Vec<MissingRelation>, Vec<String>) {
    let (mut missing, mut undetermined) = (Vec::new(), Vec::new());
    for (database, unseen) in relations.unseen() {
        match still(&parameters.with_database(database), database, &unseen, server).await {
            Ok(found) => missing.extend(found),
            Err(Unanswered { is_dropped: true, .. }) => {}
            Err(Unanswered { reason, .. }) => undetermined.push(format!(
                "{} of database `{database}` did not come, and its catalog could not be queried again: {reason}",
                count(unseen.len() as u64, "file")
            )),
        }
    }
    (missing, undetermined)
}

/// Why a catalog could not be queried again.
struct Unanswered {
    /// The database was dropped meanwhile, which is not an error.
    is_dropped: bool,
    reason: String,
}

/// `3D000`: there is no such database.
const NO_DATABASE: &str = "3D000";

async fn still(
    parameters: &ConnectionParameters,
    database: &str,
    unseen: &[(Place, u32)],
    server: &str,
) -> Result<Vec<MissingRelation>, Unanswered> {
    let mut connection = parameters.connect().await.map_err(|error| Unanswered {
        is_dropped: has_code(&error, NO_DATABASE),
        reason: error_chain(&error),
    })?;
    let numbers: Vec<i64> = unseen.iter().map(|(_, number)| i64::from(*number)).collect();
    let asked = sqlx::query_as(STILL).bind(numbers).fetch_all(&mut connection);
    let found = ask_within(READ_WITHIN, server, asked).await;
    close(connection).await;
    let found: Vec<(i64, i64, i64, String, String)> =
        found.map_err(|error| Unanswered { is_dropped: false, reason: error_chain(&error) })?;
    let is_unseen = |(space, of, file, ..): &(i64, i64, i64, String, String)| {
        unseen.contains(&((number(*space), number(*of)), number(*file)))
    };
    let missing = found.into_iter().filter(is_unseen).map(|(.., name, path)| MissingRelation {
        database: database.to_owned(),
        name,
        path,
    });
    Ok(missing.collect())
}

/// Returns whether PostgreSQL's error code is among the causes.
fn has_code(error: &(dyn std::error::Error + 'static), code: &str) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let databases =
        causes.filter_map(|cause| cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.code());
    databases.into_iter().any(|found| found == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_is_known_by_its_place_and_number() {
        let mut relations = Relations::default();
        let in_default = (1663, 5);
        let mut found: Vec<_> = (1000..1200).rev().map(|number| (in_default, number)).collect();
        let shared = [((SHARED, 0), 1260), ((SHARED, 0), 1262)];
        found.extend([((16400, 5), 1000)].into_iter().chain(shared));
        relations.expect("a", found);
        relations.expect("b", [((1663, 6), 1000)].into_iter().chain(shared).collect());
        for number in 1000..1200 {
            relations.saw(1663, 5, &number.to_string());
        }
        // Other forks, other segments, and what nobody expects.
        for file in ["1000_fsm", "1000_vm", "1000.1", "1000_init", "PG_VERSION", "7"] {
            relations.saw(1663, 6, file);
        }
        relations.saw(SHARED, 0, "1260");
        relations.saw(SHARED, 0, "1262");
        let unseen = relations.unseen();
        assert_eq!(unseen["a"], [((16400, 5), 1000)]);
        assert_eq!(unseen["b"], [((1663, 6), 1000)]);
        relations.saw(1663, 6, "1000");
        relations.saw(16400, 5, "1000");
        assert_eq!(relations.unseen(), BTreeMap::new());
    }
}
