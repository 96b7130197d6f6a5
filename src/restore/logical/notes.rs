//! What a person should know before a restore begins.

use super::foreseen::Foreseen;
use super::loading::{LoadsInto, PG_CRON, loads_into, standing};
use super::{DumpRestoreRequest, DumpSurvey};
use crate::model::{Extension, TableKind};

pub(super) fn notes(
    request: &DumpRestoreRequest,
    situation: &DumpSurvey,
    foreseen: &Foreseen,
    tolerates_settings: bool,
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
    notes.extend(of_contents(request, situation, foreseen));
    if !request.owners {
        notes.push(
            "owners and privileges are left out: everything will belong to the restoring role".to_owned(),
        );
    }
    if tolerates_settings {
        notes.push(format!(
            "pg_restore {} sets a parameter that PostgreSQL {} does not know; that one complaint will be passed over",
            situation.tools.major, target.major
        ));
    }
    notes
}

/// What follows from the name it is loaded under, and from the one it gets.
fn naming_notes(request: &DumpRestoreRequest, situation: &DumpSurvey) -> Vec<String> {
    let (target, recorded) = (&situation.target, &situation.recorded);
    let mut notes = Vec::new();
    let is_named = |name: &str| recorded.extensions.iter().any(|extension| extension.name == name);
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
    if request.keeps_name && is_named(PG_CRON) {
        notes.push(
            "the jobs of pg_cron run as soon as they are loaded; `cron.launch_active_jobs = off` keeps them from it"
                .to_owned(),
        );
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
    if !foreseen.uncountable.is_empty() {
        let (role, tables) = (&target.role, foreseen.uncountable.join(", "));
        notes.push(format!(
            "{role} cannot count the rows of {tables} once they are loaded, which leaves them undetermined: a superuser could"
        ));
    }
    notes
}
