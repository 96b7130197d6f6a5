//! Compares the versions of the libraries that sort text with those that the restored indexes were built with: an index
//! that is in another order does not find its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::PgConnection;

use crate::checks::CheckResult;
use crate::model::Cause;
use crate::postgres::{ConnectionParameters, close, identifier};
use crate::text::{error_chain, format_duration, quoted_list, visible};

/// The name of the check, and its code.
pub const COLLATION_VERSION: &str = "collation-version";
/// How long all databases may take.
const WITHIN: Duration = Duration::from_secs(120);
/// The first major version that records the version of a database's own collation, and has a statement to refresh it.
const OF_DATABASES: u32 = 15;

/// An invalid database cannot be connected to.
const DATABASES: &str = "
SELECT datname::text FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1";

const OF_DATABASE: &str = "
SELECT NULL::text, datcollversion, pg_database_collation_actual_version(oid)
  FROM pg_database
 WHERE datname = current_database() AND pg_database_collation_actual_version(oid) <> datcollversion";

// Only those that an index uses: every host has hundreds.
const OF_INDEXES: &str = "
SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.collname),
       c.collversion, pg_collation_actual_version(c.oid)
  FROM pg_index i CROSS JOIN LATERAL unnest(i.indcollation) u(oid)
  JOIN pg_collation c ON c.oid = u.oid JOIN pg_namespace n ON n.oid = c.collnamespace
 WHERE pg_collation_actual_version(c.oid) <> c.collversion ORDER BY 1";

/// A collation of which this host has another version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Differing {
    database: String,
    /// As it is written in a statement; `None`: the database's own.
    collation: Option<String>,
    recorded: String,
    found: String,
}

/// What was compared.
#[derive(Debug, Default)]
pub(super) struct ComparedCollations {
    /// Undetermined; `None` where no version is known to differ.
    pub(super) check: Option<CheckResult>,
    /// What could not be compared, and why.
    pub(super) notes: Vec<String>,
}

/// Compares the collations of every database. `ways`: logins to try, the first that works counts.
pub(super) async fn compare(ways: &[ConnectionParameters], major: u32) -> ComparedCollations {
    let mut differing = Vec::new();
    let mut notes = Vec::new();
    let asked = in_every_database(ways, major, &mut differing, &mut notes);
    if tokio::time::timeout(WITHIN, asked).await.is_err() {
        notes.push(not_compared("what was restored", &format!("no answer in {}", format_duration(WITHIN))));
    }
    ComparedCollations { check: judge(&differing), notes }
}

fn not_compared(what: &str, why: &str) -> String {
    format!("the versions of the collations of {what} were not compared with those of this host: {why}")
}

async fn in_every_database(
    ways: &[ConnectionParameters],
    major: u32,
    differing: &mut Vec<Differing>,
    notes: &mut Vec<String>,
) {
    let mut why = "there is no login".to_owned();
    for way in ways {
        let mut connection = match way.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                why = error_chain(&error);
                continue;
            }
        };
        let databases: Result<Vec<String>, _> =
            sqlx::query_scalar(DATABASES).fetch_all(&mut connection).await;
        close(connection).await;
        match databases {
            Ok(databases) => {
                for database in databases {
                    match in_database(&way.with_database(&database), major).await {
                        Ok(found) => differing.extend(found),
                        Err(why) => {
                            notes.push(not_compared(&format!("database `{}`", visible(&database)), &why));
                        }
                    }
                }
            }
            Err(error) => notes.push(not_compared("what was restored", &error_chain(&error))),
        }
        return;
    }
    notes.push(not_compared("what was restored", &why));
}

async fn in_database(way: &ConnectionParameters, major: u32) -> Result<Vec<Differing>, String> {
    let mut connection = way.connect().await.map_err(|error| error_chain(&error))?;
    let rows = rows(&mut connection, major).await;
    close(connection).await;
    let differing = |(collation, recorded, found)| Differing {
        database: way.database.clone(),
        collation,
        recorded,
        found,
    };
    Ok(rows.map_err(|error| error_chain(&error))?.into_iter().map(differing).collect())
}

type Row = (Option<String>, String, String);

async fn rows(connection: &mut PgConnection, major: u32) -> Result<Vec<Row>, sqlx::Error> {
    let mut all = Vec::new();
    if major >= OF_DATABASES {
        all.extend(sqlx::query_as::<_, Row>(OF_DATABASE).fetch_all(&mut *connection).await?);
    }
    all.extend(sqlx::query_as::<_, Row>(OF_INDEXES).fetch_all(connection).await?);
    Ok(all)
}

fn judge(differing: &[Differing]) -> Option<CheckResult> {
    let Differing { recorded, found, .. } = differing.first()?;
    let mut refreshes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for Differing { database, collation, .. } in differing {
        let statement = match collation {
            Some(collation) => format!("ALTER COLLATION {collation} REFRESH VERSION;"),
            None => format!("ALTER DATABASE {} REFRESH COLLATION VERSION;", identifier(database)),
        };
        refreshes.entry(database).or_default().insert(statement);
    }
    let named: Vec<String> = refreshes.keys().map(|name| visible(name).into_owned()).collect();
    let statements = refreshes.iter().map(|(database, refreshes)| {
        let refreshes = refreshes.iter().cloned().collect::<Vec<_>>().join(" ");
        format!("REINDEX DATABASE {}; {refreshes}", identifier(database))
    });
    let reason = format!(
        "indexes on text may not find their rows in {}: they were sorted with version {recorded} of a collation, and this host has {found}; rebuild them, each in its database: {}",
        quoted_list(&named),
        statements.collect::<Vec<_>>().join(" ")
    );
    Some(CheckResult::undetermined(COLLATION_VERSION, Cause::Environment, COLLATION_VERSION, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Judgement;

    fn one(database: &str, collation: Option<&str>) -> Differing {
        Differing {
            database: database.to_owned(),
            collation: collation.map(str::to_owned),
            recorded: "2.31".to_owned(),
            found: "2.36".to_owned(),
        }
    }

    #[test]
    fn another_version_is_undetermined_and_says_what_to_do() {
        assert_eq!(judge(&[]), None);
        let of_a_column = one("shop", Some("public.\"German\""));
        let check = judge(&[one("shop", None), of_a_column.clone(), of_a_column, one("a b", None)]).unwrap();
        assert_eq!(check.verdict.outcome, Judgement::Undetermined);
        let message = &check.verdict.reasons[0].message;
        assert!(message.contains("version 2.31") && message.contains("this host has 2.36"), "{message}");
        assert_eq!(message.matches("REINDEX DATABASE").count(), 2);
        assert!(message.contains(r#"REINDEX DATABASE "a b"; ALTER DATABASE "a b" REFRESH"#), "{message}");
        assert_eq!(message.matches(r#"ALTER COLLATION public."German" REFRESH VERSION;"#).count(), 1);
    }

    #[test]
    fn the_statement_is_the_one_of_the_row() {
        let check = judge(&[one("shop", Some("public.de"))]).unwrap();
        let message = &check.verdict.reasons[0].message;
        assert!(!message.contains("ALTER DATABASE"), "{message}");
        assert!(message.ends_with("; ALTER COLLATION public.de REFRESH VERSION;"), "{message}");
    }

    #[tokio::test]
    async fn where_nobody_gets_in_it_says_that_nothing_was_compared() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = ConnectionParameters::by_socket(directory.path(), 1, "postgres", "postgres").unwrap();
        for ways in [vec![], vec![nowhere]] {
            let compared = compare(&ways, 15).await;
            assert!(compared.check.is_none());
            assert!(compared.notes[0].contains("were not compared"), "{:?}", compared.notes);
        }
    }
}
