//! Selects the entries of an archive for a restore of some tables or schemas.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::archive_toc::{TocEntry, one_line};

/// What is to be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntrySelection {
    /// Schema and name.
    pub tables: Vec<(String, String)>,
    pub schemas: Vec<String>,
    /// Whether all large objects are included: no table owns one.
    pub large_objects: bool,
}

impl EntrySelection {
    /// Returns whether nothing was named: the whole database.
    pub fn is_everything(&self) -> bool {
        self.tables.is_empty() && self.schemas.is_empty()
    }

    pub fn names(&self, schema: &str, name: &str) -> bool {
        self.schemas.iter().any(|named| named == schema)
            || self.tables.iter().any(|(in_schema, named)| in_schema == schema && named == name)
    }
}

impl fmt::Display for EntrySelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.tables.iter().map(|(schema, name)| format!("{schema}.{name}"));
        let schemas = self.schemas.iter().map(|schema| format!("{schema}.*"));
        let large_objects = self.large_objects.then(|| "large objects".to_owned());
        f.write_str(&tables.chain(schemas).chain(large_objects).collect::<Vec<_>>().join(", "))
    }
}

/// Selected entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SelectedEntries {
    /// Ids, in the order of the archive, without those that go first.
    pub ids: Vec<u32>,
    /// Ids of every extension and of their schemas, in the order of the archive. A table's entry does not
    /// always record what it needs of them: an exclusion constraint does not name its operator classes.
    pub first: Vec<u32>,
    /// The extensions that something is known to need.
    pub needed_extensions: BTreeSet<u32>,
    /// Schema and name of the tables and materialised views whose rows are included.
    pub loaded: BTreeSet<(String, String)>,
    /// Schema and name of the included sequences.
    pub sequences: BTreeSet<(String, String)>,
    /// Whether the large objects are included, all of them.
    pub large_objects: bool,
    /// What is left out, as text, since what it needs is not included: foreign keys to other tables, contents
    /// of materialised views over them.
    pub left_out: Vec<String>,
}

impl SelectedEntries {
    /// Returns the ids of everything that is restored.
    pub(super) fn all(&self) -> BTreeSet<u32> {
        self.ids.iter().chain(&self.first).copied().collect()
    }
}

/// The kinds that a selection can name.
const RELATIONS: [&str; 6] =
    ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "TABLE DATA"];
/// The kinds that are included with a completely restored relation.
const BELONGINGS: [&str; 18] = [
    "TABLE DATA",
    "MATERIALIZED VIEW DATA",
    "INDEX",
    "INDEX ATTACH",
    "TABLE ATTACH",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "DEFAULT",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "STATISTICS",
    "STATISTICS DATA",
];
/// The kinds of large objects in an archive, and of their contents; from PostgreSQL 17 on, groups of them.
pub(super) const LARGE_OBJECTS: [&str; 3] = ["BLOB", "BLOB METADATA", "BLOBS"];
/// The kinds that are included with anything.
const REMARKS: [&str; 3] = ["COMMENT", "ACL", "SECURITY LABEL"];
/// The kinds that are included only if everything they need is included anyway.
const ONLY_IF_COMPLETE: [&str; 4] =
    ["FK CONSTRAINT", "TABLE ATTACH", "INDEX ATTACH", "MATERIALIZED VIEW DATA"];
/// Not included with a schema: it would publish tables that are only partly there.
const NEVER: [&str; 2] = ["PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"];

/// Selects what is named, what that needs to exist (as definitions only: types, functions, schemas, the
/// tables under a view), and what belongs to it.
pub(super) fn choose(entries: &[TocEntry], selection: &EntrySelection) -> SelectedEntries {
    let mut work = Traversal {
        by_id: entries.iter().map(|entry| (entry.id, entry)).collect(),
        dependents: BTreeMap::new(),
        taken: BTreeSet::new(),
        whole: BTreeSet::new(),
    };
    for entry in entries {
        for need in &entry.needs {
            work.dependents.entry(*need).or_default().push(entry);
        }
    }
    for entry in entries.iter().filter(|entry| is_named(entry, selection)) {
        work.take_whole(entry);
    }
    if selection.large_objects {
        let objects = entries.iter().filter(|entry| LARGE_OBJECTS.contains(&entry.kind.as_str()));
        objects.for_each(|entry| work.take_whole(entry));
    }
    let left_out = work.close();
    let extensions: Vec<&TocEntry> = entries.iter().filter(|entry| entry.kind == "EXTENSION").collect();
    let needed_extensions =
        extensions.iter().map(|entry| entry.id).filter(|id| work.taken.contains(id)).collect();
    let first = work.first(&extensions);
    let ids_of = |is_in: &dyn Fn(&u32) -> bool| entries.iter().map(|entry| entry.id).filter(is_in).collect();
    let named = |kind: &str| {
        let of_kind = entries.iter().filter(|entry| work.taken.contains(&entry.id) && entry.kind == kind);
        of_kind
            .map(|entry| (entry.schema.clone().unwrap_or_default(), entry.name.clone()))
            .collect::<Vec<_>>()
    };
    SelectedEntries {
        loaded: named("TABLE DATA").into_iter().chain(named("MATERIALIZED VIEW DATA")).collect(),
        sequences: named("SEQUENCE SET").into_iter().collect(),
        ids: ids_of(&|id| work.taken.contains(id) && !first.contains(id)),
        first: ids_of(&|id| first.contains(id)),
        needed_extensions,
        large_objects: selection.large_objects,
        left_out,
    }
}

fn is_named(entry: &TocEntry, selection: &EntrySelection) -> bool {
    let Some(schema) = &entry.schema else {
        return entry.kind == "SCHEMA" && selection.schemas.contains(&entry.name);
    };
    if selection.schemas.contains(schema) {
        // A part of a table is included with it, or left out where it cannot be.
        let kind = entry.kind.as_str();
        return !ONLY_IF_COMPLETE.contains(&kind) && !NEVER.contains(&kind);
    }
    let is_relation = RELATIONS.contains(&entry.kind.as_str());
    is_relation && selection.tables.iter().any(|(named, table)| named == schema && *table == entry.name)
}

struct Traversal<'a> {
    by_id: BTreeMap<u32, &'a TocEntry>,
    dependents: BTreeMap<u32, Vec<&'a TocEntry>>,
    taken: BTreeSet<u32>,
    /// Those of `taken` that are included with all of their parts.
    whole: BTreeSet<u32>,
}

impl<'a> Traversal<'a> {
    fn take_whole(&mut self, entry: &'a TocEntry) {
        self.take(entry);
        self.whole.insert(entry.id);
    }

    /// Adds an entry and, as definitions, everything it needs. A sequence always includes its value.
    fn take(&mut self, entry: &'a TocEntry) {
        let mut next = vec![entry];
        while let Some(entry) = next.pop() {
            if self.taken.insert(entry.id) {
                next.extend(entry.needs.iter().filter_map(|id| self.by_id.get(id)));
                if entry.kind == "SEQUENCE" {
                    self.whole.insert(entry.id);
                }
            }
        }
    }

    /// Returns extensions, what they need, and the comments on them.
    fn first(&self, extensions: &[&TocEntry]) -> BTreeSet<u32> {
        let mut first: BTreeSet<u32> = extensions.iter().map(|entry| entry.id).collect();
        let of = |entry: &&TocEntry| self.dependents.get(&entry.id).into_iter().flatten().copied();
        first.extend(
            extensions.iter().flat_map(of).filter(|entry| entry.kind == "COMMENT").map(|entry| entry.id),
        );
        let mut next: Vec<u32> = extensions.iter().flat_map(|entry| entry.needs.iter().copied()).collect();
        while let Some(needed) = next.pop().and_then(|id| self.by_id.get(&id)) {
            if first.insert(needed.id) {
                next.extend(&needed.needs);
            }
        }
        first
    }

    /// Adds what belongs to the selection until nothing more does. Returns what was left out.
    fn close(&mut self) -> Vec<String> {
        loop {
            let before = (self.taken.len(), self.whole.len());
            for id in self.taken.clone() {
                let is_whole = self.whole.contains(&id);
                for entry in self.dependents.get(&id).cloned().unwrap_or_default() {
                    self.follow(entry, is_whole);
                }
            }
            if (self.taken.len(), self.whole.len()) == before {
                break;
            }
        }
        let incomplete = self.by_id.values().filter(|entry| {
            matches!(entry.kind.as_str(), "FK CONSTRAINT" | "MATERIALIZED VIEW DATA")
                && !self.taken.contains(&entry.id)
                && entry.needs.iter().any(|need| self.whole.contains(need) && self.is_relation(*need))
                && self.owner_is_whole(entry)
        });
        let words = |entry: &&TocEntry| match entry.kind.as_str() {
            "FK CONSTRAINT" => format!("foreign key {}", one_line(&entry.name)),
            _ => format!("rows of the materialised view {}", one_line(&entry.name)),
        };
        incomplete.map(words).collect()
    }

    fn is_relation(&self, id: u32) -> bool {
        self.by_id.get(&id).is_some_and(|entry| RELATIONS.contains(&entry.kind.as_str()))
    }

    /// Returns whether the relation that an entry is part of (the first word of its name) is included
    /// completely.
    fn owner_is_whole(&self, entry: &TocEntry) -> bool {
        entry.needs.iter().filter(|need| self.whole.contains(need)).any(|need| {
            self.by_id.get(need).is_some_and(|owner| {
                owner.schema == entry.schema
                    && entry
                        .name
                        .strip_prefix(&owner.name)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            })
        })
    }

    fn follow(&mut self, entry: &'a TocEntry, of_whole: bool) {
        let kind = entry.kind.as_str();
        if kind == "TABLE ATTACH" {
            self.follow_partition(entry);
        }
        let belongs = of_whole && BELONGINGS.contains(&kind) || REMARKS.contains(&kind);
        if !belongs || ONLY_IF_COMPLETE.contains(&kind) && !self.is_complete(entry) {
            return;
        }
        if of_whole { self.take_whole(entry) } else { self.take(entry) }
    }

    /// Includes a partition completely with its parent table. (The parent of a named partition is included as
    /// a definition: the partition needs it.)
    fn follow_partition(&mut self, attach: &'a TocEntry) {
        let tables = attach.needs.iter().filter_map(|id| self.by_id.get(id).copied());
        let (partition, parent): (Vec<_>, Vec<_>) =
            tables.partition(|table| table.name == attach.name && table.schema == attach.schema);
        if parent.iter().any(|parent| self.whole.contains(&parent.id)) {
            partition.into_iter().for_each(|partition| self.take_whole(partition));
        }
    }

    /// Returns whether everything it needs is included; tables with their rows, where it is about rows.
    fn is_complete(&self, entry: &TocEntry) -> bool {
        let mut next = entry.needs.clone();
        let mut seen = BTreeSet::new();
        while let Some(need) = next.pop() {
            let Some(needed) = self.by_id.get(&need).filter(|_| seen.insert(need)) else { continue };
            let is_there = match (entry.kind.as_str(), needed.kind.as_str()) {
                ("FK CONSTRAINT" | "MATERIALIZED VIEW DATA", "TABLE" | "MATERIALIZED VIEW") => {
                    self.whole.contains(&need)
                }
                _ => self.taken.contains(&need),
            };
            if !is_there {
                return false;
            }
            if entry.kind == "MATERIALIZED VIEW DATA" {
                next.extend(&needed.needs);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contents as `pg_dump` writes them for two tables with a foreign key, a partitioned table, a view
    /// and a materialised view.
    fn entries() -> Vec<TocEntry> {
        let entry = |id, kind, schema, name, needs| TocEntry::for_test(id, kind, schema, name, needs);
        vec![
            entry(6, "SCHEMA", "", "s", &[]),
            entry(7, "SCHEMA", "", "other", &[]),
            entry(10, "TYPE", "s", "mood", &[6]),
            entry(11, "FUNCTION", "s", "f()", &[6]),
            entry(20, "TABLE", "s", "c", &[6]),
            entry(21, "SEQUENCE", "s", "c_id_seq", &[6, 20]),
            entry(30, "TABLE", "s", "p", &[10, 6]),
            entry(31, "COMMENT", "s", "COLUMN p.m", &[30]),
            entry(32, "ACL", "s", "TABLE p", &[30]),
            entry(33, "SEQUENCE", "s", "p_id_seq", &[30, 6]),
            entry(34, "SEQUENCE OWNED BY", "s", "p_id_seq", &[33]),
            entry(40, "TABLE", "s", "part", &[6]),
            entry(41, "TABLE", "s", "part1", &[6, 40]),
            entry(42, "VIEW", "s", "v", &[30, 10, 6]),
            entry(43, "MATERIALIZED VIEW", "s", "mv", &[42, 6]),
            entry(44, "TABLE ATTACH", "s", "part1", &[41, 40]),
            entry(45, "DEFAULT", "s", "p id", &[30, 33]),
            entry(46, "TABLE", "other", "p", &[7]),
            entry(50, "TABLE DATA", "s", "c", &[20]),
            entry(51, "TABLE DATA", "s", "p", &[30]),
            entry(52, "TABLE DATA", "s", "part1", &[41]),
            entry(53, "SEQUENCE SET", "s", "c_id_seq", &[21]),
            entry(54, "SEQUENCE SET", "s", "p_id_seq", &[33]),
            entry(55, "TABLE DATA", "other", "p", &[46]),
            entry(60, "CONSTRAINT", "s", "c c_pkey", &[20]),
            entry(61, "CONSTRAINT", "s", "p p_pkey", &[30]),
            entry(62, "INDEX", "s", "part_idx", &[40]),
            entry(63, "INDEX", "s", "part1_idx", &[62, 41]),
            entry(64, "INDEX ATTACH", "s", "part1_idx", &[63, 62, 41, 40]),
            entry(65, "TRIGGER", "s", "p tt", &[30, 11]),
            entry(66, "FK CONSTRAINT", "s", "c c_p_fkey", &[61, 20, 30]),
            entry(67, "MATERIALIZED VIEW DATA", "s", "mv", &[43, 9999]),
            entry(68, "PUBLICATION TABLE", "s", "pub p", &[30]),
        ]
    }

    fn chosen(tables: &[&str], schemas: &[&str]) -> SelectedEntries {
        let tables = tables.iter().map(|name| ("s".to_owned(), (*name).to_owned())).collect();
        let schemas = schemas.iter().map(|name| (*name).to_owned()).collect();
        choose(&entries(), &EntrySelection { tables, schemas, large_objects: false })
    }

    #[test]
    fn a_table_brings_its_type_sequence_indexes_trigger_and_remarks() {
        let chosen = chosen(&["p"], &[]);
        assert_eq!(chosen.ids, [6, 10, 11, 30, 31, 32, 33, 34, 45, 51, 54, 61, 65]);
        assert_eq!(chosen.loaded.into_iter().collect::<Vec<_>>(), [("s".to_owned(), "p".to_owned())]);
        assert_eq!(chosen.sequences.len(), 1);
        assert_eq!(chosen.left_out, Vec::<String>::new());
    }

    #[test]
    fn a_foreign_key_to_a_table_that_stays_behind_is_left_out_and_said() {
        let alone = chosen(&["c"], &[]);
        assert_eq!(alone.ids, [6, 20, 21, 50, 53, 60]);
        assert_eq!(alone.left_out, ["foreign key c c_p_fkey"]);
        let both = chosen(&["c", "p"], &[]);
        assert!(both.ids.contains(&66) && both.left_out.is_empty());
    }

    #[test]
    fn a_partitioned_table_brings_its_partitions_and_a_partition_its_parents_definition() {
        let parent = chosen(&["part"], &[]);
        assert_eq!(parent.ids, [6, 40, 41, 44, 52, 62, 63, 64]);
        assert_eq!(chosen(&["part1"], &[]).ids, parent.ids);
    }

    #[test]
    fn a_materialised_view_without_its_tables_stays_unpopulated() {
        let alone = chosen(&["mv"], &[]);
        assert_eq!(alone.ids, [6, 10, 30, 31, 32, 42, 43]);
        assert!(alone.loaded.is_empty());
        assert_eq!(alone.left_out, ["rows of the materialised view mv"]);
        assert!(chosen(&["mv", "p"], &[]).ids.contains(&67));
    }

    #[test]
    fn every_extension_goes_first_with_its_schema() {
        let entry = |id, kind, name, needs| TocEntry::for_test(id, kind, "", name, needs);
        let mut all = vec![
            entry(1, "SCHEMA", "ext", &[]),
            entry(2, "EXTENSION", "btree_gist", &[1]),
            entry(3, "COMMENT", "EXTENSION btree_gist", &[2]),
            entry(4, "EXTENSION", "hstore", &[]),
        ];
        all.extend(entries());
        all.push(TocEntry::for_test(80, "TABLE", "s", "with_hstore", &[4, 6]));
        let named = |table: &str| EntrySelection {
            tables: vec![("s".to_owned(), table.to_owned())],
            ..EntrySelection::default()
        };
        let chosen = choose(&all, &named("with_hstore"));
        assert_eq!((chosen.first, chosen.ids), (vec![1, 2, 3, 4], vec![6, 80]));
        assert_eq!(chosen.needed_extensions.into_iter().collect::<Vec<_>>(), [4]);
        let chosen = choose(&all, &named("c"));
        assert!(chosen.needed_extensions.is_empty() && chosen.first == [1, 2, 3, 4]);
    }

    #[test]
    fn large_objects_come_with_their_privileges_and_comments_on_request_only() {
        let entry = |id, kind, name, needs| TocEntry::for_test(id, kind, "", name, needs);
        let mut all = entries();
        // As up to PostgreSQL 16, and as from 17 on.
        all.extend([
            entry(90, "BLOB", "16400", &[]),
            entry(91, "ACL", "LARGE OBJECT 16400", &[90]),
            entry(92, "BLOB METADATA", "16401..16409", &[]),
            entry(93, "COMMENT", "LARGE OBJECT 16401", &[92]),
            entry(94, "BLOBS", "BLOBS", &[]),
            entry(95, "BLOBS", "16401..16409", &[92]),
        ]);
        let chosen = |large_objects| {
            let tables = vec![("s".to_owned(), "c".to_owned())];
            choose(&all, &EntrySelection { tables, large_objects, ..EntrySelection::default() })
        };
        let with = chosen(true);
        assert_eq!(with.ids, [6, 20, 21, 50, 53, 60, 90, 91, 92, 93, 94, 95]);
        assert!(with.large_objects && !chosen(false).large_objects);
        assert_eq!(chosen(false).ids, [6, 20, 21, 50, 53, 60]);
    }

    #[test]
    fn a_schema_is_everything_in_it_but_publications() {
        let all: Vec<u32> = entries().iter().map(|entry| entry.id).collect();
        let expected: Vec<u32> = all.into_iter().filter(|id| ![7, 46, 55, 68].contains(id)).collect();
        assert_eq!(chosen(&[], &["s"]).ids, expected);
    }
}
