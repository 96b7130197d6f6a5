//! What the dump's contents imply for its restore, before anything is loaded.

use super::archive_toc::TocEntry;
use super::contents::{ArchiveReader, NamedRoles};
use super::exclusion::{everything, exclude};
use super::large_objects;
use super::selection::{SelectedEntries, choose};
use super::{DumpRestoreRequest, DumpSurvey, EntrySelection, Exclusion};
use crate::model::TableFacts;

/// Selects what is restored of an archive; `None` is everything.
pub(super) fn choose_from(
    entries: &[TocEntry],
    selection: &EntrySelection,
    exclusion: &Exclusion,
) -> Option<SelectedEntries> {
    if selection.is_everything() && exclusion.is_nothing() {
        return None;
    }
    let chosen = if selection.is_everything() { everything(entries) } else { choose(entries, selection) };
    Some(exclude(entries, chosen, exclusion))
}

/// What the dump's contents imply for the restore.
#[derive(Clone, Debug, Default)]
pub(super) struct Foreseen {
    /// `None` is everything, or not known.
    pub(super) chosen: Option<SelectedEntries>,
    /// `None` where the contents could not be read ahead.
    pub(super) roles: Option<NamedRoles>,
    /// Extensions that selected tables are known to need.
    pub(super) extensions: Vec<String>,
    /// Columns that may point to large objects which are left out; `None` where that is unknown.
    pub(super) pointers: Option<Vec<String>>,
    /// Tables whose rows cannot be counted after the load, with the reason.
    pub(super) uncountable: Vec<String>,
}

impl Foreseen {
    pub(super) fn for_request(request: &DumpRestoreRequest, situation: &DumpSurvey) -> Self {
        let Some(contents) = &situation.contents else { return Self::default() };
        let chosen = choose_from(&contents.entries, &request.selection, &request.exclusion)
            .filter(|chosen| !chosen.ids.is_empty());
        let target = &situation.target;
        let mut uncountable = vec![];
        if !target.superuser {
            let reader = ArchiveReader {
                role: &target.role,
                member_of: &target.member_of,
                sees_all_rows: target.bypasses_row_security,
                owners: request.owners,
            };
            let counted = |schema: &str, name: &str| {
                let is_it = |table: &&TableFacts| table.schema == schema && table.name == name;
                situation.recorded.tables.iter().find(is_it).is_some_and(|table| table.rows.is_some())
            };
            let found = contents.uncountable(chosen.as_ref(), reader).into_iter();
            let found = found.filter(|((schema, name), _)| counted(schema, name));
            uncountable = found.map(|((schema, name), why)| format!("{schema}.{name} ({why})")).collect();
        }
        Self {
            roles: Some(contents.roles(chosen.as_ref())),
            extensions: chosen.iter().flat_map(|chosen| contents.needed_extensions(chosen)).collect(),
            uncountable,
            pointers: chosen.as_ref().map(|chosen| large_objects::columns(&contents.entries, chosen)),
            chosen,
        }
    }
}
