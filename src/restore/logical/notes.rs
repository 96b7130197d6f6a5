//! Notes for the operator before a restore begins.

use super::archive_toc::one_line;
use super::foreseen::Foreseen;
use super::large_objects;
use super::loading::{LoadsInto, loads_into, standing};
use super::properties::Properties;
use super::scheduled_jobs;
use super::{DumpRestoreRequest, DumpSurvey, GlobalsPlan, ServerDirectory};
use crate::model::{Extension, TableFacts, TableKind};

/// What is noted of how the dump is loaded.
pub(super) struct NotedLoad {
    /// pg_restore sends settings that the server does not know.
    pub(super) tolerates_settings: bool,
    /// A materialised view that cannot be filled does not end the load.
    pub(super) leaves_unfilled: bool,
}

pub(super) fn notes(
    request: &DumpRestoreRequest,
    situation: &DumpSurvey,
    foreseen: &Foreseen,
    (properties, globals): (&Properties, Option<&GlobalsPlan>),
    load: &NotedLoad,
) -> Vec<String> {
    let (target, recorded) = (&situation.target, &situation.recorded);
    let mut notes: Vec<String> =
        recorded.not_included.iter().map(|text| format!("the dump does not hold {text}")).collect();
    if recorded.tables.iter().any(|table| table.kind == TableKind::Table && table.rows.is_none()) {
        notes.push(
            "rows of some tables were not counted when they were dumped, and cannot be compared".to_owned(),
        );
    }
    for extension in &recorded.extensions {
        if let Some(version) =
            target.extensions.get(&extension.name).filter(|version| **version != extension.version)
        {
            let Extension { name, version: was, .. } = extension;
            notes.push(format!("extension {name} was of version {was}; the target will have {version}"));
        }
    }
    notes.extend(naming_notes(request, situation));
    notes.extend(scheduled_jobs::notes(request, situation));
    notes.extend(of_properties(request, situation, properties));
    notes.extend(of_tablespaces(situation, globals));
    notes.extend(of_contents(request, situation, foreseen));
    notes.extend(of_views(situation, foreseen, load.leaves_unfilled));
    if !request.owners {
        notes.push(
            "owners and privileges are left out: everything will belong to the restoring role".to_owned(),
        );
    }
    if load.tolerates_settings {
        notes.push(format!(
            "pg_restore {} sets a parameter that PostgreSQL {} does not know; that one complaint will be passed over",
            situation.tools.major, target.major
        ));
    }
    notes
}

/// Returns notes on the name it is loaded under, and on its final name.
fn naming_notes(request: &DumpRestoreRequest, situation: &DumpSurvey) -> Vec<String> {
    let (target, recorded) = (&situation.target, &situation.recorded);
    let mut notes = Vec::new();
    if let Some(name) = &request.incomplete {
        notes.push(format!(
            "what does not load is passed over: if anything is missing, the database is called {name}"
        ));
    }
    if let Some(locale) =
        request.locale.as_ref().filter(|_| loads_into(request, target) != LoadsInto::Existing)
    {
        notes.push(format!(
            "the database gets the locale {locale}: text may sort in another order than it did"
        ));
    }
    let existing = standing(request, target).filter(|_| request.keeps_name);
    let Some(existing) = existing else { return notes };
    notes.push(
        "if the load fails, what was loaded stays in the database, which is not drctl's to drop; its comment says so"
            .to_owned(),
    );
    if existing.encoding != recorded.encoding {
        let (is, was) = (&existing.encoding, &recorded.encoding);
        notes.push(format!(
            "the database is in {is}, it was in {was}: text that {is} does not have fails to load"
        ));
    }
    if (&existing.collate, &existing.ctype) != (&recorded.collate, &recorded.ctype) {
        let (is, was) = (&existing.collate, &recorded.collate);
        notes.push(format!("the database has locale {is}, it had {was}: text may sort in another order"));
    }
    notes
}

/// Returns notes on the properties of an existing database of that name.
fn of_properties(
    request: &DumpRestoreRequest,
    situation: &DumpSurvey,
    properties: &Properties,
) -> Vec<String> {
    let Some(existing) = standing(request, &situation.target) else { return vec![] };
    let own = existing.own_properties();
    let mut notes = Vec::new();
    if loads_into(request, &situation.target) != LoadsInto::Existing {
        notes.extend((!own.is_empty()).then(|| {
            format!(
                "the empty database that is replaced has properties of its own, which go with it: {}",
                own.join(", ")
            )
        }));
        return notes;
    }
    if !properties.kept.is_empty() {
        let mut note = format!("the database keeps what it has of its own: {}", properties.kept.join(", "));
        if !properties.not_applied.is_empty() {
            note.push_str(&format!("; of the backup is not applied: {}", properties.not_applied.join(", ")));
        }
        notes.push(note);
    }
    let applied = properties.applied(existing);
    notes.extend(
        (!applied.is_empty()).then(|| format!("the database gets of the backup: {}", applied.join(", "))),
    );
    notes
}

/// Returns notes on tablespaces whose directories the server does not report.
fn of_tablespaces(situation: &DumpSurvey, globals: Option<&GlobalsPlan>) -> Vec<String> {
    let locations = globals.into_iter().flat_map(|globals| &globals.locations);
    let unknown = locations.filter_map(|place| match situation.target.directories.get(&place.location) {
        Some(ServerDirectory::Unknown(reason)) => Some(format!(
            "whether `{}` of tablespace {} exists and is empty on the target server is unknown: {reason}",
            place.location, place.tablespace
        )),
        _ => None,
    });
    unknown.collect()
}

fn of_contents(request: &DumpRestoreRequest, situation: &DumpSurvey, foreseen: &Foreseen) -> Vec<String> {
    let (target, recorded) = (&situation.target, &situation.recorded);
    let mut notes = Vec::new();
    if foreseen.roles.is_none() {
        let missing: Vec<&str> =
            recorded.roles.iter().filter(|role| !target.roles.contains(*role)).map(String::as_str).collect();
        notes.push(
            "the contents of the dump cannot be read ahead: which roles it names is not known".to_owned(),
        );
        if request.owners && !missing.is_empty() {
            let missing = missing.join(", ");
            notes.push(format!("the target has no {missing}: if the dump names them, the load will fail"));
        }
    }
    if let Some(chosen) = &foreseen.chosen
        && !chosen.first.is_empty()
        && !recorded.extensions.is_empty()
    {
        let names: Vec<&str> = recorded
            .extensions
            .iter()
            .map(|extension| extension.name.as_str())
            .filter(|name| *name != "plpgsql")
            .collect();
        notes.push(format!("every extension comes along, where the target has it: {}", names.join(", ")));
    }
    if recorded.large_objects > 0 && request.leaves_out_large_objects() {
        notes.push(large_objects::note(recorded.large_objects, foreseen.pointers.as_deref()));
    }
    if !foreseen.uncountable.is_empty() {
        let (role, tables) = (&target.role, foreseen.uncountable.join(", "));
        notes.push(format!(
            "{role} cannot count the rows of {tables} once they are loaded, which leaves them undetermined: a superuser could"
        ));
    }
    notes
}

/// Views that a note names.
const NAMED: usize = 5;

/// Returns a note on the queries that fill materialised views: they run in the load, and reach what they name.
fn of_views(situation: &DumpSurvey, foreseen: &Foreseen, leaves_unfilled: bool) -> Option<String> {
    let chosen = foreseen.chosen.as_ref();
    let is_filled = |table: &&TableFacts| {
        let key = (table.schema.clone(), table.name.clone());
        table.kind == TableKind::MaterializedView && chosen.is_none_or(|chosen| chosen.loaded.contains(&key))
    };
    let names: Vec<String> = situation
        .recorded
        .tables
        .iter()
        .filter(is_filled)
        .map(|table| one_line(&format!("{}.{}", table.schema, table.name)))
        .collect();
    let more = names.len().saturating_sub(NAMED);
    let named = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let named = if more > 0 { format!("{named} and {more} more") } else { named };
    let unreached = match leaves_unfilled {
        true => "stays empty, and is reported",
        false => "ends the load; with several jobs (`--jobs 2`) the load continues",
    };
    (!names.is_empty()).then(|| {
        format!(
            "materialised views are filled by their queries, which may reach other servers from the target (dblink, foreign tables): {named}; one whose server is not reached {unreached}"
        )
    })
}
