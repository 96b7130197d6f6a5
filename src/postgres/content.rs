//! Sums over what is in the rows of tables, by which a restored table is compared with the dumped one.
//!
//! Only columns count whose text is the same on every server of one major version: those of PostgreSQL's own types, and
//! enums, arrays and domains of them. They count in the order of their names, since a reload puts the columns of a table
//! that inherits in another order; and without those that are generated, which a reload computes again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection};

use super::quote::qualified;
use crate::model::{ContentSum, SumScope, TableFacts, TableKind};

/// Tables up to this size, in bytes, are summed whole.
const WHOLE: u64 = 64 << 20;
/// How many bytes are read for sums at most.
const BUDGET: u64 = 1 << 30;
/// How many tables are summed at most.
const TABLES: usize = 5000;
/// How many rows are taken from each end of a large table.
const END: u32 = 1000;
/// How long all of it may take.
const WITHIN: Duration = Duration::from_secs(300);
/// One statement may take so long on the connection: more than `statement_timeout`, after which the server itself says so.
const ANSWER_WITHIN: Duration = Duration::from_secs(75);
/// More rows than these are a large table whose size the server does not know.
const MANY_ROWS: u64 = 200_000;

/// One statement of a sum may take so long. The settings are those that the text of a value depends on.
const SETTINGS: &str =
    "SAVEPOINT drctl_content; SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '2s';
    SET LOCAL row_security = off; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD';
    SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'";
/// Releases the locks, and resets the settings.
const UNDO: &str = "ROLLBACK TO SAVEPOINT drctl_content; RELEASE SAVEPOINT drctl_content";

/// Which sums are taken.
#[derive(Clone, Copy, Debug)]
pub enum SumRequest<'a> {
    /// As many as are cheap.
    Budget,
    /// The same as of these tables.
    Same(&'a [TableFacts]),
}

/// Sums the contents of tables whose rows were counted, within the connection's transaction, which must have begun, and
/// writes the sums into `tables`. A sum that cannot be taken is left out: no backup fails for it. Returns whether the
/// connection still answers; one that does not must not be used again.
pub async fn sum_contents(
    connection: &mut PgConnection,
    tables: &mut [TableFacts],
    request: SumRequest<'_>,
) -> bool {
    sum_within(connection, tables, request, ANSWER_WITHIN).await.is_ok()
}

/// A statement had no answer in time, or the connection is gone.
#[derive(Debug)]
struct Silent;

async fn sum_within(
    connection: &mut PgConnection,
    tables: &mut [TableFacts],
    request: SumRequest<'_>,
    within: Duration,
) -> Result<(), Silent> {
    let Some(candidates) = candidates(connection, within).await? else { return Ok(()) };
    let (mut left, begun) = (BUDGET, Instant::now());
    for (position, scope) in choose(tables, &candidates, request, &mut left) {
        let table = &mut tables[position];
        let key = (table.schema.clone(), table.name.clone());
        let Some(candidate) = candidates.get(&key).filter(|_| begun.elapsed() < WITHIN) else { continue };
        let query = query(&qualified(&key.0, &key.1), candidate, scope);
        if !run(connection, SETTINGS, within).await? {
            return Ok(());
        }
        let summed = sqlx::query_as::<_, (i64, String)>(AssertSqlSafe(query));
        let summed = answer(within, summed.persistent(false).fetch_one(&mut *connection)).await?;
        if let Some((rows, sum)) = summed {
            table.content = Some(ContentSum { scope, rows: u64::try_from(rows).unwrap_or_default(), sum });
        }
        if !run(connection, UNDO, within).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Runs several statements, and returns whether they succeeded.
async fn run(
    connection: &mut PgConnection,
    statements: &'static str,
    within: Duration,
) -> Result<bool, Silent> {
    Ok(answer(within, sqlx::raw_sql(statements).execute(connection)).await?.is_some())
}

/// Returns what the server answers; `None` where it refuses.
async fn answer<T>(
    within: Duration,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<Option<T>, Silent> {
    match tokio::time::timeout(within, asked).await {
        Ok(Ok(answered)) => Ok(Some(answered)),
        Ok(Err(sqlx::Error::Database(_))) => Ok(None),
        Ok(Err(_)) | Err(_) => Err(Silent),
    }
}

/// A table whose rows have the same text everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Candidate {
    /// As the server last knew it; 0: it never looked.
    bytes: u64,
    /// Its columns by name, quoted, without those that are generated.
    columns: Vec<String>,
    /// Its primary key, quoted, where its order does not depend on the server.
    key: Vec<String>,
    /// It has children, whose rows are not its own.
    has_children: bool,
}

type Candidates = BTreeMap<(String, String), Candidate>;

/// Returns the tables to sum, by their position, the smallest first.
fn choose(
    tables: &[TableFacts],
    candidates: &Candidates,
    request: SumRequest<'_>,
    left: &mut u64,
) -> Vec<(usize, SumScope)> {
    let key = |table: &TableFacts| (table.schema.clone(), table.name.clone());
    let scopes: BTreeMap<(String, String), SumScope> = match request {
        SumRequest::Budget => BTreeMap::new(),
        SumRequest::Same(recorded) => {
            recorded.iter().filter_map(|table| Some((key(table), table.content.as_ref()?.scope))).collect()
        }
    };
    let mut wanted: Vec<(u64, usize, &Candidate)> = tables
        .iter()
        .enumerate()
        .filter(|(_, table)| table.kind == TableKind::Table && table.rows.is_some_and(|rows| rows > 0))
        .filter_map(|(position, table)| {
            let candidate = candidates.get(&key(table))?;
            let is_unknown = candidate.bytes == 0 && table.rows.is_some_and(|rows| rows > MANY_ROWS);
            Some((if is_unknown { u64::MAX } else { candidate.bytes }, position, candidate))
        })
        .collect();
    wanted.sort_by_key(|(bytes, position, _)| (*bytes, *position));
    let mut chosen = Vec::new();
    for (bytes, position, candidate) in wanted {
        let scope = match request {
            SumRequest::Same(_) => scopes.get(&key(&tables[position])).copied(),
            SumRequest::Budget if chosen.len() >= TABLES => None,
            SumRequest::Budget if bytes <= WHOLE && bytes <= *left => {
                *left -= bytes;
                Some(SumScope::All)
            }
            SumRequest::Budget => (!candidate.key.is_empty()).then_some(SumScope::Ends),
        };
        chosen.extend(scope.map(|scope| (position, scope)));
    }
    chosen
}

fn query(name: &str, candidate: &Candidate, scope: SumScope) -> String {
    let from = if candidate.has_children { format!("ONLY {name}") } else { name.to_owned() };
    let columns = candidate.columns.iter().map(|column| format!("drctl_row.{column}"));
    let line = format!("ROW({})::text AS line", columns.collect::<Vec<_>>().join(", "));
    let lines = match scope {
        SumScope::All => format!("SELECT {line} FROM {from} AS drctl_row"),
        SumScope::Ends => {
            let end = |direction: &str| {
                let key = candidate.key.iter().map(|column| format!("drctl_row.{column}{direction}"));
                let order = key.collect::<Vec<_>>().join(", ");
                format!("(SELECT {line} FROM {from} AS drctl_row ORDER BY {order} LIMIT {END})")
            };
            format!("{} UNION ALL {}", end(""), end(" DESC"))
        }
    };
    format!(
        "SELECT pg_catalog.count(*),
                COALESCE(pg_catalog.sum(pg_catalog.hashtextextended(line COLLATE \"C\", 0)::numeric), 0)::text
           FROM ({lines}) AS drctl_lines"
    )
}

/// Returns the tables that can be summed; `None` where the server does not tell. The transaction goes on in any case.
async fn candidates(connection: &mut PgConnection, within: Duration) -> Result<Option<Candidates>, Silent> {
    type Row = (String, String, i64, Vec<String>, Vec<String>, bool);
    if !run(connection, SETTINGS, within).await? {
        return Ok(None);
    }
    let rows = answer(within, sqlx::query_as::<_, Row>(CANDIDATES).fetch_all(&mut *connection)).await?;
    if !run(connection, UNDO, within).await? {
        return Ok(None);
    }
    let candidate = |(schema, name, bytes, columns, key, has_children): Row| {
        let bytes = u64::try_from(bytes).unwrap_or_default();
        ((schema, name), Candidate { bytes, columns, key, has_children })
    };
    Ok(rows.map(|rows| rows.into_iter().map(candidate).collect()))
}

/// Sizes are those of the statistics: to measure them would wait for locks. Strings in a `jsonb` sort by the database's
/// collation, though its type has none.
const CANDIDATES: &str = r#"
    WITH plain AS (
      SELECT t.oid FROM pg_type t
       WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
         AND t.typname NOT IN ('money', '_money', 'aclitem', '_aclitem')
         AND t.typname !~ '^_?reg'
      UNION
      SELECT t.oid FROM pg_type t WHERE t.typtype = 'e'
    ), alike AS (
      SELECT oid FROM plain
      UNION
      SELECT t.oid FROM pg_type t WHERE t.typcategory = 'A' AND t.typelem IN (SELECT oid FROM plain)
      UNION
      SELECT t.oid FROM pg_type t WHERE t.typtype = 'd' AND t.typbasetype IN (SELECT oid FROM plain)
    ), ordered AS (
      SELECT t.oid FROM pg_type t
       WHERE t.oid IN (SELECT oid FROM plain) AND t.typtype IN ('b', 'e') AND t.typcollation = 0
         AND t.typcategory <> 'A' AND t.typname <> 'jsonb'
    )
    SELECT n.nspname::text, c.relname::text,
           (GREATEST(c.relpages, 0)::int8 + GREATEST(COALESCE(x.relpages, 0), 0)::int8)
             * current_setting('block_size')::int8,
           COALESCE((SELECT array_agg(quote_ident(a.attname) ORDER BY a.attname::text COLLATE "C")
                       FROM pg_attribute a
                      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                        AND a.attgenerated = ''), '{}'),
           COALESCE((SELECT array_agg(quote_ident(a.attname) ORDER BY k.position)
                       FROM pg_index i
                       CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(number, position)
                       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
                       JOIN pg_type t ON t.oid = a.atttypid
                      WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid
                        AND k.position <= i.indnkeyatts
                     HAVING bool_and(a.attgenerated = '' AND CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
                                     IN (SELECT oid FROM ordered))), '{}'),
           c.relhassubclass
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_class x ON x.oid = c.reltoastrelid
     WHERE c.relkind = 'r' AND c.relpersistence = 'p'
       AND NOT EXISTS (SELECT FROM pg_attribute a
                        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                          AND a.atttypid NOT IN (SELECT oid FROM alike))"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, rows: Option<u64>) -> TableFacts {
        TableFacts {
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind: TableKind::Table,
            rows,
            belongings: vec![],
            content: None,
        }
    }

    fn candidates(all: &[(&str, u64, &[&str])]) -> Candidates {
        let of = |bytes, key: &[&str]| Candidate {
            bytes,
            columns: vec!["id".to_owned()],
            key: key.iter().map(|column| (*column).to_owned()).collect(),
            has_children: false,
        };
        all.iter()
            .map(|(name, bytes, key)| (("public".to_owned(), (*name).to_owned()), of(*bytes, key)))
            .collect()
    }

    #[test]
    fn small_tables_are_summed_whole_and_large_ones_at_their_ends() {
        let tables = [
            table("small", Some(9)),
            table("large", Some(9)),
            table("keyless", Some(9)),
            table("empty", Some(0)),
            table("uncounted", None),
            table("unlike", Some(9)),
            table("never-analyzed", Some(MANY_ROWS + 1)),
        ];
        let found = candidates(&[
            ("small", 1, &[]),
            ("large", WHOLE + 1, &["id"]),
            ("keyless", WHOLE + 1, &[]),
            ("empty", 0, &[]),
            ("uncounted", 0, &[]),
            ("never-analyzed", 0, &["id"]),
        ]);
        let mut left = BUDGET;
        let chosen = choose(&tables, &found, SumRequest::Budget, &mut left);
        assert_eq!(chosen, [(0, SumScope::All), (1, SumScope::Ends), (6, SumScope::Ends)]);
        assert_eq!(left, BUDGET - 1);
        // What was recorded is summed in the same way, whatever it costs.
        let content = |scope| Some(ContentSum { scope, rows: 9, sum: "1".to_owned() });
        let recorded = [TableFacts { content: content(SumScope::All), ..table("large", Some(9)) }];
        assert_eq!(choose(&tables, &found, SumRequest::Same(&recorded), &mut left), [(1, SumScope::All)]);
    }

    #[test]
    fn the_budget_is_spent_on_the_smallest_tables() {
        let names: Vec<String> = (0..20).map(|n| format!("t{n:02}")).collect();
        let tables: Vec<TableFacts> = names.iter().map(|name| table(name, Some(1))).collect();
        let found: Vec<(&str, u64, &[&str])> =
            names.iter().map(|name| (name.as_str(), WHOLE, &[][..])).collect();
        let chosen = choose(&tables, &candidates(&found), SumRequest::Budget, &mut BUDGET.clone());
        assert_eq!(chosen.len() as u64, BUDGET / WHOLE);
    }

    #[test]
    fn the_ends_are_those_of_the_whole_key() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let candidate = Candidate {
            bytes: 0,
            columns: names(&["\"B\"", "a", "c"]),
            key: names(&["a", "\"B\""]),
            has_children: true,
        };
        let text = query("s.t", &candidate, SumScope::Ends);
        assert!(
            text.contains("FROM ONLY s.t AS drctl_row ORDER BY drctl_row.a, drctl_row.\"B\" LIMIT 1000"),
            "{text}"
        );
        assert!(text.contains("ORDER BY drctl_row.a DESC, drctl_row.\"B\" DESC LIMIT 1000"), "{text}");
        let line = "SELECT ROW(drctl_row.\"B\", drctl_row.a, drctl_row.c)::text AS line";
        assert_eq!(text.matches(line).count(), 2, "{text}");
        assert!(query("s.t", &candidate, SumScope::All).contains(line));
    }

    #[tokio::test]
    async fn what_does_not_answer_is_waited_for_no_longer() {
        let pending = std::future::pending::<Result<(), sqlx::Error>>();
        assert!(answer(Duration::from_millis(1), pending).await.is_err());
        let gone = async { Err::<(), _>(sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into())) };
        assert!(answer(ANSWER_WITHIN, gone).await.is_err());
        assert_eq!(answer(ANSWER_WITHIN, async { Ok(7) }).await.ok(), Some(Some(7)));
    }
}
