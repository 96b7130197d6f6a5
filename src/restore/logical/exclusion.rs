//! What a restore leaves out of a dump, with the semantics of `pg_dump`'s exclusions.

use std::collections::BTreeSet;
use std::fmt;

use super::archive_toc::TocEntry;
use super::names;
use super::selection::SelectedEntries;
use crate::model::DatabaseFacts;
use crate::restore::Refusal;

/// What is not restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusion {
    /// Schema and name of tables that are restored empty.
    pub table_data: Vec<(String, String)>,
    /// Schemas that are not restored, nor anything that depends on them.
    pub schemas: Vec<String>,
}

impl Exclusion {
    pub fn is_nothing(&self) -> bool {
        self.table_data.is_empty() && self.schemas.is_empty()
    }

    /// Returns whether the rows of a table are left out.
    pub fn leaves_out(&self, schema: &str, table: &str) -> bool {
        self.schemas.iter().any(|named| named == schema)
            || self.table_data.iter().any(|(of, named)| of == schema && named == table)
    }

    /// Returns a refusal for each name that the backup does not have: a misspelled one would restore what was
    /// to be left out.
    pub(super) fn unknown(&self, recorded: &DatabaseFacts) -> Vec<Refusal> {
        let unknown = |what: &'static str, name: String| names::unknown(what, &name, &[]);
        let has_table = |(schema, name): &&(String, String)| {
            recorded.tables.iter().any(|table| table.schema == *schema && table.name == *name)
        };
        let tables = self.table_data.iter().filter(|table| !has_table(table));
        let schemas = self.schemas.iter().filter(|schema| !recorded.schemas.contains(schema));
        tables
            .map(|(schema, name)| unknown("table", format!("{schema}.{name}")))
            .chain(schemas.map(|schema| unknown("schema", schema.clone())))
            .collect()
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.table_data.iter().map(|(schema, name)| format!("the rows of {schema}.{name}"));
        let schemas = self.schemas.iter().map(|schema| format!("schema {schema}"));
        f.write_str(&tables.chain(schemas).collect::<Vec<_>>().join(", "))
    }
}

/// Selects everything in an archive.
pub(super) fn everything(entries: &[TocEntry]) -> SelectedEntries {
    let named = |kinds: &[&str]| {
        let of_kind = entries.iter().filter(|entry| kinds.contains(&entry.kind.as_str()));
        of_kind.map(name_of).collect::<BTreeSet<_>>()
    };
    SelectedEntries {
        ids: entries.iter().map(|entry| entry.id).collect(),
        loaded: named(&["TABLE DATA", "MATERIALIZED VIEW DATA"]),
        sequences: named(&["SEQUENCE SET"]),
        large_objects: true,
        ..SelectedEntries::default()
    }
}

fn name_of(entry: &TocEntry) -> (String, String) {
    (entry.schema.clone().unwrap_or_default(), entry.name.clone())
}

/// Removes from a selection what is excluded, and what cannot exist without it: everything that depends on an
/// excluded schema, and foreign keys to tables that are restored empty.
pub(super) fn exclude(
    entries: &[TocEntry],
    chosen: SelectedEntries,
    exclusion: &Exclusion,
) -> SelectedEntries {
    let mut out: BTreeSet<u32> =
        entries.iter().filter(|entry| is_excluded(entry, exclusion)).map(|entry| entry.id).collect();
    // A table without its rows exists, and what depends on it can be created.
    let is_definition = |entry: &&TocEntry| out.contains(&entry.id) && entry.kind != "TABLE DATA";
    let mut unmade: BTreeSet<u32> = entries.iter().filter(is_definition).map(|entry| entry.id).collect();
    let mut left_out = Vec::new();
    loop {
        let lacks = |entry: &&TocEntry| {
            !unmade.contains(&entry.id) && entry.needs.iter().any(|need| unmade.contains(need))
        };
        let next: Vec<&TocEntry> = entries.iter().filter(lacks).collect();
        if next.is_empty() {
            break;
        }
        for entry in next {
            unmade.insert(entry.id);
            if out.insert(entry.id) && chosen.ids.contains(&entry.id) {
                left_out.push(words(entry));
            }
        }
    }
    for entry in entries.iter().filter(|entry| entry.kind == "FK CONSTRAINT") {
        if refers_to_nothing(entry, entries, exclusion)
            && out.insert(entry.id)
            && chosen.ids.contains(&entry.id)
        {
            left_out.push(words(entry));
        }
    }
    let gone: BTreeSet<(String, String)> =
        entries.iter().filter(|entry| out.contains(&entry.id)).map(name_of).collect();
    let mut chosen = chosen;
    chosen.ids.retain(|id| !out.contains(id));
    chosen.loaded.retain(|name| !gone.contains(name));
    chosen.sequences.retain(|name| !gone.contains(name));
    chosen.left_out.extend(left_out);
    chosen
}

fn is_excluded(entry: &TocEntry, exclusion: &Exclusion) -> bool {
    match &entry.schema {
        Some(schema) => {
            exclusion.schemas.contains(schema)
                || entry.kind == "TABLE DATA" && exclusion.leaves_out(schema, &entry.name)
        }
        None => {
            let is_remark = ["COMMENT", "ACL", "SECURITY LABEL"].contains(&entry.kind.as_str());
            exclusion.schemas.iter().any(|schema| {
                entry.kind == "SCHEMA" && entry.name == *schema
                    || is_remark && entry.name == format!("SCHEMA {schema}")
            })
        }
    }
}

/// Returns whether a foreign key points from a table with rows to one restored empty.
fn refers_to_nothing(key: &TocEntry, entries: &[TocEntry], exclusion: &Exclusion) -> bool {
    let is_empty = |table: &TocEntry| {
        table.schema.as_ref().is_some_and(|schema| exclusion.leaves_out(schema, &table.name))
    };
    let tables = entries.iter().filter(|entry| entry.kind == "TABLE" && key.needs.contains(&entry.id));
    // The name of a key consists of its table's name and its own.
    let is_its_own = |table: &&TocEntry| {
        table.schema == key.schema
            && key.name.strip_prefix(table.name.as_str()).is_some_and(|rest| rest.starts_with(' '))
    };
    let (own, referred): (Vec<&TocEntry>, Vec<&TocEntry>) = tables.partition(is_its_own);
    referred.into_iter().any(is_empty) && !own.into_iter().any(is_empty)
}

fn words(entry: &TocEntry) -> String {
    let kind = entry.kind.to_lowercase().replace("fk constraint", "foreign key");
    format!("{kind} {}", entry.shown_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table, one that refers to it, and a view in another schema over it.
    fn entries() -> Vec<TocEntry> {
        let entry = |id, kind, schema, name, needs| TocEntry::for_test(id, kind, schema, name, needs);
        vec![
            entry(1, "SCHEMA", "", "s", &[]),
            entry(2, "ACL", "", "SCHEMA s", &[1]),
            entry(3, "SCHEMA", "", "other", &[]),
            entry(10, "TABLE", "s", "p", &[1]),
            entry(11, "TABLE", "other", "c", &[3]),
            entry(12, "VIEW", "other", "v", &[3, 10]),
            entry(20, "TABLE DATA", "s", "p", &[10]),
            entry(21, "TABLE DATA", "other", "c", &[11]),
            entry(22, "SEQUENCE SET", "s", "p_id_seq", &[]),
            entry(30, "CONSTRAINT", "s", "p p_pkey", &[10]),
            entry(31, "FK CONSTRAINT", "other", "c c_p_fkey", &[30, 11, 10]),
        ]
    }

    fn without(table_data: &[(&str, &str)], schemas: &[&str]) -> SelectedEntries {
        let exclusion = Exclusion {
            table_data: table_data.iter().map(|(s, t)| ((*s).to_owned(), (*t).to_owned())).collect(),
            schemas: schemas.iter().map(|schema| (*schema).to_owned()).collect(),
        };
        exclude(&entries(), everything(&entries()), &exclusion)
    }

    #[test]
    fn a_table_without_its_rows_loses_the_keys_that_point_at_them() {
        let chosen = without(&[("s", "p")], &[]);
        assert_eq!(chosen.ids, [1, 2, 3, 10, 11, 12, 21, 22, 30]);
        assert_eq!(chosen.left_out, ["foreign key other.c c_p_fkey"]);
        assert_eq!(chosen.loaded.len(), 1);
        // With no rows on either side it holds.
        assert!(without(&[("s", "p"), ("other", "c")], &[]).ids.contains(&31));
        assert!(without(&[("other", "c")], &[]).ids.contains(&31));
    }

    #[test]
    fn a_schema_goes_with_everything_that_needs_it() {
        let chosen = without(&[], &["s"]);
        assert_eq!(chosen.ids, [3, 11, 21]);
        assert_eq!(chosen.left_out, ["view other.v", "foreign key other.c c_p_fkey"]);
        assert!(chosen.sequences.is_empty());
    }

    #[test]
    fn nothing_excluded_is_everything() {
        assert_eq!(without(&[], &[]), everything(&entries()));
    }
}
