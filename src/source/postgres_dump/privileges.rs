use std::fmt;

use sqlx::{AssertSqlSafe, PgConnection};

use crate::postgres::qualified;

/// Large objects that are named individually.
const OBJECTS_NAMED: usize = 10;

/// An object that a dump needs and that the role may not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// USAGE is missing.
    Schema(String),
    /// SELECT is missing.
    Table { schema: String, name: String },
    /// Row-level security would hide rows from the role.
    RowSecurity { schema: String, name: String },
    /// SELECT is missing.
    Sequence { schema: String, name: String },
    /// SELECT is missing; the first few OIDs, and the number.
    LargeObjects { first: Vec<i64>, count: u64 },
    /// pg_dump leaves subscriptions out for all but superusers.
    Subscription(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema(name) => write!(f, "schema {name} (no USAGE)"),
            Self::Table { schema, name } => write!(f, "table {} (no SELECT)", qualified(schema, name)),
            Self::RowSecurity { schema, name } => {
                write!(f, "table {} (row-level security hides rows)", qualified(schema, name))
            }
            Self::Sequence { schema, name } => write!(f, "sequence {} (no SELECT)", qualified(schema, name)),
            Self::LargeObjects { first, count } => {
                let named: Vec<String> = first.iter().map(ToString::to_string).collect();
                let rest = if *count > first.len() as u64 { ", …" } else { "" };
                write!(f, "{count} large objects: {}{rest} (no SELECT)", named.join(", "))
            }
            Self::Subscription(name) => write!(f, "subscription {name} (only a superuser can dump it)"),
        }
    }
}

/// Returns everything in the current database of `connection` that its role cannot read and `pg_dump` would
/// need, or would leave out. `major` is the server's.
pub async fn unreadable(connection: &mut PgConnection, major: u32) -> Result<Vec<Unreadable>, sqlx::Error> {
    let mut list: Vec<Unreadable> = sqlx::query_scalar(SCHEMAS)
        .fetch_all(&mut *connection)
        .await?
        .into_iter()
        .map(Unreadable::Schema)
        .collect();
    let relations: Vec<(String, String, String)> =
        sqlx::query_as(RELATIONS).fetch_all(&mut *connection).await?;
    list.extend(relations.into_iter().map(|(schema, name, fault)| match fault.as_str() {
        "sequence" => Unreadable::Sequence { schema, name },
        "rows" => Unreadable::RowSecurity { schema, name },
        _ => Unreadable::Table { schema, name },
    }));
    list.extend(large_objects(connection, major).await?);
    let subscriptions: Vec<String> = sqlx::query_scalar(SUBSCRIPTIONS).fetch_all(&mut *connection).await?;
    list.extend(subscriptions.into_iter().map(Unreadable::Subscription));
    Ok(list)
}

async fn large_objects(connection: &mut PgConnection, major: u32) -> Result<Option<Unreadable>, sqlx::Error> {
    // Older servers have no function for it; what counts is the owner, the ACL, and the setting that ignores
    // both.
    let may_read = if major >= 18 {
        "has_largeobject_privilege(m.oid, 'SELECT')"
    } else {
        "current_setting('lo_compat_privileges')::bool OR pg_has_role(m.lomowner, 'USAGE')
         OR EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
                    AND CASE a.grantee WHEN 0 THEN true ELSE pg_has_role(a.grantee, 'USAGE') END)"
    };
    let query = format!(
        "SELECT count(*) OVER (), m.oid::int8 FROM pg_largeobject_metadata m
          WHERE NOT ({may_read}) ORDER BY m.oid LIMIT {OBJECTS_NAMED}"
    );
    let rows: Vec<(i64, i64)> = sqlx::query_as(AssertSqlSafe(query)).fetch_all(connection).await?;
    Ok(rows.first().map(|(count, _)| Unreadable::LargeObjects {
        first: rows.iter().map(|(_, oid)| *oid).collect(),
        count: u64::try_from(*count).unwrap_or_default(),
    }))
}

const SCHEMAS: &str = "SELECT n.nspname::text FROM pg_namespace n
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT has_schema_privilege(n.oid, 'USAGE')
    AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'm', 'S'))
  ORDER BY 1";

// pg_dump locks the tables of extensions, too. Row-level security matters where rows are read: a partitioned
// table has none of its own.
const RELATIONS: &str = "SELECT schema, name, fault FROM (
    SELECT n.nspname::text AS schema, c.relname::text AS name,
           CASE WHEN c.relkind = 'S' THEN
                     CASE WHEN NOT has_sequence_privilege(c.oid, 'SELECT') THEN 'sequence' END
                WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'table'
                WHEN c.relkind = 'r' AND row_security_active(c.oid) THEN 'rows'
           END AS fault
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'm', 'S') AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AS relation
  WHERE fault IS NOT NULL
  ORDER BY 1, 2";

const SUBSCRIPTIONS: &str = "SELECT s.subname::text
   FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
  WHERE d.datname = current_database()
    AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
  ORDER BY 1";
