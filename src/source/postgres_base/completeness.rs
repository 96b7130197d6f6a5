use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::error::BaseError;
use super::exclusions::RelationFile;
use super::missing_files::MissingFiles;
use super::query::ask;
use super::relations::{Relations, SHARED};

/// Required paths: without any of them a server does not work, or loses committed data.
const NEEDED: [&str; 13] = [
    "PG_VERSION",
    "base",
    "global",
    "global/pg_control",
    "global/pg_filenode.map",
    "pg_commit_ts",
    "pg_logical",
    "pg_multixact",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "pg_tblspc",
    "pg_twophase",
    "pg_xact",
];
/// The required directories that are never empty.
const FILLED: [&str; 3] = ["pg_multixact/members", "pg_multixact/offsets", "pg_xact"];
/// `pg_default`, whose databases are in `base`.
const DEFAULT_TABLESPACE: u32 = 1663;
/// A database has more files than that of the catalog alone.
const PLAUSIBLE: u32 = 50;
/// The prefix of a relation's file that has only its changes.
const INCREMENTAL: &str = "INCREMENTAL.";

/// What a copy has contained so far: enough to determine whether anything that PostgreSQL needs is missing.
/// It takes a few bytes of memory for each table, and none for their files.
#[derive(Debug, Default)]
pub(super) struct Completeness {
    needed: BTreeSet<&'static str>,
    filled: BTreeSet<&'static str>,
    /// By tablespace and database.
    databases: BTreeMap<(u32, u32), SeenFiles>,
    /// Requested files, by path, and whether they were seen.
    wanted: BTreeMap<String, bool>,
    relations: Relations,
}

#[derive(Clone, Copy, Debug, Default)]
struct SeenFiles {
    version: bool,
    map: bool,
    relations: u32,
}

/// A database, and the location of its files on the server.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct DatabaseFiles {
    oid: i64,
    name: String,
    tablespace: i64,
}

impl Completeness {
    /// Returns one that also tracks these files.
    pub(super) fn wanting(paths: impl IntoIterator<Item = String>) -> Self {
        Self { wanted: paths.into_iter().map(|path| (path, false)).collect(), ..Self::default() }
    }

    /// Returns one that also expects these files of tables.
    pub(super) fn expecting(self, relations: Relations) -> Self {
        Self { relations, ..self }
    }

    pub(super) fn relations(&self) -> &Relations {
        &self.relations
    }

    /// Records a member of the copy, by its path relative to the data directory.
    pub(super) fn saw(&mut self, path: &str) {
        let path = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
        if let Some(needed) = NEEDED.iter().find(|needed| **needed == path) {
            self.needed.insert(needed);
        }
        if let Some(has_come) = self.wanted.get_mut(path) {
            *has_come = true;
        }
        let Some((folder, file)) = path.rsplit_once('/') else { return };
        if let Some(filled) = FILLED.iter().find(|filled| **filled == folder) {
            self.filled.insert(filled);
        }
        let relation = file.strip_prefix(INCREMENTAL).unwrap_or(file);
        if folder == "global" {
            self.relations.saw(SHARED, 0, relation);
        }
        let mut parts = folder.split('/');
        let key = match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("base"), Some(database), None, ..) => Some((DEFAULT_TABLESPACE, database)),
            (Some("pg_tblspc"), Some(space), Some(_), Some(database), None) => {
                space.parse().ok().map(|space| (space, database))
            }
            _ => None,
        };
        let Some((space, database)) = key else { return };
        let Ok(database) = database.parse() else { return };
        self.relations.saw(space, database, relation);
        let files = self.databases.entry((space, database)).or_default();
        match file {
            "PG_VERSION" => files.version = true,
            "pg_filenode.map" => files.map = true,
            _ if RelationFile::parse(relation).is_some() => {
                files.relations = files.relations.saturating_add(1);
            }
            _ => {}
        }
    }

    /// Returns whether a requested file was seen.
    pub(super) fn has(&self, path: &str) -> bool {
        self.wanted.get(path).is_some_and(|has_come| *has_come)
    }

    /// Returns the missing paths that a server needs, and those of these databases.
    pub(super) fn lacking(&self, databases: &[DatabaseFiles]) -> Vec<MissingFiles> {
        let needed = NEEDED.iter().filter(|path| !self.needed.contains(*path));
        // The contents of a missing folder are reported with it.
        let needed = needed
            .filter(|path| path.rsplit_once('/').is_none_or(|(folder, _)| self.needed.contains(folder)));
        let lacks = |path: &&str, why| MissingFiles { path: (*path).to_owned(), database: None, why };
        let mut list: Vec<_> = needed.map(|path| lacks(path, "is not in it")).collect();
        let empty = FILLED.iter().filter(|path| self.needed.contains(*path) && !self.filled.contains(*path));
        list.extend(empty.map(|path| lacks(path, "has nothing in it")));
        list.extend(databases.iter().filter_map(|database| self.lacks(database)));
        list
    }

    fn lacks(&self, database: &DatabaseFiles) -> Option<MissingFiles> {
        let key = (u32::try_from(database.tablespace).ok()?, u32::try_from(database.oid).ok()?);
        let path = match key {
            (DEFAULT_TABLESPACE, oid) => format!("base/{oid}"),
            (space, oid) => format!("pg_tblspc/{space}/*/{oid}"),
        };
        let why = match self.databases.get(&key) {
            None => "is not in it",
            Some(SeenFiles { version: false, .. }) => "is in it without its `PG_VERSION`",
            Some(SeenFiles { map: false, .. }) => "is in it without its `pg_filenode.map`",
            Some(SeenFiles { relations, .. }) if *relations < PLAUSIBLE => {
                "is in it without most of its files"
            }
            Some(_) => return None,
        };
        Some(MissingFiles { path, database: Some(database.name.clone()), why })
    }
}

// A database with an interrupted removal (marked by its connection limit) may lack files.
const DATABASES: &str = "
SELECT oid::int8, datname::text AS name, dattablespace::int8 AS tablespace
  FROM pg_database WHERE datconnlimit <> -2 ORDER BY oid";

/// Queries the databases of a server.
pub(super) async fn databases(
    connection: &mut PgConnection,
    server: &str,
) -> Result<Vec<DatabaseFiles>, BaseError> {
    ask(server, sqlx::query_as(DATABASES).fetch_all(connection)).await
}

/// Returns those that existed, at the same location, before and after a copy: the changes of the others are
/// in the WAL.
pub(super) fn throughout(before: &[DatabaseFiles], after: &[DatabaseFiles]) -> Vec<DatabaseFiles> {
    let same = |of: &&DatabaseFiles| {
        after.iter().any(|other| (other.oid, other.tablespace) == (of.oid, of.tablespace))
    };
    before.iter().filter(same).cloned().collect()
}

/// Returns the tablespaces that a `tablespace_map` names.
pub(super) fn mapped(map: &str) -> Vec<u32> {
    // A location may contain line breaks, which are escaped with a backslash.
    let mut is_escaped = false;
    let lines = map.split(move |c: char| {
        let ends = c == '\n' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    lines.filter_map(|line| line.split_once(' ')?.0.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(oid: i64, name: &str, tablespace: i64) -> DatabaseFiles {
        DatabaseFiles { oid, name: name.to_owned(), tablespace }
    }

    /// Everything of a small cluster, but what `without` says.
    fn copy(without: &dyn Fn(&str) -> bool) -> Completeness {
        let mut presence = Completeness::wanting(["postgresql.conf".to_owned(), "conf.d/a.conf".to_owned()]);
        let needed = NEEDED.iter().map(|path| (*path).to_owned());
        let filled = FILLED.iter().map(|path| format!("{path}/0000"));
        let of = |folder: &'static str, prefix: &'static str| {
            let relations = (1000..1100).map(move |n| format!("{folder}/{prefix}{n}"));
            relations.chain(["PG_VERSION", "pg_filenode.map"].map(|file| format!("{folder}/{file}")))
        };
        let members = needed.chain(filled).chain(of("base/5", "")).chain(of("base/16384", INCREMENTAL));
        let members = members.chain(of("pg_tblspc/16400/PG_15_202209061/16500", ""));
        let members = members.chain(["postgresql.conf".to_owned()]);
        members.filter(|path| !without(path)).for_each(|path| presence.saw(&path));
        presence
    }

    #[test]
    fn a_copy_has_every_database_and_what_every_server_needs() {
        let all = [database(5, "postgres", 1663), database(16384, "a", 1663), database(16500, "b", 16400)];
        let lacking = |without: &dyn Fn(&str) -> bool| {
            let list = copy(without).lacking(&all);
            list.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(lacking(&|_| false), [""; 0]);
        let below = |folder: &'static str| move |path: &str| path.starts_with(folder);
        assert_eq!(lacking(&below("base/16384")), ["database `a`: `base/16384` is not in it"]);
        assert_eq!(
            lacking(&below("pg_tblspc/16400")),
            ["database `b`: `pg_tblspc/16400/*/16500` is not in it"]
        );
        assert_eq!(lacking(&below("pg_xact")), ["`pg_xact` is not in it"]);
        assert_eq!(lacking(&below("pg_xact/")), ["`pg_xact` has nothing in it"]);
        assert_eq!(lacking(&below("pg_multixact/offsets")), ["`pg_multixact/offsets` is not in it"]);
        // What a folder has is told of with it.
        assert_eq!(lacking(&below("pg_multixact")), ["`pg_multixact` is not in it"]);
        assert_eq!(lacking(&below("base/5/pg_filenode")).len(), 1);
        assert_eq!(
            lacking(&|path| path.starts_with("base/5/10") && path != "base/5/1000"),
            ["database `postgres`: `base/5` is in it without most of its files"]
        );
        let seen = copy(&|_| false);
        assert!(seen.has("postgresql.conf") && !seen.has("conf.d/a.conf") && !seen.has("PG_VERSION"));
    }

    #[test]
    fn what_came_or_went_meanwhile_is_not_missed() {
        let before =
            [database(5, "postgres", 1663), database(7, "dropped", 1663), database(8, "moved", 1663)];
        let after = [database(5, "postgres", 1663), database(8, "moved", 16400), database(9, "new", 1663)];
        assert_eq!(throughout(&before, &after), before[..1]);
    }

    #[test]
    fn a_tablespace_map_names_its_tablespaces() {
        assert_eq!(mapped("16400 /disk/a\n16401 /disk/b c\n"), [16400, 16401]);
        assert_eq!(mapped("16400 /disk/odd\\\n16999 \\\\\n16401 /disk/b\n"), [16400, 16401]);
        assert_eq!(mapped(""), [0; 0]);
    }
}
