//! In which passes the entries of an archive are loaded, and with how many jobs.

use std::collections::BTreeSet;

use super::archive_toc::TocEntry;
use super::selection::SelectedEntries;

/// One run of `pg_restore`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// `None` is everything.
    pub(super) ids: Option<Vec<u32>>,
    pub(super) jobs: u32,
    /// Whether the first error ends the restore. Of extensions that come along with a few tables nobody knows
    /// whether these need them.
    pub(super) is_strict: bool,
}

/// Decides, by the archive's entries where they could be read.
///
/// The tables of an extension are there, with their foreign keys and triggers, before their rows are loaded.
/// The dump has them in an order in which that goes well, and several jobs would not keep to it: an entry of
/// data depends on its table alone. So these rows go first, one table after the other.
pub(super) fn passes(entries: Option<&[TocEntry]>, chosen: Option<&SelectedEntries>, jobs: u32) -> Vec<Pass> {
    let strict = |ids, jobs| Pass { ids, jobs, is_strict: true };
    let mut passes = Vec::new();
    if let Some(chosen) = chosen.filter(|chosen| !chosen.first.is_empty()) {
        passes.push(Pass { ids: Some(chosen.first.clone()), jobs: 1, is_strict: false });
    }
    let taken = chosen.map(|chosen| chosen.ids.iter().copied().collect::<BTreeSet<u32>>());
    let is_taken = |id: u32| taken.as_ref().is_none_or(|taken| taken.contains(&id));
    let entries: Vec<&TocEntry> =
        entries.unwrap_or_default().iter().filter(|entry| is_taken(entry.id)).collect();
    let in_order = rows_of_extensions(&entries);
    if jobs > 1 && in_order.len() > 1 {
        let goes_first = |entry: &&&TocEntry| entry.is_before_data || in_order.contains(&entry.id);
        let (first, rest): (Vec<&TocEntry>, Vec<&TocEntry>) =
            entries.iter().partition(|entry| goes_first(entry));
        let ids = |entries: Vec<&TocEntry>| Some(entries.into_iter().map(|entry| entry.id).collect());
        passes.push(strict(ids(first), 1));
        passes.push(strict(ids(rest), jobs));
    } else {
        passes.push(strict(chosen.map(|chosen| chosen.ids.clone()), jobs));
    }
    passes
}

/// Rows whose tables the dump does not make: an extension does.
fn rows_of_extensions(entries: &[&TocEntry]) -> BTreeSet<u32> {
    let made: BTreeSet<_> = entries
        .iter()
        .filter(|entry| entry.kind == "TABLE")
        .map(|entry| (entry.schema.as_deref(), entry.name.as_str()))
        .collect();
    let is_foreign = |entry: &&&TocEntry| {
        entry.kind == "TABLE DATA" && !made.contains(&(entry.schema.as_deref(), entry.name.as_str()))
    };
    entries.iter().filter(is_foreign).map(|entry| entry.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u32, kind: &str, name: &str) -> TocEntry {
        let mut entry = TocEntry::for_test(id, kind, "s", name, &[]);
        entry.is_before_data = ["EXTENSION", "TABLE"].contains(&kind);
        entry
    }

    fn entries() -> Vec<TocEntry> {
        vec![
            entry(1, "EXTENSION", "x"),
            entry(2, "TABLE", "t"),
            entry(3, "ACL", "TABLE t"),
            entry(4, "TABLE DATA", "parent"),
            entry(5, "TABLE DATA", "t"),
            entry(6, "TABLE DATA", "child"),
            entry(7, "INDEX", "i"),
        ]
    }

    fn ids(pass: &Pass) -> (&[u32], u32, bool) {
        (pass.ids.as_deref().unwrap_or_default(), pass.jobs, pass.is_strict)
    }

    #[test]
    fn rows_of_an_extensions_tables_go_first_and_in_order() {
        let entries = entries();
        let found = passes(Some(&entries), None, 4);
        assert_eq!(
            found.iter().map(ids).collect::<Vec<_>>(),
            [(&[1, 2, 4, 6][..], 1, true), (&[3, 5, 7], 4, true)]
        );
        let everything = vec![Pass { ids: None, jobs: 1, is_strict: true }];
        assert_eq!(passes(Some(&entries), None, 1), everything, "one job keeps to the order anyway");
        let all = |jobs| vec![Pass { ids: None, jobs, is_strict: true }];
        assert_eq!(passes(Some(&entries[..5]), None, 4), all(4), "one table has no order");
        assert_eq!(passes(None, None, 4), all(4));
    }

    #[test]
    fn extensions_go_before_what_was_chosen_and_may_fail() {
        let entries = entries();
        let chosen = SelectedEntries { ids: vec![2, 5], first: vec![1], ..SelectedEntries::default() };
        let found = passes(Some(&entries), Some(&chosen), 2);
        assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), [(&[1][..], 1, false), (&[2, 5], 2, true)]);
        let chosen = SelectedEntries { ids: vec![2, 4, 5, 6], first: vec![1], ..SelectedEntries::default() };
        let found = passes(Some(&entries), Some(&chosen), 2);
        assert_eq!(
            found.iter().map(ids).collect::<Vec<_>>(),
            [(&[1][..], 1, false), (&[2, 4, 6], 1, true), (&[5], 2, true)]
        );
    }
}
