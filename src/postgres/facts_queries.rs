//! What [`super::facts`] asks the catalogs, for every major from 13 on.

// Schemas that are not the server's own, of a `pg_namespace n`.
macro_rules! users_schema {
    () => {
        "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    };
}

// Whether a `pg_class c` is part of an extension, and whether its rows are dumped nevertheless.
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

pub(super) const SCHEMAS: &str =
    concat!("SELECT n.nspname::text FROM pg_namespace n WHERE ", users_schema!(), " ORDER BY 1");

pub(super) const TABLES: &str = concat!(
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

// Of an extension's tables only those whose every row is dumped.
pub(super) const COUNTABLE: &str = concat!(
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

pub(super) const SEQUENCES: &str = concat!(
    "SELECT n.nspname::text, c.relname::text
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'S' AND c.relpersistence <> 't'
        AND (c.relpersistence = 'p' OR NOT pg_is_in_recovery()) AND ",
    users_schema!(),
    " AND (NOT ",
    extension_member!(),
    " OR ",
    marked_for_dump!(),
    ") ORDER BY 1, 2"
);

pub(super) const UNLOGGED: &str = concat!(
    "SELECT n.nspname::text, c.relname::text
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'S') AND c.relpersistence = 'u' AND ",
    users_schema!(),
    " ORDER BY 1, 2"
);

// The view shows options to those named at the end only, and pg_dump leaves out what it does not show.
pub(super) const HIDDEN_MAPPINGS: &str = "SELECT u.srvname::text, u.usename::text
   FROM pg_user_mappings u JOIN pg_foreign_server s ON s.oid = u.srvid
  WHERE u.umoptions IS NULL
    AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
    AND NOT CASE WHEN u.umuser <> 0 AND u.usename = current_user
                 THEN pg_has_role(s.srvowner, 'USAGE') OR has_server_privilege(s.oid, 'USAGE')
                 ELSE u.umuser = 0 AND pg_has_role(s.srvowner, 'USAGE') END
  ORDER BY 1, 2";

pub(super) const EXTENSION_TABLES: &str = concat!(
    "SELECT x.extname::text, string_agg(c.relname::text, ', ' ORDER BY c.relname)
       FROM pg_extension x
       JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
            AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
       JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'm')
      WHERE NOT ",
    marked_for_dump!(),
    " GROUP BY 1 ORDER BY 1"
);

// The role that made the cluster is pinned: what depends on it is in no list, so owners are read as well.
pub(super) const ROLES: &str = "SELECT r.rolname::text FROM pg_roles r
  WHERE r.rolname !~ '^pg_' AND r.oid IN (
          SELECT refobjid FROM pg_shdepend s JOIN pg_database d ON d.datname = current_database()
           WHERE s.refclassid = 'pg_authid'::regclass
             AND (s.dbid = d.oid OR s.classid = 'pg_database'::regclass AND s.objid = d.oid)
    UNION SELECT datdba FROM pg_database WHERE datname = current_database()
    UNION SELECT setrole FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
           WHERE d.datname = current_database()
    UNION SELECT relowner FROM pg_class WHERE oid >= 16384
    UNION SELECT proowner FROM pg_proc WHERE oid >= 16384
    UNION SELECT typowner FROM pg_type WHERE oid >= 16384
    UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
    UNION SELECT lomowner FROM pg_largeobject_metadata
    UNION SELECT srvowner FROM pg_foreign_server
    UNION SELECT fdwowner FROM pg_foreign_data_wrapper
    UNION SELECT pubowner FROM pg_publication
    UNION SELECT evtowner FROM pg_event_trigger)
  ORDER BY 1";

pub(super) const TABLESPACES: &str = "SELECT t.spcname::text FROM pg_tablespace t
  WHERE t.spcname NOT IN ('pg_default', 'pg_global') AND t.oid IN (
          SELECT reltablespace FROM pg_class
    UNION SELECT dattablespace FROM pg_database WHERE datname = current_database())
  ORDER BY 1";

// Those that may hold a password or a command line with one are left out.
pub(super) const SERVER_SETTINGS: &str = "SELECT name, pg_catalog.current_setting(name) FROM pg_settings
  WHERE source IN ('configuration file', 'command line', 'environment variable', 'global')
    AND name NOT IN ('primary_conninfo', 'ssl_passphrase_command', 'archive_command', 'restore_command',
                     'archive_cleanup_command', 'recovery_end_command')
    AND setting IS DISTINCT FROM boot_val
  ORDER BY 1";
