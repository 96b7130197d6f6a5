//! The database that has the final name already: the objects that a new one would not have, and its own
//! properties.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::DumpRestoreError;
use super::query::{all, ask, one};
use crate::model::RoleSetting;
use crate::postgres::{ConnectionParameters, close};

/// How many of the objects in a database are named.
const NAMED: usize = 4;
/// PostgreSQL's `FirstNormalObjectId`.
const FIRST_OF_USERS: u32 = 16384;
/// The catalog of large objects.
const LARGE_OBJECTS: &str = "pg_largeobject_metadata";

/// A database with the final name of the restored one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExistingDatabase {
    pub owner: String,
    pub takes_connections: bool,
    pub connections: u64,
    /// Some of its objects, as text; empty when the database is.
    pub holds: Vec<String>,
    /// Whether it has no schema `public`, which a new database has.
    pub lacks_public: bool,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    pub comment: Option<String>,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`.
    pub settings: Vec<RoleSetting>,
    /// Whether its privileges differ from PostgreSQL's defaults.
    pub has_grants: bool,
    /// Negative where there is none.
    pub connection_limit: i32,
}

impl ExistingDatabase {
    /// Returns its own properties apart from its contents, as text.
    pub(super) fn own_properties(&self) -> Vec<String> {
        let mut own = Vec::new();
        own.extend(self.comment.is_some().then(|| "a comment".to_owned()));
        own.extend(self.settings.iter().map(setting_words));
        own.extend(self.has_grants.then(|| "privileges".to_owned()));
        own.extend(
            (self.connection_limit >= 0).then(|| format!("the connection limit {}", self.connection_limit)),
        );
        own
    }
}

/// Describes a setting by its name; its value may be long, and secret.
pub(super) fn setting_words(setting: &RoleSetting) -> String {
    match &setting.role {
        Some(role) => format!("the setting {} of role {role}", setting.name),
        None => format!("the setting {}", setting.name),
    }
}

/// A row of `pg_database`.
#[derive(FromRow)]
struct Row {
    owner: String,
    takes_connections: bool,
    connections: i64,
    encoding: String,
    collate: String,
    ctype: String,
    comment: Option<String>,
    has_grants: bool,
    connection_limit: i32,
}

/// Reads the facts of the database of the requested name.
pub(super) async fn existing(
    connection: &mut PgConnection,
    target: &ConnectionParameters,
) -> Result<Option<ExistingDatabase>, DumpRestoreError> {
    let row: Option<Row> = ask(sqlx::query_as(
        "SELECT pg_get_userbyid(d.datdba)::text AS owner, d.datallowconn AS takes_connections,
                (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid) AS connections,
                pg_encoding_to_char(d.encoding)::text AS encoding, d.datcollate::text AS collate,
                d.datctype::text AS ctype, shobj_description(d.oid, 'pg_database') AS comment,
                d.datacl IS NOT NULL AS has_grants, d.datconnlimit AS connection_limit
           FROM pg_database d WHERE d.datname = $1",
    )
    .bind(&target.database)
    .fetch_optional(&mut *connection))
    .await?;
    let Some(row) = row else { return Ok(None) };
    let settings: Vec<(Option<String>, String)> = ask(sqlx::query_as(
        "SELECT r.rolname::text, c.setting
           FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
           LEFT JOIN pg_roles r ON r.oid = s.setrole
          CROSS JOIN LATERAL unnest(s.setconfig) WITH ORDINALITY c(setting, place)
          WHERE d.datname = $1 AND (s.setrole = 0 OR r.oid IS NOT NULL)
          ORDER BY 1 NULLS FIRST, c.place",
    )
    .bind(&target.database)
    .fetch_all(&mut *connection))
    .await?;
    let setting = |(role, text): (Option<String>, String)| {
        let (name, value) = text.split_once('=')?;
        Some(RoleSetting { role, name: name.to_owned(), value: value.to_owned() })
    };
    let (holds, lacks_public) =
        if row.takes_connections { look_inside(target).await? } else { (vec![], false) };
    Ok(Some(ExistingDatabase {
        owner: row.owner,
        takes_connections: row.takes_connections,
        connections: u64::try_from(row.connections).unwrap_or_default(),
        holds,
        lacks_public,
        encoding: row.encoding,
        collate: row.collate,
        ctype: row.ctype,
        comment: row.comment,
        settings: settings.into_iter().filter_map(setting).collect(),
        has_grants: row.has_grants,
        connection_limit: row.connection_limit,
    }))
}

/// Returns some of the objects that a new database would not have, as text. Empty: the database is empty.
pub(super) async fn contents(database: &ConnectionParameters) -> Result<Vec<String>, DumpRestoreError> {
    Ok(look_inside(database).await?.0)
}

async fn look_inside(database: &ConnectionParameters) -> Result<(Vec<String>, bool), DumpRestoreError> {
    let mut connection = database.connect().await.map_err(DumpRestoreError::Connect)?;
    let found = read(&mut connection).await;
    close(connection).await;
    found
}

async fn read(connection: &mut PgConnection) -> Result<(Vec<String>, bool), DumpRestoreError> {
    let catalogs: Vec<(String,)> = all(connection, CATALOGS).await?;
    let catalogs: Vec<String> = catalogs.into_iter().map(|(name,)| name).collect();
    let objects: Vec<(String, i64)> =
        ask(sqlx::query_as(AssertSqlSafe(objects_query(&catalogs))).fetch_all(&mut *connection)).await?;
    let mut holds = Vec::new();
    for (catalog, oid) in objects {
        holds.push(describe(connection, &catalog, oid).await);
    }
    let subscriptions: Vec<(String,)> = all(connection, SUBSCRIPTIONS).await?;
    holds.extend(subscriptions.into_iter().map(|(name,)| format!("subscription {name}")));
    let (lacks_public,): (bool,) =
        one(connection, "SELECT pg_catalog.to_regnamespace('public') IS NULL").await?;
    Ok((holds, lacks_public))
}

/// The catalogs of this database whose rows are objects, whatever the server's version. Labels of an enum
/// belong to its type. User mappings, which other roles may not read, need a foreign server.
const CATALOGS: &str = "SELECT c.relname::text
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
 WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
   AND a.attname = 'oid' AND a.atttypid = 'oid'::regtype AND c.relname <> 'pg_enum'
   AND has_column_privilege(c.oid, a.attnum, 'SELECT')
 ORDER BY array_position(ARRAY['pg_class', 'pg_namespace', 'pg_extension', 'pg_proc', 'pg_type'], c.relname::text),
          c.relname";

/// Subscriptions are shared objects of one database.
const SUBSCRIPTIONS: &str = "SELECT s.subname::text FROM pg_catalog.pg_subscription s
   JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
  WHERE d.datname = current_database() ORDER BY 1 LIMIT 4";

/// Returns the query. Objects not created by initdb have an OID from [`FIRST_OF_USERS`] on. Not counted is
/// what belongs to another object that counts (an index, the type of a row, the members of an extension),
/// what is temporary, and PL/pgSQL, which an upgraded cluster has recreated in every database.
fn objects_query(catalogs: &[String]) -> String {
    let of_catalog = |(rank, name): (usize, &String)| {
        // The creator of a large object may choose its OID, and initdb creates none.
        let first = if name == LARGE_OBJECTS { 0 } else { FIRST_OF_USERS };
        format!(
            "SELECT {rank}, '{name}'::text, 'pg_catalog.{name}'::regclass::oid, oid FROM pg_catalog.{name} WHERE oid >= {first}"
        )
    };
    let found: Vec<String> = catalogs.iter().enumerate().map(of_catalog).collect();
    format!(
        "WITH found(rank, catalog, classid, objid) AS ({}),
              temporary AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')
         SELECT catalog, objid::int8 FROM found
          WHERE NOT EXISTS (
                SELECT FROM pg_catalog.pg_depend d WHERE d.classid = found.classid AND d.objid = found.objid
                   AND (d.deptype IN ('i', 'a', 'e', 'P', 'S') AND d.refobjid >= {FIRST_OF_USERS}
                        AND (d.refclassid, d.refobjid) <> (d.classid, d.objid)
                     OR d.refclassid = 'pg_catalog.pg_namespace'::regclass
                        AND d.refobjid IN (SELECT oid FROM temporary)))
            AND NOT (catalog = 'pg_namespace' AND objid IN (SELECT oid FROM temporary))
            AND NOT (catalog = 'pg_extension'
                     AND objid IN (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'plpgsql'))
          ORDER BY rank, objid LIMIT {NAMED}",
        found.join(" UNION ALL ")
    )
}

/// Describes an object as the server does; by its catalog where the server has no description or the object
/// is gone.
async fn describe(connection: &mut PgConnection, catalog: &str, oid: i64) -> String {
    // Large objects are described through the catalog of their contents.
    let class = if catalog == LARGE_OBJECTS { "pg_largeobject" } else { catalog };
    let query =
        format!("SELECT pg_catalog.pg_describe_object('pg_catalog.{class}'::regclass, {oid}::oid, 0)");
    let said: Result<Option<String>, _> =
        ask(sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(connection)).await;
    said.ok().flatten().unwrap_or_else(|| format!("an entry {oid} in {catalog}"))
}
