use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::query::{FactsError, all, answer, execute, names, one};
use super::quote::qualified;
use super::sequences::{bound, sequences};
use crate::model::{DatabaseFacts, Extension, Grant, RoleSetting, SequenceState, TableFacts, TableKind};

/// The maximum time to count the rows of one table.
const COUNT_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// Tables to count before their locks are released. Counting one locks each of its indexes as well.
const COUNTED_AT_ONCE: usize = 16;
/// SQLSTATEs of a lock timeout, and of a server without memory for more locks.
const NO_LOCK: [&str; 2] = ["55P03", "53200"];

/// Returns the `server_version` and its major version.
pub async fn server_major(connection: &mut PgConnection) -> Result<(String, u32), FactsError> {
    let (version, number): (String, i32) = one(
        connection,
        "the version",
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int4",
    )
    .await?;
    Ok((version, u32::try_from(number / 10_000).unwrap_or_default()))
}

/// Reads everything but row counts ([`count_rows`]) of the database of `connection`, within its transaction,
/// which must have begun.
///
/// Sequences are not part of a snapshot: their current state is read. [`read_sequences_again`] reads the
/// other bound.
pub async fn read_facts(connection: &mut PgConnection) -> Result<DatabaseFacts, FactsError> {
    let (server_version, major) = server_major(connection).await?;
    let frame = frame(connection, major).await?;
    let is_standby: (bool,) =
        one(connection, "the recovery state", "SELECT pg_catalog.pg_is_in_recovery()").await?;
    let tables = tables(connection).await?;
    let not_included = not_included(connection, is_standby.0, &tables).await?;
    Ok(DatabaseFacts {
        name: frame.name,
        owner: frame.owner,
        comment: frame.comment,
        snapshot_time: DateTime::<Utc>::from_timestamp_micros(frame.now).unwrap_or_default(),
        server_version,
        major,
        encoding: frame.encoding,
        collate: frame.collate,
        ctype: frame.ctype,
        locale_provider: frame.locale_provider,
        icu_locale: frame.icu_locale,
        icu_rules: frame.icu_rules,
        tablespace: frame.tablespace,
        connection_limit: frame.connection_limit,
        is_template: frame.is_template,
        size: u64::try_from(frame.size).unwrap_or_default(),
        grants: grants(connection, frame.has_grants).await?,
        settings: settings(connection).await?,
        server_settings: all(connection, "the server's settings", SERVER_SETTINGS).await?,
        extensions: extensions(connection).await?,
        schemas: names(connection, "the schemas", SCHEMAS).await?,
        tables,
        sequences: sequences(connection, SEQUENCES).await?,
        large_objects: large_objects(connection).await?,
        roles: names(connection, "the roles", ROLES).await?,
        tablespaces: names(connection, "the tablespaces", TABLESPACES).await?,
        not_included,
    })
}

/// Reads the sequences again once the dump that contains them is complete. Any transaction of the connection
/// must have ended.
pub async fn read_sequences_again(
    connection: &mut PgConnection,
    before: &mut [SequenceState],
) -> Result<(), FactsError> {
    execute(connection, "the sequences", "BEGIN").await?;
    let after = sequences(connection, SEQUENCES).await;
    execute(connection, "the sequences", "ROLLBACK").await?;
    bound(before, after?);
    Ok(())
}

/// Counts the rows of every table whose rows are in a dump, within the connection's transaction, which must
/// have begun, and writes them into `tables`. Releases locks in between, but keeps the snapshot. Fails if
/// row-level security would hide rows. Returns the tables that could not be counted because of a lock.
pub async fn count_rows(
    connection: &mut PgConnection,
    tables: &mut [TableFacts],
) -> Result<Vec<String>, FactsError> {
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
    let mut uncounted = Vec::new();
    execute(connection, "row-level security", "SET LOCAL row_security = off").await?;
    for some in wanted.chunks(COUNTED_AT_ONCE) {
        execute(connection, "the tables to count", "SAVEPOINT drctl").await?;
        for (position, only) in some {
            let table = &mut tables[*position];
            let name = qualified(&table.schema, &table.name);
            match count(connection, &name, *only).await {
                Ok(rows) => table.rows = Some(rows),
                Err(FactsError::Count { source, .. }) if has_no_lock(&source) => {
                    uncounted.push(name);
                    execute(connection, "the tables to count", "ROLLBACK TO SAVEPOINT drctl").await?;
                }
                Err(error) => return Err(error),
            }
        }
        // Only a rollback releases the locks.
        execute(connection, "the tables to count", "ROLLBACK TO SAVEPOINT drctl").await?;
        execute(connection, "the tables to count", "RELEASE SAVEPOINT drctl").await?;
    }
    Ok(uncounted)
}

fn has_no_lock(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| NO_LOCK.contains(&&*code))
}

async fn count(connection: &mut PgConnection, name: &str, only: bool) -> Result<u64, FactsError> {
    // A table with children counts its own rows only; theirs are counted with the children.
    let from = if only { format!("ONLY {name}") } else { name.to_owned() };
    let count = sqlx::query_scalar::<_, i64>(AssertSqlSafe(format!("SELECT count(*) FROM {from}")))
        .persistent(false)
        .fetch_one(connection);
    let rows = match tokio::time::timeout(COUNT_WITHIN, count).await {
        Ok(counted) => counted.map_err(|source| FactsError::Count { table: name.to_owned(), source })?,
        Err(_) => {
            return Err(FactsError::Deadline { what: format!("the rows of `{name}`"), waited: COUNT_WITHIN });
        }
    };
    Ok(u64::try_from(rows).unwrap_or_default())
}

#[derive(FromRow)]
struct Frame {
    name: String,
    owner: String,
    comment: Option<String>,
    now: i64,
    encoding: String,
    collate: String,
    ctype: String,
    locale_provider: String,
    icu_locale: Option<String>,
    icu_rules: Option<String>,
    tablespace: String,
    connection_limit: i32,
    is_template: bool,
    size: i64,
    has_grants: bool,
}

/// Reads the row of the database in `pg_database`, whose columns differ between majors.
async fn frame(connection: &mut PgConnection, major: u32) -> Result<Frame, FactsError> {
    let provider = if major >= 15 { "d.datlocprovider" } else { "'c'" };
    let locale = match major {
        17.. => "d.datlocale",
        15 | 16 => "d.daticulocale",
        _ => "NULL",
    };
    let rules = if major >= 16 { "d.daticurules" } else { "NULL" };
    let query = format!(
        "SELECT d.datname::text AS name, pg_get_userbyid(d.datdba)::text AS owner,
                shobj_description(d.oid, 'pg_database') AS comment,
                (extract(epoch FROM transaction_timestamp()) * 1000000)::int8 AS now,
                pg_encoding_to_char(d.encoding)::text AS encoding,
                d.datcollate::text AS collate, d.datctype::text AS ctype,
                CASE {provider} WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END AS locale_provider,
                {locale}::text AS icu_locale, {rules}::text AS icu_rules,
                t.spcname::text AS tablespace, d.datconnlimit AS connection_limit,
                d.datistemplate AS is_template, pg_database_size(d.oid) AS size,
                d.datacl IS NOT NULL AS has_grants
           FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
          WHERE d.datname = current_database()"
    );
    let row = sqlx::query_as(AssertSqlSafe(query)).fetch_one(connection);
    answer("the properties", row).await
}

async fn grants(connection: &mut PgConnection, has: bool) -> Result<Option<Vec<Grant>>, FactsError> {
    if !has {
        return Ok(None);
    }
    let rows: Vec<(Option<String>, String, bool)> = all(
        connection,
        "the privileges",
        "SELECT r.rolname::text, a.privilege_type, a.is_grantable
           FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) a
           LEFT JOIN pg_roles r ON r.oid = a.grantee
          WHERE d.datname = current_database() AND (a.grantee = 0 OR r.oid IS NOT NULL)
          ORDER BY 1 NULLS FIRST, 2",
    )
    .await?;
    let grant = |(grantee, privilege, grantable)| Grant { grantee, privilege, grantable };
    Ok(Some(rows.into_iter().map(grant).collect()))
}

async fn settings(connection: &mut PgConnection) -> Result<Vec<RoleSetting>, FactsError> {
    let rows: Vec<(Option<String>, String)> = all(
        connection,
        "the settings",
        "SELECT r.rolname::text, c.setting
           FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
           LEFT JOIN pg_roles r ON r.oid = s.setrole
          CROSS JOIN LATERAL unnest(s.setconfig) WITH ORDINALITY c(setting, place)
          WHERE d.datname = current_database() AND (s.setrole = 0 OR r.oid IS NOT NULL)
          ORDER BY 1 NULLS FIRST, c.place",
    )
    .await?;
    let setting = |(role, text): (Option<String>, String)| {
        let (name, value) = text.split_once('=')?;
        Some(RoleSetting { role, name: name.to_owned(), value: value.to_owned() })
    };
    Ok(rows.into_iter().filter_map(setting).collect())
}

async fn extensions(connection: &mut PgConnection) -> Result<Vec<Extension>, FactsError> {
    let rows: Vec<(String, String, String)> = all(
        connection,
        "the extensions",
        "SELECT e.extname::text, e.extversion, n.nspname::text
           FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1",
    )
    .await?;
    let extension = |(name, version, schema)| Extension { name, version, schema };
    Ok(rows.into_iter().map(extension).collect())
}

async fn tables(connection: &mut PgConnection) -> Result<Vec<TableFacts>, FactsError> {
    let rows: Vec<(String, String, String, Vec<String>)> = all(connection, "the tables", TABLES).await?;
    let table = |(schema, name, kind, belongings): (String, String, String, Vec<String>)| TableFacts {
        schema,
        name,
        kind: match kind.as_str() {
            "p" => TableKind::Partitioned,
            "m" => TableKind::MaterializedView,
            "f" => TableKind::Foreign,
            _ => TableKind::Table,
        },
        rows: None,
        belongings,
        content: None,
    };
    Ok(rows.into_iter().map(table).collect())
}

async fn large_objects(connection: &mut PgConnection) -> Result<u64, FactsError> {
    let (count,): (i64,) =
        one(connection, "the large objects", "SELECT count(*) FROM pg_largeobject_metadata").await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

async fn not_included(
    connection: &mut PgConnection,
    is_standby: bool,
    tables: &[TableFacts],
) -> Result<Vec<String>, FactsError> {
    let mut lines: Vec<String> = tables
        .iter()
        .filter(|table| table.kind == TableKind::Foreign)
        .map(|table| {
            format!(
                "rows of the foreign table {}: they live in another server",
                qualified(&table.schema, &table.name)
            )
        })
        .collect();
    if is_standby {
        let unlogged: Vec<(String, String)> = all(connection, "the unlogged tables", UNLOGGED).await?;
        lines.extend(unlogged.iter().map(|(schema, name)| {
            format!("contents of the unlogged {}: a standby does not have them", qualified(schema, name))
        }));
    }
    let hidden: Vec<(String, String)> = all(connection, "the user mappings", HIDDEN_MAPPINGS).await?;
    lines.extend(hidden.iter().map(|(server, user)| {
        format!("options (password) of the user mapping of {user} to server {server}: only its user, the server's owner or a superuser can read them")
    }));
    let owned: Vec<(String, String)> = all(connection, "the extensions' tables", EXTENSION_TABLES).await?;
    lines.extend(owned.iter().map(|(extension, tables)| {
        format!("tables of the extension {extension} that it does not mark for dumping ({tables}): creating the extension recreates them")
    }));
    Ok(lines)
}

// Condition for user schemas, of a `pg_namespace n`.
macro_rules! users_schema {
    () => {
        "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    };
}

// Conditions for a `pg_class c` in an extension, and for one whose rows are dumped nevertheless.
macro_rules! extension_member {
    () => {
        "EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
                 AND e.objsubid = 0 AND e.deptype = 'e')"
    };
}
macro_rules! marked_for_dump {
    () => {
        "EXISTS (SELECT FROM pg_extension x WHERE c.oid = ANY (x.extconfig))"
    };
}

const SCHEMAS: &str =
    concat!("SELECT n.nspname::text FROM pg_namespace n WHERE ", users_schema!(), " ORDER BY 1");

const TABLES: &str = concat!(
    "WITH belonging(relation, name) AS (
              SELECT i.indrelid, c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
       UNION SELECT conrelid, conname::text FROM pg_constraint WHERE conrelid <> 0 AND contype <> 'n'
       UNION SELECT tgrelid, tgname::text FROM pg_trigger WHERE NOT tgisinternal
       UNION SELECT ev_class, rulename::text FROM pg_rewrite WHERE rulename <> '_RETURN'
       UNION SELECT polrelid, polname::text FROM pg_policy
       UNION SELECT stxrelid, stxname::text FROM pg_statistic_ext
       UNION SELECT d.refobjid, c.relname::text FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
              WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                AND d.deptype IN ('a', 'i') AND c.relkind = 'S'
       UNION SELECT f.adrelid, a.attname::text FROM pg_attrdef f
               JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum)
     SELECT n.nspname::text, c.relname::text, c.relkind::text,
            ARRAY(SELECT b.name FROM belonging b WHERE b.relation = c.oid ORDER BY 1)
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'm', 'f') AND c.relpersistence <> 't' AND ",
    users_schema!(),
    " AND (NOT ",
    extension_member!(),
    " OR ",
    marked_for_dump!(),
    ") ORDER BY 1, 2"
);

// Tables of an extension only if every row is dumped.
const COUNTABLE: &str = concat!(
    "SELECT n.nspname::text, c.relname::text, c.relkind = 'r'
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated)
        AND (c.relpersistence = 'p' OR c.relpersistence = 'u' AND NOT pg_is_in_recovery())
        AND ",
    users_schema!(),
    " AND (NOT ",
    extension_member!(),
    " OR EXISTS (SELECT FROM pg_extension x CROSS JOIN LATERAL unnest(x.extconfig, x.extcondition) u(relation, condition)
                  WHERE u.relation = c.oid AND u.condition = ''))
      ORDER BY 1, 2"
);

// A dump without the right to read one is rejected before; of a restored database the readable ones are read.
const SEQUENCES: &str = concat!(
    "SELECT n.nspname::text, c.relname::text, s.seqincrement, s.seqcycle, pg_relation_filenode(c.oid)::int8
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
      WHERE c.relkind = 'S' AND c.relpersistence <> 't'
        AND (c.relpersistence = 'p' OR NOT pg_is_in_recovery())
        AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND ",
    users_schema!(),
    " AND (NOT ",
    extension_member!(),
    " OR ",
    marked_for_dump!(),
    ") ORDER BY 1, 2"
);

const UNLOGGED: &str = concat!(
    "SELECT n.nspname::text, c.relname::text
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'S') AND c.relpersistence = 'u' AND ",
    users_schema!(),
    " ORDER BY 1, 2"
);

// The view hides options from other roles than those at the end, and pg_dump omits what it hides.
const HIDDEN_MAPPINGS: &str = "SELECT u.srvname::text, u.usename::text
   FROM pg_user_mappings u JOIN pg_foreign_server s ON s.oid = u.srvid
  WHERE u.umoptions IS NULL
    AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
    AND NOT CASE WHEN u.umuser <> 0 AND u.usename = current_user
                 THEN pg_has_role(s.srvowner, 'USAGE') OR has_server_privilege(s.oid, 'USAGE')
                 ELSE u.umuser = 0 AND pg_has_role(s.srvowner, 'USAGE') END
  ORDER BY 1, 2";

const EXTENSION_TABLES: &str = concat!(
    "SELECT x.extname::text, string_agg(c.relname::text, ', ' ORDER BY c.relname)
       FROM pg_extension x
       JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
            AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
       JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'm')
      WHERE NOT ",
    marked_for_dump!(),
    " GROUP BY 1 ORDER BY 1"
);

// The bootstrap superuser is pinned: its dependent objects are in no list, so owners are read as well. A
// restore recreates extensions and their members: these need no owner, and neither do their dependents, such
// as row and array types.
const ROLES: &str = "WITH of_extensions AS (
              SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
        UNION SELECT 'pg_extension'::regclass, oid FROM pg_extension)
  SELECT r.rolname::text FROM pg_roles r
  WHERE r.rolname !~ '^pg_' AND r.oid IN (
          SELECT refobjid FROM pg_shdepend s JOIN pg_database d ON d.datname = current_database()
           WHERE s.refclassid = 'pg_authid'::regclass
             AND (s.dbid = d.oid AND NOT (s.deptype = 'o' AND (s.classid, s.objid) IN (SELECT * FROM of_extensions))
                  OR s.classid = 'pg_database'::regclass AND s.objid = d.oid)
    UNION SELECT datdba FROM pg_database WHERE datname = current_database()
    UNION SELECT setrole FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
           WHERE d.datname = current_database()
    UNION SELECT owner FROM (
              SELECT 'pg_class'::regclass, oid, relowner FROM pg_class WHERE relkind NOT IN ('i', 'I', 't')
        UNION SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc
        UNION SELECT 'pg_type'::regclass, oid, typowner FROM pg_type
        UNION SELECT 'pg_namespace'::regclass, oid, nspowner FROM pg_namespace
        UNION SELECT 'pg_foreign_server'::regclass, oid, srvowner FROM pg_foreign_server
        UNION SELECT 'pg_foreign_data_wrapper'::regclass, oid, fdwowner FROM pg_foreign_data_wrapper
        UNION SELECT 'pg_publication'::regclass, oid, pubowner FROM pg_publication
        UNION SELECT 'pg_event_trigger'::regclass, oid, evtowner FROM pg_event_trigger
        UNION SELECT 'pg_largeobject'::regclass, oid, lomowner FROM pg_largeobject_metadata
              ) AS object(class, id, owner)
           WHERE id >= 16384 AND NOT (class, id) IN (SELECT * FROM of_extensions)
             AND NOT EXISTS (SELECT FROM pg_depend d JOIN of_extensions e ON (e.classid, e.objid) = (d.refclassid, d.refobjid)
                              WHERE (d.classid, d.objid) = (class, id) AND d.deptype IN ('i', 'a')
                                AND class IN ('pg_class'::regclass, 'pg_type'::regclass)))
  ORDER BY 1";

const TABLESPACES: &str = "SELECT t.spcname::text FROM pg_tablespace t
  WHERE t.spcname NOT IN ('pg_default', 'pg_global') AND t.oid IN (
          SELECT reltablespace FROM pg_class
    UNION SELECT dattablespace FROM pg_database WHERE datname = current_database())
  ORDER BY 1";

// Settings that may contain a password, or a command line with one, are omitted.
const SERVER_SETTINGS: &str = "SELECT name, pg_catalog.current_setting(name) FROM pg_settings
  WHERE source IN ('configuration file', 'command line', 'environment variable', 'global')
    AND name NOT IN ('primary_conninfo', 'ssl_passphrase_command', 'archive_command', 'restore_command',
                     'archive_cleanup_command', 'recovery_end_command')
    AND setting IS DISTINCT FROM boot_val
  ORDER BY 1";
