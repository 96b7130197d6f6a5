//! What a dump's table of contents implies for its restore: the roles it names, and the tables that the
//! restoring role could not read afterwards.
//!
//! The dump itself counts, not the facts of its database: the objects of an extension, and their owners, are
//! in no dump.

use std::collections::{BTreeMap, BTreeSet};

use super::archive_toc::TocEntry;
use super::globals_sql::{SqlStatement, split};
use super::selection::SelectedEntries;

/// Kinds whose owner is set by a statement.
const OWNED: [&str; 29] = [
    "AGGREGATE",
    "BLOB",
    "BLOB METADATA",
    "COLLATION",
    "CONVERSION",
    "DOMAIN",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "LANGUAGE",
    "MATERIALIZED VIEW",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PROCEDURE",
    "PUBLICATION",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "STATISTICS",
    "SUBSCRIPTION",
    "TABLE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TYPE",
    "SHELL TYPE",
    "VIEW",
];
/// Occurs in names that are not UTF-8, in the dump of a database of another encoding.
const NOT_READABLE: char = '\u{fffd}';

/// The table of contents of a dump.
#[derive(Clone, Debug, Default)]
pub struct ArchiveSummary {
    pub(super) entries: Vec<TocEntry>,
}

/// Roles that must exist for the dump to load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NamedRoles {
    /// They own something.
    pub(super) owners: BTreeSet<String>,
    /// They hold or granted a privilege, or had one revoked.
    pub(super) privileged: BTreeSet<String>,
    /// A policy or a user mapping is for them, and is created even where owners and privileges are left out.
    pub(super) meant: BTreeSet<String>,
}

impl NamedRoles {
    /// Returns the required roles, with owners and privileges or without.
    pub(super) fn needed(&self, owners: bool) -> BTreeSet<String> {
        let others = self.owners.union(&self.privileged).filter(|_| owners);
        others.chain(&self.meant).cloned().collect()
    }
}

/// The role that counts rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArchiveReader<'a> {
    pub(super) role: &'a str,
    pub(super) member_of: &'a BTreeSet<String>,
    /// Row-level security does not apply to it.
    pub(super) sees_all_rows: bool,
    /// Whether tables get their owners and privileges back; otherwise the reader owns them.
    pub(super) owners: bool,
}

impl ArchiveSummary {
    fn taken(&self, chosen: Option<&SelectedEntries>) -> impl Iterator<Item = &TocEntry> {
        let ids = chosen.map(SelectedEntries::all);
        self.entries.iter().filter(move |entry| ids.as_ref().is_none_or(|ids| ids.contains(&entry.id)))
    }

    /// Returns the roles named by the entries to restore.
    pub(super) fn roles(&self, chosen: Option<&SelectedEntries>) -> NamedRoles {
        let mut named = NamedRoles::default();
        for entry in self.taken(chosen) {
            if OWNED.contains(&entry.kind.as_str()) {
                named.owners.extend(is_users(&entry.owner).then(|| entry.owner.clone()));
            }
            let of_kind = match entry.kind.as_str() {
                "ACL" | "DEFAULT ACL" => &mut named.privileged,
                "POLICY" | "USER MAPPING" => &mut named.meant,
                _ => continue,
            };
            let statements = split(&entry.definition);
            let roles = statements.iter().flat_map(roles_in).filter(|role| is_users(role));
            of_kind.extend(roles.map(str::to_owned));
        }
        named
    }

    /// Returns the extensions that the selected entries are known to need.
    pub(super) fn needed_extensions(&self, chosen: &SelectedEntries) -> BTreeSet<String> {
        let needed = self.entries.iter().filter(|entry| chosen.needed_extensions.contains(&entry.id));
        needed.map(|entry| entry.name.clone()).collect()
    }

    /// Returns tables whose rows the reader may not count, and why.
    pub(super) fn uncountable(
        &self,
        chosen: Option<&SelectedEntries>,
        reader: ArchiveReader<'_>,
    ) -> BTreeMap<(String, String), &'static str> {
        let key = |entry: &TocEntry, name: &str| (entry.schema.clone().unwrap_or_default(), name.to_owned());
        let (mut tables, mut found) = (BTreeMap::new(), BTreeMap::new());
        for entry in self.taken(chosen) {
            match entry.kind.as_str() {
                "TABLE" => drop(tables.insert(key(entry, &entry.name), entry)),
                "ACL" if reader.owners => {
                    let Some(name) = entry.name.strip_prefix("TABLE ") else { continue };
                    if takes_from_owner(entry, reader) {
                        found.insert(key(entry, name), "SELECT was revoked from its owner");
                    }
                }
                "ROW SECURITY" if !reader.sees_all_rows => {
                    let table = key(entry, &entry.name);
                    let is_forced = |table: &&TocEntry| !table.definition.is_empty();
                    let owned = |table: &&TocEntry| !reader.owners || is_like(reader, &table.owner);
                    if tables.get(&table).is_none_or(|table| is_forced(table) || !owned(table)) {
                        found.insert(table, "row-level security hides rows");
                    }
                }
                _ => {}
            }
        }
        found
    }
}

fn is_like(reader: ArchiveReader<'_>, role: &str) -> bool {
    reader.role == role || reader.member_of.contains(role)
}

/// Returns whether an ACL revokes SELECT from its table's owner, and grants it to no role that the reader
/// has.
fn takes_from_owner(acl: &TocEntry, reader: ArchiveReader<'_>) -> bool {
    let statements = split(&acl.definition);
    let reads = |statement: &SqlStatement| {
        statement.is(1, "ALL")
            || statement.find(1, "SELECT").is_some_and(|at| statement.find(0, "ON") > Some(at))
    };
    let is_public = |statement: &SqlStatement, at: usize| statement.is(at + 1, "PUBLIC");
    let revoked = statements.iter().any(|statement| {
        let from = statement.find_last("FROM");
        statement.is(0, "REVOKE")
            && reads(statement)
            && from.is_some_and(|at| statement.roles(at + 1).contains(&acl.owner.as_str()))
    });
    let granted = statements.iter().any(|statement| {
        statement.is(0, "GRANT")
            && reads(statement)
            && statement.find_last("TO").is_some_and(|at| {
                is_public(statement, at) || statement.roles(at + 1).iter().any(|role| is_like(reader, role))
            })
    });
    revoked && !granted
}

/// Returns whether a role is not one of PostgreSQL's own, and its name is readable.
fn is_users(role: &str) -> bool {
    !role.is_empty() && !role.starts_with("pg_") && !role.contains(NOT_READABLE)
}

/// Returns the roles named in a statement of an ACL, a policy or a user mapping.
fn roles_in(statement: &SqlStatement) -> Vec<&str> {
    if statement.begins(&["SET", "SESSION", "AUTHORIZATION", "?"]) {
        return if statement.is(3, "DEFAULT") { vec![] } else { statement.roles(3) };
    }
    if statement.begins(&["CREATE", "POLICY"]) {
        return statement.find(3, "TO").map(|at| statement.roles(at + 1)).unwrap_or_default();
    }
    if statement.begins(&["CREATE", "USER", "MAPPING", "FOR", "?"]) {
        return statement.roles(4);
    }
    let mut roles = Vec::new();
    if statement.begins(&["ALTER", "DEFAULT", "PRIVILEGES", "FOR", "ROLE", "?"]) {
        roles.extend(statement.roles(5));
    }
    let is_grant = ["GRANT", "REVOKE"].iter().any(|verb| statement.find(0, verb).is_some());
    let of_list = |word: &str| statement.find_last(word).filter(|_| is_grant);
    // `TO` and `FROM` are reserved, so no unquoted name is spelled like them.
    roles.extend(["TO", "FROM"].into_iter().filter_map(of_list).flat_map(|at| statement.roles(at + 1)));
    roles
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns an entry of the schema `s` with an owner and a definition.
    pub(in crate::restore::logical) fn entry(
        id: u32,
        kind: &str,
        name: &str,
        owner: &str,
        definition: &str,
    ) -> TocEntry {
        let mut entry = TocEntry::for_test(id, kind, "s", name, &[]);
        (entry.owner, entry.definition) = (owner.to_owned(), definition.to_owned());
        entry
    }

    fn contents() -> ArchiveSummary {
        let acl = "SET SESSION AUTHORIZATION \"azure pg\"\"admin\";\nGRANT SELECT ON TABLE s.t TO reader;\n\
                   RESET SESSION AUTHORIZATION;\nREVOKE ALL(\"to\") ON TABLE s.t FROM \"from\";\n\
                   GRANT ALL ON FUNCTION s.f(a text) TO PUBLIC;\nGRANT ALL ON TABLE s.t TO granted WITH GRANT OPTION;\n\
                   GRANT SELECT ON TABLE s.t TO last GRANTED BY \"who else\";";
        let policy = "CREATE POLICY p ON s.\"to\" AS RESTRICTIVE FOR SELECT TO tenant, \"Ten ant\" \
                      USING ((a = (SELECT b FROM s.u)));";
        let policy_of_all = "CREATE POLICY p ON s.t USING ((EXISTS ( SELECT 1 TO x)));";
        ArchiveSummary {
            entries: vec![
                entry(1, "EXTENSION", "hstore", "", ""),
                entry(2, "TABLE", "t", "app", ""),
                entry(3, "TABLE DATA", "config", "rdsadmin", ""),
                entry(4, "SCHEMA", "public", "pg_database_owner", ""),
                entry(5, "CONSTRAINT", "t t_pkey", "somebody", ""),
                entry(6, "ACL", "TABLE t", "app", acl),
                entry(
                    7,
                    "DEFAULT ACL",
                    "DEFAULT PRIVILEGES FOR TABLES",
                    "maker",
                    "ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA s GRANT SELECT ON TABLES  TO viewer;",
                ),
                entry(8, "POLICY", "to p", "app", policy),
                entry(9, "POLICY", "t p", "app", policy_of_all),
                entry(
                    10,
                    "USER MAPPING",
                    "USER MAPPING mapped SERVER x",
                    "app",
                    "CREATE USER MAPPING FOR mapped SERVER x OPTIONS (\n    password 'TO nobody'\n);",
                ),
                entry(11, "TYPE", "t", "gr\u{fffd}n", ""),
                entry(12, "SERVER", "x", "Ser\"ver", ""),
            ],
        }
    }

    fn sorted(names: &BTreeSet<String>) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn only_roles_that_the_dump_itself_names_are_needed() {
        let roles = contents().roles(None);
        assert_eq!(sorted(&roles.owners), ["Ser\"ver", "app"]);
        assert_eq!(
            sorted(&roles.privileged),
            ["azure pg\"admin", "from", "granted", "last", "maker", "reader", "viewer"]
        );
        assert_eq!(sorted(&roles.meant), ["Ten ant", "mapped", "tenant"]);
        assert_eq!(sorted(&roles.needed(false)), ["Ten ant", "mapped", "tenant"]);
        let chosen = SelectedEntries { ids: vec![2], ..SelectedEntries::default() };
        assert_eq!(sorted(&contents().roles(Some(&chosen)).needed(true)), ["app"]);
    }

    #[test]
    fn tables_that_their_owners_cannot_read_are_known_before() {
        let table =
            |id, name: &str, owner: &str, definition: &str| entry(id, "TABLE", name, owner, definition);
        let secure = |id, name: &str| entry(id, "ROW SECURITY", name, "", "");
        let acl = |id, name: &str, text: &str| entry(id, "ACL", &format!("TABLE {name}"), "app", text);
        let contents = ArchiveSummary {
            entries: vec![
                table(1, "forced", "app", "ALTER TABLE ONLY s.forced FORCE ROW LEVEL SECURITY;"),
                table(2, "own", "app", ""),
                table(3, "foreign", "other", ""),
                table(
                    4,
                    "forced only",
                    "app",
                    "ALTER TABLE ONLY s.\"forced only\" FORCE ROW LEVEL SECURITY;",
                ),
                secure(5, "forced"),
                secure(6, "own"),
                secure(7, "foreign"),
                acl(
                    8,
                    "revoked",
                    "REVOKE ALL ON TABLE s.revoked FROM app;\nGRANT INSERT ON TABLE s.revoked TO app;",
                ),
                acl(
                    9,
                    "kept",
                    "REVOKE ALL ON TABLE s.kept FROM app;\nGRANT SELECT,INSERT ON TABLE s.kept TO app;",
                ),
                acl(
                    10,
                    "open",
                    "REVOKE ALL ON TABLE s.open FROM app;\nGRANT SELECT ON TABLE s.open TO PUBLIC;",
                ),
                acl(11, "granted", "GRANT SELECT ON TABLE s.granted TO reader;"),
                acl(12, "less", "REVOKE SELECT ON TABLE s.less FROM app;"),
            ],
        };
        let member_of = BTreeSet::from(["app".to_owned()]);
        let names = |sees_all_rows, owners| -> Vec<String> {
            let reader = ArchiveReader { role: "me", member_of: &member_of, sees_all_rows, owners };
            contents.uncountable(None, reader).into_keys().map(|(_, name)| name).collect()
        };
        assert_eq!(names(false, true), ["forced", "foreign", "less", "revoked"]);
        assert_eq!(names(true, true), ["less", "revoked"]);
        assert_eq!(names(false, false), ["forced"], "everything else is the reader's own");
    }
}
