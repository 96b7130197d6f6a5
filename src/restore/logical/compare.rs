//! Compares the restored database with what was dumped.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use thiserror::Error;

use super::selection::SelectedEntries;
use crate::model::{DatabaseFacts, SequenceBound, SequenceState, TableFacts, TableKind};
use crate::text::count;

/// The code of a table that has other contents than were dumped.
pub const OTHER_CONTENTS: &str = "other-contents";

/// A difference between the restored database and the dumped one.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Difference {
    #[error("{what} {name} is missing")]
    Missing { what: &'static str, name: String },
    #[error("{what} {name} was not in the dumped database")]
    Extra { what: &'static str, name: String },
    #[error("table {table} has {found} rows, {recorded} were dumped")]
    Rows { table: String, recorded: u64, found: u64 },
    #[error("table {table} was not counted after the restore, {recorded} rows were dumped")]
    Uncounted { table: String, recorded: u64 },
    #[error("sequence {sequence} stands at {found}, it stood at {recorded} when it was dumped")]
    Behind { sequence: String, recorded: i64, found: i64 },
    #[error("there are {found} large objects, {recorded} were dumped")]
    LargeObjects { recorded: u64, found: u64 },
}

/// What was compared and found equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub tables: u64,
    /// Tables whose rows were counted on both sides.
    pub counted: u64,
    pub rows: u64,
    /// Tables whose contents were summed on both sides.
    pub summed: u64,
    /// Tables with as many rows as were dumped, and others.
    pub other_contents: Vec<String>,
    pub sequences: u64,
    /// Absent where only some tables or schemas were restored.
    pub extensions: Option<u64>,
    /// Absent where they were not restored.
    pub large_objects: Option<u64>,
    /// Large objects in the backup, restored or not.
    pub large_objects_in_backup: u64,
    /// Differences that are acceptable.
    pub notes: Vec<String>,
    /// What could not be compared, and why.
    pub undetermined: Vec<String>,
    /// Values that point to no large object, where large objects were left out.
    pub dangling: Vec<String>,
}

impl Compared {
    /// Describes the equal parts for a person.
    pub(super) fn words(&self) -> String {
        let Self { tables, counted, rows, summed, sequences, .. } = self;
        let compared = |number: Option<u64>, noun: &str| match number {
            Some(number) => count(number, noun),
            None => format!("{noun}s not compared"),
        };
        let contents = if *summed > 0 { format!(", {summed} by content") } else { String::new() };
        let mut words = format!(
            "{} ({counted} counted{contents}, {}), {}, {}, {}",
            count(*tables, "table"),
            count(*rows, "row"),
            count(*sequences, "sequence"),
            compared(self.extensions, "extension"),
            compared(self.large_objects, "large object")
        );
        if self.large_objects.is_none() && self.large_objects_in_backup > 0 {
            words.push_str(&format!(" ({} in the backup, left out)", self.large_objects_in_backup));
        }
        words
    }
}

/// Compares everything, or only what was selected.
///
/// Sequences are not part of a snapshot: they advance while a dump runs, so a restored one may be ahead of
/// the recorded value, in its counting direction. One that is behind would assign numbers twice, unless it
/// was set back meanwhile: that is not judged. `descending` are those that count downwards.
pub(super) fn compare(
    recorded: &DatabaseFacts,
    found: &DatabaseFacts,
    chosen: Option<&SelectedEntries>,
    descending: &BTreeSet<(String, String)>,
) -> Result<Compared, Vec<Difference>> {
    let mut differences = Vec::new();
    let mut compared = Compared::default();
    let of_tables = |facts: &DatabaseFacts| -> BTreeMap<(String, String), TableFacts> {
        let tables = facts.tables.iter().cloned();
        tables.map(|table| ((table.schema.clone(), table.name.clone()), table)).collect()
    };
    let (recorded_tables, found_tables) = (of_tables(recorded), of_tables(found));
    let is_chosen = |key: &(String, String)| chosen.is_none_or(|chosen| chosen.loaded.contains(key));
    for (key, table) in recorded_tables.iter().filter(|(key, _)| is_chosen(key)) {
        compared.tables += 1;
        let name = || format!("{}.{}", key.0, key.1);
        let Some(restored) = found_tables.get(key) else {
            differences.push(Difference::Missing { what: "table", name: name() });
            continue;
        };
        let Some(rows) = table.rows else { continue };
        match restored.rows {
            Some(counted) if counted == rows => {
                compared.counted += 1;
                compared.rows += rows;
                if let (Some(recorded), Some(found)) = (&table.content, &restored.content)
                    && recorded.scope == found.scope
                {
                    compared.summed += 1;
                    if recorded != found {
                        compared.other_contents.push(name());
                    }
                }
            }
            // It was rebuilt from its query, and need not have been up to date when it was dumped.
            Some(counted) if table.kind == TableKind::MaterializedView => compared.notes.push(format!(
                "materialised view {} has {counted} rows since it was refreshed, and had {rows}",
                name()
            )),
            // The load inserts no row twice: other sessions wrote meanwhile.
            Some(counted) if counted > rows => {
                compared.counted += 1;
                compared.rows += rows;
                compared.notes.push(format!(
                    "table {} has {counted} rows, {rows} were dumped: the others were written while it was restored, as event triggers or extensions do",
                    name()
                ));
            }
            Some(counted) => {
                differences.push(Difference::Rows { table: name(), recorded: rows, found: counted })
            }
            None => differences.push(Difference::Uncounted { table: name(), recorded: rows }),
        }
    }
    let sequences: BTreeMap<(String, String), &SequenceState> =
        found.sequences.iter().map(|found| ((found.schema.clone(), found.name.clone()), found)).collect();
    for sequence in &recorded.sequences {
        let key = (sequence.schema.clone(), sequence.name.clone());
        if chosen.is_some_and(|chosen| !chosen.sequences.contains(&key)) {
            continue;
        }
        let name = format!("{}.{}", key.0, key.1);
        let Some(found) = sequences.get(&key) else {
            differences.push(Difference::Missing { what: "sequence", name });
            continue;
        };
        let (recorded, now) = (sequence.last_value, found.last_value);
        match standing(sequence, found, descending.contains(&key)) {
            ComparisonState::Fits => compared.sequences += 1,
            ComparisonState::Behind => {
                differences.push(Difference::Behind { sequence: name, recorded, found: now });
            }
            ComparisonState::Undetermined(why) => compared.notes.push(format!(
                "sequence {name} is at {now} and was at {recorded} before it was dumped: {why}, so that it cannot be judged"
            )),
        }
    }
    for (schema, name) in chosen.iter().flat_map(|chosen| &chosen.loaded) {
        if !recorded_tables.contains_key(&(schema.clone(), name.clone())) {
            compared.notes.push(format!(
                "table {schema}.{name} was loaded and not compared: nothing is recorded of it under that name"
            ));
        }
    }
    if chosen.is_none() {
        let extra = found_tables.keys().filter(|key| !recorded_tables.contains_key(*key));
        differences.extend(
            extra.map(|(schema, name)| Difference::Extra { what: "table", name: format!("{schema}.{name}") }),
        );
        let extensions: BTreeSet<&String> =
            found.extensions.iter().map(|extension| &extension.name).collect();
        let missing = recorded.extensions.iter().filter(|extension| !extensions.contains(&extension.name));
        differences.extend(
            missing.map(|extension| Difference::Missing { what: "extension", name: extension.name.clone() }),
        );
        compared.extensions = Some(recorded.extensions.len() as u64);
    }
    compared.large_objects_in_backup = recorded.large_objects;
    if chosen.is_none_or(|chosen| chosen.large_objects) {
        compared.large_objects = Some(recorded.large_objects);
        if recorded.large_objects != found.large_objects {
            let (recorded, found) = (recorded.large_objects, found.large_objects);
            differences.push(Difference::LargeObjects { recorded, found });
        }
    }
    if differences.is_empty() { Ok(compared) } else { Err(differences) }
}

/// The result of comparing a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ComparisonState {
    Fits,
    Behind,
    Undetermined(&'static str),
}

fn standing(recorded: &SequenceState, found: &SequenceState, descending: bool) -> ComparisonState {
    let descending = recorded.increment.map_or(descending, |increment| increment < 0);
    let before = SequenceBound { last_value: recorded.last_value, is_called: recorded.is_called };
    let now = SequenceBound { last_value: found.last_value, is_called: found.is_called };
    if !is_behind(before, now, descending) {
        return ComparisonState::Fits;
    }
    // The dump's value is known only for a sequence that did not advance.
    match recorded.after {
        None => ComparisonState::Undetermined("where it was after the dump is not recorded"),
        _ if recorded.cycles == Some(true) => ComparisonState::Undetermined("it begins again at its end"),
        Some(_) if recorded.restarted != Some(false) => {
            ComparisonState::Undetermined("it was restarted or altered meanwhile")
        }
        Some(after) if after != before => {
            ComparisonState::Undetermined("it was used and may have been set back meanwhile")
        }
        Some(_) => ComparisonState::Behind,
    }
}

fn is_behind(recorded: SequenceBound, found: SequenceBound, descending: bool) -> bool {
    match recorded.last_value.cmp(&found.last_value) {
        std::cmp::Ordering::Equal => recorded.is_called && !found.is_called,
        std::cmp::Ordering::Less => descending,
        std::cmp::Ordering::Greater => !descending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Extension;

    fn facts() -> DatabaseFacts {
        let table = |name: &str, rows| TableFacts {
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind: TableKind::Table,
            rows,
            belongings: vec![],
            content: None,
        };
        let extension =
            Extension { name: "hstore".to_owned(), version: "1.8".to_owned(), schema: "public".to_owned() };
        DatabaseFacts {
            tables: vec![table("a", Some(3)), table("b", None)],
            sequences: vec![sequence(7, true)],
            extensions: vec![extension],
            large_objects: 2,
            ..DatabaseFacts::default()
        }
    }

    fn sequence(last_value: i64, is_called: bool) -> SequenceState {
        SequenceState {
            schema: "public".to_owned(),
            name: "s".to_owned(),
            last_value,
            is_called,
            restarted: Some(false),
            after: Some(SequenceBound { last_value, is_called }),
            ..SequenceState::default()
        }
    }

    fn differences(change: impl FnOnce(&mut DatabaseFacts)) -> Vec<Difference> {
        let mut found = facts();
        change(&mut found);
        compare(&facts(), &found, None, &BTreeSet::new()).err().unwrap_or_default()
    }

    #[test]
    fn a_table_with_as_many_rows_and_others_is_named_and_one_that_was_not_summed_is_not() {
        use crate::model::{ContentSum, SumScope};
        let with = |scope, sum: &str| {
            let mut facts = facts();
            facts.tables[0].content = Some(ContentSum { scope, rows: 3, sum: sum.to_owned() });
            facts
        };
        let compared = |found: &DatabaseFacts| {
            let compared = compare(&with(SumScope::All, "7"), found, None, &BTreeSet::new()).unwrap();
            (compared.summed, compared.other_contents.join(" "))
        };
        assert_eq!(compared(&with(SumScope::All, "7")), (1, String::new()));
        assert_eq!(compared(&with(SumScope::All, "8")), (1, "public.a".to_owned()));
        assert_eq!(compared(&with(SumScope::Ends, "8")), (0, String::new()));
        assert_eq!(compared(&facts()), (0, String::new()));
    }

    #[test]
    fn the_same_is_the_same() {
        let compared = compare(&facts(), &facts(), None, &BTreeSet::new()).unwrap();
        assert_eq!((compared.tables, compared.counted, compared.rows, compared.sequences), (2, 1, 3, 1));
    }

    #[test]
    fn every_difference_is_told() {
        let all = differences(|found| {
            found.tables[0].rows = Some(2);
            found.tables[1].name = "c".to_owned();
            found.sequences[0].last_value = 6;
            found.extensions.clear();
            found.large_objects = 0;
        });
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            all,
            [
                "table public.a has 2 rows, 3 were dumped",
                "table public.b is missing",
                "sequence public.s stands at 6, it stood at 7 when it was dumped",
                "table public.c was not in the dumped database",
                "extension hstore is missing",
                "there are 0 large objects, 2 were dumped",
            ]
        );
        assert_eq!(differences(|found| found.tables[0].rows = None).len(), 1);
    }

    #[test]
    fn a_sequence_may_be_ahead_in_its_direction_but_never_behind() {
        let behind = |found: SequenceState, descending: bool| {
            standing(&sequence(7, true), &found, descending) == ComparisonState::Behind
        };
        assert!(!behind(sequence(9, true), false) && behind(sequence(5, true), false));
        assert!(behind(sequence(9, true), true) && !behind(sequence(5, true), true));
        assert!(behind(sequence(7, false), false) && !behind(sequence(7, true), false));
        let by_its_own = SequenceState { increment: Some(-2), ..sequence(7, true) };
        assert_eq!(standing(&by_its_own, &sequence(5, true), false), ComparisonState::Fits);
    }

    #[test]
    fn a_sequence_that_may_have_been_set_back_is_not_judged() {
        let recorded = sequence(49, true);
        let cases = [
            SequenceState { after: None, restarted: None, ..recorded.clone() },
            SequenceState { cycles: Some(true), ..recorded.clone() },
            SequenceState { restarted: Some(true), ..recorded.clone() },
            SequenceState {
                after: Some(SequenceBound { last_value: 12, is_called: true }),
                ..recorded.clone()
            },
            SequenceState {
                after: Some(SequenceBound { last_value: 60, is_called: true }),
                ..recorded.clone()
            },
        ];
        for case in cases {
            let judged = standing(&case, &sequence(43, true), false);
            assert!(matches!(judged, ComparisonState::Undetermined(_)), "{judged:?} of {case:?}");
        }
        let mut dumped = facts();
        dumped.sequences[0].cycles = Some(true);
        let mut found = facts();
        found.sequences[0].last_value = 1;
        let compared = compare(&dumped, &found, None, &BTreeSet::new()).unwrap();
        assert_eq!(compared.sequences, 0);
        assert!(compared.notes[0].contains("sequence public.s is at 1 and was at 7"), "{:?}", compared.notes);
    }

    #[test]
    fn rows_that_were_written_meanwhile_are_a_note() {
        let mut found = facts();
        found.tables[0].rows = Some(5);
        let compared = compare(&facts(), &found, None, &BTreeSet::new()).unwrap();
        assert_eq!((compared.counted, compared.rows), (1, 3));
        assert!(
            compared.notes[0].contains("table public.a has 5 rows, 3 were dumped"),
            "{:?}",
            compared.notes
        );
    }

    #[test]
    fn what_is_loaded_under_a_name_that_is_not_recorded_is_said() {
        let chosen = SelectedEntries {
            loaded: [("public".to_owned(), "K\u{fffd}ufe".to_owned())].into(),
            ..SelectedEntries::default()
        };
        let compared = compare(&facts(), &facts(), Some(&chosen), &BTreeSet::new()).unwrap();
        assert!(compared.notes[0].contains("was loaded and not compared"), "{:?}", compared.notes);
    }

    #[test]
    fn of_a_selection_only_what_was_chosen_counts() {
        let key = |name: &str| ("public".to_owned(), name.to_owned());
        let chosen = SelectedEntries { loaded: [key("a")].into(), ..SelectedEntries::default() };
        let mut found = facts();
        found.tables.truncate(1);
        found.sequences.clear();
        found.large_objects = 0;
        let compared = compare(&facts(), &found, Some(&chosen), &BTreeSet::new()).unwrap();
        assert_eq!((compared.tables, compared.rows, compared.sequences), (1, 3, 0));
        assert_eq!(
            compared.words(),
            "1 table (1 counted, 3 rows), 0 sequences, extensions not compared, large objects not compared (2 in the backup, left out)"
        );
        let with = SelectedEntries { large_objects: true, ..chosen };
        let differences = compare(&facts(), &found, Some(&with), &BTreeSet::new()).unwrap_err();
        assert_eq!(differences, [Difference::LargeObjects { recorded: 2, found: 0 }]);
        found.large_objects = 2;
        let compared = compare(&facts(), &found, Some(&with), &BTreeSet::new()).unwrap();
        assert!(
            compared.words().ends_with("extensions not compared, 2 large objects"),
            "{}",
            compared.words()
        );
    }
}
