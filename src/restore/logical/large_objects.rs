//! Large objects that a restore of some tables leaves out, and the values that point to them.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::DumpRestoreError;
use super::archive_toc::{TocEntry, one_line};
use super::globals_sql::split;
use super::query::ask;
use super::selection::SelectedEntries;
use crate::postgres::{identifier, qualified};
use crate::text::count;

/// The type created by the extension `lo`.
const LO: &str = "lo";
/// How many columns a note names.
const NAMED: usize = 10;
/// How long counting the values of one column may take.
const COUNT_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Returns columns of the selected tables that may point to large objects, as `schema.table.column`: of type
/// `oid` or `lo`, or of a domain over one.
pub(super) fn columns(entries: &[TocEntry], chosen: &SelectedEntries) -> Vec<String> {
    let domains = domains(entries);
    let is_pointer = |kind: &str| {
        kind == "oid" || domains.contains(kind) || kind.rsplit('.').next().is_some_and(|name| name == LO)
    };
    let tables = entries.iter().filter(|entry| {
        let name = (entry.schema.clone().unwrap_or_default(), entry.name.clone());
        entry.kind == "TABLE" && chosen.loaded.contains(&name)
    });
    let columns = tables.flat_map(|table| {
        let pointers = table.pointers.iter().filter(|(_, kind)| is_pointer(kind));
        pointers.map(|(column, _)| format!("{}.{}", table.shown_name(), one_line(column)))
    });
    columns.collect()
}

/// Returns domains over `oid` or `lo`, as `schema.name`. A dump has a domain after its base domain.
fn domains(entries: &[TocEntry]) -> BTreeSet<String> {
    let mut domains = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry.kind == "DOMAIN") {
        let statements = split(&entry.definition);
        let base = statements.first().and_then(|statement| {
            let at = statement.find_last("AS")?;
            Some((statement.name(at + 1).to_owned(), statement.name(at + 3).to_owned()))
        });
        let Some((first, second)) = base else { continue };
        if first == "oid" || second == LO || domains.contains(&format!("{first}.{second}")) {
            domains.insert(format!("{}.{}", entry.schema.as_deref().unwrap_or_default(), entry.name));
        }
    }
    domains
}

/// Describes what a partial restore leaves out. `columns` are those that may point to it; `None` where they
/// are unknown.
pub(super) fn note(large_objects: u64, columns: Option<&[String]>) -> String {
    let (are, them) = if large_objects == 1 { ("is", "it") } else { ("are", "them") };
    let pointers = match columns {
        None => format!("columns of type oid or lo may point to {them}"),
        Some([]) => "no column of the restored tables is of type oid or lo".to_owned(),
        Some(columns) => {
            let named = columns.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = columns.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{named}{more} of type oid or lo may point to {them}")
        }
    };
    format!(
        "{} {are} in the backup, and a partial restore leaves {them} out: {pointers}; `--with-large-objects` restores {them}",
        count(large_objects, "large object")
    )
}

/// Finds values in restored tables that point to no large object; one line per column.
pub(super) async fn dangling(
    connection: &mut PgConnection,
    chosen: &SelectedEntries,
) -> Result<Vec<String>, DumpRestoreError> {
    let columns: Vec<(String, String, String)> =
        ask(sqlx::query_as(POINTERS).fetch_all(&mut *connection)).await?;
    let mut found = Vec::new();
    let is_chosen = |(schema, table, _): &&(String, String, String)| {
        chosen.loaded.contains(&(schema.clone(), table.clone()))
    };
    for (schema, table, column) in columns.iter().filter(is_chosen) {
        let name = one_line(&format!("{schema}.{table}.{column}"));
        let (from, column) = (qualified(schema, table), identifier(column));
        let query = format!(
            "SELECT count(*) FROM ONLY {from} t WHERE t.{column} <> 0
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata l WHERE l.oid = t.{column})"
        );
        let query =
            sqlx::query_scalar::<_, i64>(AssertSqlSafe(query)).persistent(false).fetch_one(&mut *connection);
        match tokio::time::timeout(COUNT_WITHIN, query).await {
            Ok(Ok(0)) => {}
            Ok(Ok(1)) => found.push(format!(
                "1 value in {name} points to no large object: it may be one that was left out"
            )),
            Ok(Ok(values)) => found.push(format!(
                "{values} values in {name} point to no large object: they may be ones that were left out"
            )),
            // The failed statement aborts the transaction, and with it the search.
            Ok(Err(error)) => {
                found
                    .push(format!("values in {name} may point to large objects that were left out: {error}"));
                break;
            }
            Err(_) => {
                found.push(format!(
                    "values in {name} may point to large objects that were left out: not counted in time"
                ));
                break;
            }
        }
    }
    Ok(found)
}

/// Columns of ordinary tables of type `oid`, or of a domain over it, as `lo` is one.
const POINTERS: &str = "WITH RECURSIVE pointers(oid) AS (
          SELECT 'pg_catalog.oid'::regtype::oid
    UNION SELECT t.oid FROM pg_catalog.pg_type t JOIN pointers p ON t.typbasetype = p.oid WHERE t.typtype = 'd')
  SELECT n.nspname::text, c.relname::text, a.attname::text
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE a.atttypid IN (SELECT oid FROM pointers) AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   ORDER BY 1, 2, a.attnum";

#[cfg(test)]
mod tests {
    use super::*;

    fn table(id: u32, name: &str, pointers: &[(&str, &str)]) -> TocEntry {
        let mut entry = TocEntry::for_test(id, "TABLE", "s", name, &[]);
        entry.pointers =
            pointers.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
        entry
    }

    fn domain(name: &str, definition: &str) -> TocEntry {
        let mut entry = TocEntry::for_test(1, "DOMAIN", "s", name, &[]);
        definition.clone_into(&mut entry.definition);
        entry
    }

    #[test]
    fn columns_that_may_point_to_large_objects_are_found_by_their_types() {
        let entries = [
            domain("picture", "CREATE DOMAIN s.picture AS oid\n\tCONSTRAINT c CHECK ((VALUE > (0)::oid));"),
            domain("portrait", "CREATE DOMAIN s.portrait AS s.picture;"),
            domain("email", "CREATE DOMAIN s.email AS text;"),
            table(2, "t", &[("a", "oid"), ("b", "public.lo"), ("c", "s.portrait"), ("d", "s.email")]),
            table(3, "other", &[("a", "oid")]),
        ];
        let loaded = [("s".to_owned(), "t".to_owned())].into();
        let chosen = SelectedEntries { loaded, ..SelectedEntries::default() };
        assert_eq!(columns(&entries, &chosen), ["s.t.a", "s.t.b", "s.t.c"]);
    }

    #[test]
    fn what_is_left_out_is_never_left_unsaid() {
        let named = note(2, Some(&["s.t.a".to_owned()]));
        assert_eq!(
            named,
            "2 large objects are in the backup, and a partial restore leaves them out: s.t.a of type oid or lo may point to \
             them; `--with-large-objects` restores them"
        );
        assert!(
            note(1, Some(&[])).starts_with(
                "1 large object is in the backup, and a partial restore leaves it out: no column"
            )
        );
        assert!(note(1, None).contains("columns of type oid or lo may point to it"));
    }
}
