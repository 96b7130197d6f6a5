//! The passes in which the entries of an archive are loaded, and the number of jobs of each.

use std::collections::BTreeSet;

use super::archive_toc::TocEntry;
use super::pg_restore_errors::is_ambiguous;
use super::selection::SelectedEntries;

/// One run of `pg_restore`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// `None` is everything.
    pub(super) ids: Option<Vec<u32>>,
    pub(super) jobs: u32,
    pub(super) kind: PassKind,
}

/// What an error in a pass means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PassKind {
    /// The first error ends the restore.
    Strict,
    /// Extensions selected along with a few tables: it is unknown whether these need them.
    Extensions,
    /// Comments on extensions, which only their owners may set.
    ExtensionComments,
    /// Materialised views, which are filled by their queries: these may need what the target does not reach.
    Refresh,
}

/// Returns whether an entry is a comment on an extension.
pub(super) fn is_extension_comment(entry: &TocEntry) -> bool {
    entry.kind == "COMMENT" && entry.name.starts_with("EXTENSION ")
}

/// Returns whether an entry fills a materialised view by its query.
pub(super) fn is_refresh(entry: &TocEntry) -> bool {
    entry.kind == "MATERIALIZED VIEW DATA"
}

/// Returns whether a load in one run, as from a stream, may go on past a materialised view that is not filled: an archive
/// has them, and it is known which message is about which entry.
pub(super) fn goes_past_views(entries: Option<&[TocEntry]>) -> bool {
    entries.is_some_and(|entries| entries.iter().any(is_refresh) && !is_ambiguous(entries))
}

/// Decides on the passes, by the archive's entries where they could be read.
///
/// The tables of an extension exist, with their foreign keys and triggers, before their rows are loaded. The
/// dump has them in a working order, which several jobs would not keep to: a data entry depends on its table
/// alone. So these rows go first, one table after the other.
///
/// Materialised views are filled last, as in the dump's own order.
///
/// `comments_apart`: comments on extensions go after what they need, since the restoring role may not be allowed to
/// set them.
pub(super) fn passes(
    entries: Option<&[TocEntry]>,
    chosen: Option<&SelectedEntries>,
    jobs: u32,
    comments_apart: bool,
) -> Vec<Pass> {
    let strict = |ids, jobs| Pass { ids, jobs, kind: PassKind::Strict };
    let mut passes = Vec::new();
    if let Some(chosen) = chosen.filter(|chosen| !chosen.first.is_empty()) {
        passes.push(Pass { ids: Some(chosen.first.clone()), jobs: 1, kind: PassKind::Extensions });
    }
    let taken = chosen.map(|chosen| chosen.ids.iter().copied().collect::<BTreeSet<u32>>());
    let is_taken = |id: u32| taken.as_ref().is_none_or(|taken| taken.contains(&id));
    let (comments, entries): (Vec<&TocEntry>, Vec<&TocEntry>) = entries
        .unwrap_or_default()
        .iter()
        .filter(|entry| is_taken(entry.id))
        .partition(|entry| comments_apart && is_extension_comment(entry));
    let (refreshed, entries): (Vec<&TocEntry>, Vec<&TocEntry>) =
        entries.into_iter().partition(|entry| is_refresh(entry));
    let ids = |entries: Vec<&TocEntry>| Some(entries.into_iter().map(|entry| entry.id).collect::<Vec<u32>>());
    let in_order = rows_of_extensions(&entries);
    if jobs > 1 && in_order.len() > 1 {
        let goes_first = |entry: &&&TocEntry| entry.is_before_data || in_order.contains(&entry.id);
        let (first, rest): (Vec<&TocEntry>, Vec<&TocEntry>) =
            entries.iter().partition(|entry| goes_first(entry));
        passes.push(strict(ids(first), 1));
        passes.push(strict(ids(rest), jobs));
    } else if comments.is_empty() && refreshed.is_empty() {
        passes.push(strict(chosen.map(|chosen| chosen.ids.clone()), jobs));
    } else {
        passes.push(strict(ids(entries), jobs));
    }
    if !comments.is_empty() {
        passes.push(Pass { ids: ids(comments), jobs: 1, kind: PassKind::ExtensionComments });
    }
    if !refreshed.is_empty() {
        passes.push(Pass { ids: ids(refreshed), jobs, kind: PassKind::Refresh });
    }
    passes
}

/// Returns the data entries whose tables the dump does not create, because an extension does.
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
        (pass.ids.as_deref().unwrap_or_default(), pass.jobs, pass.kind == PassKind::Strict)
    }

    #[test]
    fn rows_of_an_extensions_tables_go_first_and_in_order() {
        let entries = entries();
        let found = passes(Some(&entries), None, 4, false);
        assert_eq!(
            found.iter().map(ids).collect::<Vec<_>>(),
            [(&[1, 2, 4, 6][..], 1, true), (&[3, 5, 7], 4, true)]
        );
        let everything = vec![Pass { ids: None, jobs: 1, kind: PassKind::Strict }];
        assert_eq!(passes(Some(&entries), None, 1, false), everything, "one job keeps to the order anyway");
        let all = |jobs| vec![Pass { ids: None, jobs, kind: PassKind::Strict }];
        assert_eq!(passes(Some(&entries[..5]), None, 4, false), all(4), "one table has no order");
        assert_eq!(passes(None, None, 4, false), all(4));
    }

    #[test]
    fn extensions_go_before_what_was_chosen_and_may_fail() {
        let entries = entries();
        let chosen = SelectedEntries { ids: vec![2, 5], first: vec![1], ..SelectedEntries::default() };
        let found = passes(Some(&entries), Some(&chosen), 2, false);
        assert_eq!(found.iter().map(ids).collect::<Vec<_>>(), [(&[1][..], 1, false), (&[2, 5], 2, true)]);
        let chosen = SelectedEntries { ids: vec![2, 4, 5, 6], first: vec![1], ..SelectedEntries::default() };
        let found = passes(Some(&entries), Some(&chosen), 2, false);
        assert_eq!(
            found.iter().map(ids).collect::<Vec<_>>(),
            [(&[1][..], 1, false), (&[2, 4, 6], 1, true), (&[5], 2, true)]
        );
    }

    #[test]
    fn materialised_views_are_filled_last() {
        let mut entries = entries();
        entries.insert(5, entry(8, "MATERIALIZED VIEW DATA", "m"));
        let found = passes(Some(&entries), None, 1, false);
        assert_eq!(
            found.iter().map(ids).collect::<Vec<_>>(),
            [(&[1, 2, 3, 4, 5, 6, 7][..], 1, true), (&[8], 1, false)]
        );
        assert_eq!(found[1].kind, PassKind::Refresh);
        let found = passes(Some(&entries), None, 4, false);
        assert_eq!(
            found.iter().map(ids).collect::<Vec<_>>(),
            [(&[1, 2, 4, 6][..], 1, true), (&[3, 5, 7], 4, true), (&[8], 4, false)]
        );
        let chosen = SelectedEntries { ids: vec![2, 5], ..SelectedEntries::default() };
        assert_eq!(passes(Some(&entries), Some(&chosen), 1, false).len(), 1, "it is not chosen");
    }

    #[test]
    fn one_run_goes_past_views_only_where_messages_tell_which_they_are_about() {
        let mut entries = entries();
        assert!(!goes_past_views(Some(&entries)) && !goes_past_views(None));
        entries.push(entry(8, "MATERIALIZED VIEW DATA", "m"));
        assert!(goes_past_views(Some(&entries)));
        entries.push(entry(9, "TABLE", "x\npg_restore: from TOC entry 8; 0 1 MATERIALIZED VIEW DATA m"));
        assert!(!goes_past_views(Some(&entries)));
    }

    #[test]
    fn comments_on_extensions_go_last_and_may_fail() {
        let mut entries = entries();
        entries.insert(1, entry(9, "COMMENT", "EXTENSION x"));
        let found = passes(Some(&entries), None, 1, true);
        assert_eq!(
            found.iter().map(ids).collect::<Vec<_>>(),
            [(&[1, 2, 3, 4, 5, 6, 7][..], 1, true), (&[9], 1, false)]
        );
        assert_eq!(found[1].kind, PassKind::ExtensionComments);
        let everything = vec![Pass { ids: None, jobs: 1, kind: PassKind::Strict }];
        assert_eq!(passes(Some(&entries), None, 1, false), everything);
        assert_eq!(passes(Some(&entries[2..]), None, 1, true), everything, "there is none");
    }
}
