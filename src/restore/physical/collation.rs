//! Compares the versions of the libraries that sort text with those that the restored indexes were built with: an index
//! that is in another order does not find its rows.

use sqlx::PgConnection;

use crate::checks::CheckResult;
use crate::model::Cause;
use crate::postgres::{ConnectionParameters, close, identifier};
use crate::text::{quoted_list, visible};

const CHECK: &str = "collation-version";
/// The first major version that records the version of a database's own collation.
const OF_DATABASES: u32 = 15;

const DATABASES: &str = "
SELECT datname::text, datcollversion, pg_database_collation_actual_version(oid)
  FROM pg_database
 WHERE datallowconn AND pg_database_collation_actual_version(oid) <> datcollversion ORDER BY 1";

// Only those that an index uses: every host has hundreds.
const COLLATIONS: &str = "
SELECT DISTINCT current_database()::text, c.collversion, pg_collation_actual_version(c.oid)
  FROM pg_index i CROSS JOIN LATERAL unnest(i.indcollation) u(oid) JOIN pg_collation c ON c.oid = u.oid
 WHERE pg_collation_actual_version(c.oid) <> c.collversion";

/// A database whose indexes another library sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Differing {
    database: String,
    recorded: String,
    found: String,
}

/// Returns a check that is undetermined where the versions differ; `None` where they do not, or nobody may log in.
/// `ways`: connections to try, the first that works counts.
pub(super) async fn check(ways: &[ConnectionParameters], major: u32) -> Option<CheckResult> {
    for way in ways {
        let Ok(mut connection) = way.connect().await else { continue };
        let found = differing(&mut connection, major).await;
        close(connection).await;
        return match found {
            Ok(found) => judge(&found),
            Err(error) => {
                let reason = format!("the versions of collations could not be compared: {error}");
                Some(CheckResult::undetermined(CHECK, Cause::Environment, CHECK, reason))
            }
        };
    }
    None
}

async fn differing(connection: &mut PgConnection, major: u32) -> Result<Vec<Differing>, sqlx::Error> {
    let of_rows = |rows: Vec<(String, String, String)>| {
        rows.into_iter().map(|(database, recorded, found)| Differing { database, recorded, found })
    };
    let mut all = Vec::new();
    if major >= OF_DATABASES {
        all.extend(of_rows(sqlx::query_as(DATABASES).fetch_all(&mut *connection).await?));
    }
    all.extend(of_rows(sqlx::query_as(COLLATIONS).fetch_all(connection).await?));
    Ok(all)
}

fn judge(differing: &[Differing]) -> Option<CheckResult> {
    let mut databases: Vec<&str> = differing.iter().map(|one| one.database.as_str()).collect();
    databases.sort_unstable();
    databases.dedup();
    let Differing { recorded, found, .. } = differing.first()?;
    let named: Vec<String> = databases.iter().map(|name| visible(name).into_owned()).collect();
    let statements: Vec<String> = databases
        .iter()
        .map(|name| identifier(name))
        .map(|name| format!("REINDEX DATABASE {name}; ALTER DATABASE {name} REFRESH COLLATION VERSION;"))
        .collect();
    let reason = format!(
        "indexes on text may not find their rows in {}: they were sorted with version {recorded} of a collation, and this host has {found}; rebuild them, each in its database: {}",
        quoted_list(&named),
        statements.join(" ")
    );
    Some(CheckResult::undetermined(CHECK, Cause::Environment, CHECK, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Judgement;

    #[test]
    fn another_version_is_undetermined_and_says_what_to_do() {
        assert_eq!(judge(&[]), None);
        let one = |database: &str| Differing {
            database: database.to_owned(),
            recorded: "2.31".to_owned(),
            found: "2.36".to_owned(),
        };
        let check = judge(&[one("shop"), one("shop"), one("a b")]).unwrap();
        assert_eq!(check.verdict.outcome, Judgement::Undetermined);
        let message = &check.verdict.reasons[0].message;
        assert!(message.contains("version 2.31") && message.contains("this host has 2.36"), "{message}");
        assert_eq!(message.matches("REINDEX DATABASE").count(), 2);
        assert!(message.contains(r#"REINDEX DATABASE "a b"; ALTER DATABASE "a b" REFRESH"#), "{message}");
    }
}
