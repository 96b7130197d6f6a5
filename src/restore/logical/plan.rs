use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::archive_toc::TocEntry;
use super::contents::{ArchiveReader, NamedRoles};
use super::estimate::LoadCost;
use super::exclusion::{everything, exclude};
use super::globals::{self, Existing, Needs};
use super::preflight::refusals;
use super::selection::{SelectedEntries, choose};
use super::target::{DatabaseServerFacts, ExistingDatabase, RESTORING};
use super::{
    ArchiveSummary, DumpRestoreRequest, EntrySelection, Exclusion, GlobalsPlan, LeftoverDatabase, Rates,
};
use crate::event::Phase;
use crate::model::{
    Artifact, BackupId, DatabaseFacts, Extension, Manifest, RepositoryName, SourceName, TableFacts, TableKind,
};
use crate::postgres::{ConnectionParameters, Tools};
use crate::restore::{PlanSummary, Refusal, RestorePlan};
use crate::source::postgres_dump::capture::DATABASE;

/// The extension that is in one database of a server only, by its name.
pub(super) const PG_CRON: &str = "pg_cron";
/// Beside the unpacked dump itself.
const SCRATCH_MARGIN: u64 = 16 << 20;
/// From this version on pg_restore begins every session with a setting that older servers do not know.
const FIRST_WITH_TRANSACTION_TIMEOUT: u32 = 17;
/// The setting that turns them off; logging in sets them off from this version on, too.
const FIRST_WITH_EVENT_TRIGGERS: u32 = 17;

/// Everything that was found out before deciding.
#[derive(Clone, Debug)]
pub struct DumpSurvey {
    pub manifest: Manifest,
    /// Those that hold the backup, in the order they are to be tried.
    pub repositories: Vec<RepositoryName>,
    /// What the database was when it was dumped.
    pub recorded: DatabaseFacts,
    /// The dump's own table of contents; absent where it cannot be read ahead.
    pub contents: Option<ArchiveSummary>,
    /// The script of roles and tablespaces, where it was asked for and there is one.
    pub globals: Option<String>,
    pub target: DatabaseServerFacts,
    pub tools: Tools,
    /// Bytes free in the scratch directory.
    pub scratch_free: u64,
    pub rates: Rates,
}

/// How the dump gets into `pg_restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum DumpTransfer {
    /// Unpacked into a file without a name, and proven, before anything is loaded.
    Scratch { directory: PathBuf, needed: u64, free: u64 },
    /// Straight into its standard input; proven when the last byte went by, before it is published.
    Stream,
}

/// What the dump is loaded into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadsInto {
    /// A new database under a temporary name.
    Temporary,
    /// A new database under the final name.
    New,
    /// The empty database that has the final name.
    Existing,
}

/// What will be done, in every detail that a person may want to know first.
#[derive(Clone, Debug, Serialize)]
pub struct DumpRestorePlan {
    pub backup: BackupId,
    pub source: SourceName,
    /// The moment whose data comes back.
    pub recovery_point: DateTime<Utc>,
    /// How much newer data there may have been, seconds.
    pub age_seconds: i64,
    /// In the order they are tried.
    pub repositories: Vec<RepositoryName>,
    pub server: String,
    pub server_version: String,
    pub database: String,
    /// The name it has until it was compared.
    pub temporary: String,
    pub loads_into: LoadsInto,
    /// The name it gets instead if something is missing; absent where nothing may be.
    pub incomplete: Option<String>,
    /// An empty database has the name; it is replaced.
    pub replaces_empty: bool,
    pub owner: Option<String>,
    pub encoding: String,
    pub locale: String,
    pub stored_bytes: u64,
    pub plain_bytes: u64,
    /// What the database took on disk where it was dumped.
    pub database_bytes: u64,
    pub tables: u64,
    pub rows: u64,
    pub route: DumpTransfer,
    pub jobs: u32,
    pub tool: String,
    /// Seconds, by what earlier restores took; absent where there was none.
    pub estimated_seconds: Option<f64>,
    pub measured_by: Rates,
    /// What is restored, where it is not everything.
    pub selection: Option<String>,
    /// What is left out of that.
    pub exclusion: Option<String>,
    pub globals: Option<GlobalsPlan>,
    /// What earlier restores have left on the server.
    pub leftovers: Vec<LeftoverDatabase>,
    pub drop_leftovers: bool,
    /// What a person should know before.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(super) steps: DumpRestoreSteps,
}

/// What only the execution needs.
#[derive(Clone, Debug)]
pub(super) struct DumpRestoreSteps {
    pub(super) manifest: Manifest,
    pub(super) dump: Artifact,
    /// The server and the role, and the database that is to be.
    pub(super) target: ConnectionParameters,
    pub(super) recorded: DatabaseFacts,
    pub(super) target_major: u32,
    pub(super) tools: Tools,
    pub(super) selection: EntrySelection,
    pub(super) exclusion: Exclusion,
    pub(super) owners: bool,
    pub(super) tablespaces: bool,
    /// Whether a connection limit is none for the restoring role.
    pub(super) superuser: bool,
    /// Settings of the sessions that work in the database before it is published.
    pub(super) session: Vec<(&'static str, String)>,
    /// pg_restore says things the server does not understand, and is not to end because of them.
    pub(super) tolerates_settings: bool,
}

/// Decides. Every reason against it comes at once.
///
/// `seed`: any random number; it keeps two restores on one server apart.
pub fn plan(
    request: &DumpRestoreRequest,
    situation: DumpSurvey,
    now: DateTime<Utc>,
    seed: u32,
) -> Result<DumpRestorePlan, Vec<Refusal>> {
    let DumpSurvey { manifest, repositories, recorded, globals, target, tools, .. } = &situation;
    let foreseen = Foreseen::for_request(request, &situation);
    let globals_plan = globals.as_ref().map(|script| {
        let needed = foreseen
            .roles
            .as_ref()
            .map_or_else(|| recorded.roles.iter().cloned().collect(), |roles| roles.needed(request.owners));
        let owners = foreseen.roles.as_ref().map(|roles| roles.owners.clone()).unwrap_or_default();
        let owners = owners.into_iter().chain([recorded.owner.clone()]).filter(|_| request.owners).collect();
        let needs = Needs { roles: &needed, owners: &owners, tablespaces: request.tablespaces };
        globals::plan(script, existing(target), needs)
    });
    let refusals = refusals(request, &situation, &foreseen, globals_plan.as_ref());
    let dump = manifest.artifact_of(DATABASE);
    let Some(dump) = dump.filter(|_| refusals.is_empty()).cloned() else {
        let missing = dump.is_none().then(|| no_artifact(&manifest.id, DATABASE));
        return Err(refusals.into_iter().chain(missing).collect());
    };
    let selected = |schema: &str, name: &str| {
        (request.selection.is_everything() || request.selection.names(schema, name))
            && !request.exclusion.leaves_out(schema, name)
    };
    let tables = recorded.tables.iter().filter(|table| selected(&table.schema, &table.name));
    let weight = LoadCost { stored: manifest.stored_size(), plain: manifest.plain_size() };
    let loads_into = loads_into(request, target);
    let route = route(request, &dump, loads_into, situation.scratch_free);
    let tolerates_settings =
        tools.major >= FIRST_WITH_TRANSACTION_TIMEOUT && target.major < FIRST_WITH_TRANSACTION_TIMEOUT;
    Ok(DumpRestorePlan {
        backup: manifest.id.clone(),
        source: manifest.source.clone(),
        recovery_point: manifest.recovery_point,
        age_seconds: (now - manifest.recovery_point).num_seconds(),
        repositories: repositories.clone(),
        server: target.server.clone(),
        server_version: target.version.clone(),
        database: request.database.clone(),
        temporary: match loads_into {
            LoadsInto::Temporary => {
                format!("{RESTORING}{}_{:06x}", now.format("%Y%m%d%H%M%S"), seed & 0x00ff_ffff)
            }
            LoadsInto::New | LoadsInto::Existing => request.database.clone(),
        },
        replaces_empty: loads_into == LoadsInto::Temporary && standing(request, target).is_some(),
        incomplete: request.incomplete.clone(),
        loads_into,
        owner: request.owners.then(|| recorded.owner.clone()),
        encoding: recorded.encoding.clone(),
        locale: recorded.icu_locale.clone().unwrap_or_else(|| recorded.collate.clone()),
        stored_bytes: weight.stored,
        plain_bytes: weight.plain,
        database_bytes: recorded.size,
        tables: tables.clone().count() as u64,
        rows: tables.filter_map(|table| table.rows).sum(),
        estimated_seconds: situation.rates.estimate(weight, route == DumpTransfer::Stream),
        measured_by: situation.rates,
        jobs: request.jobs,
        tool: tools.version.replace("pg_dump", "pg_restore"),
        selection: (!request.selection.is_everything()).then(|| request.selection.to_string()),
        exclusion: (!request.exclusion.is_nothing()).then(|| request.exclusion.to_string()),
        leftovers: target.leftovers.clone(),
        drop_leftovers: request.drop_leftovers,
        notes: notes(request, &situation, &foreseen, tolerates_settings),
        globals: globals_plan,
        route,
        steps: DumpRestoreSteps {
            session: session(target),
            manifest: manifest.clone(),
            dump,
            target: request.target.clone(),
            recorded: recorded.clone(),
            target_major: target.major,
            tools: tools.clone(),
            selection: request.selection.clone(),
            exclusion: request.exclusion.clone(),
            owners: request.owners,
            tablespaces: request.tablespaces,
            superuser: target.superuser,
            tolerates_settings,
        },
    })
}

pub(super) fn no_artifact(backup: &BackupId, artifact: &str) -> Refusal {
    Refusal::not_ready("no-artifact", format!("`{backup}` has no artifact `{artifact}`"))
}

/// What is restored of an archive; `None` is everything.
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

/// What the dump's own contents say of the restore.
#[derive(Clone, Debug, Default)]
pub(super) struct Foreseen {
    /// `None` is everything, or not known.
    pub(super) chosen: Option<SelectedEntries>,
    /// `None` where the contents could not be read ahead.
    pub(super) roles: Option<NamedRoles>,
    /// Extensions that chosen tables are known to need.
    pub(super) extensions: Vec<String>,
    /// Tables whose rows cannot be counted after the load, with the reason.
    uncountable: Vec<String>,
}

impl Foreseen {
    fn for_request(request: &DumpRestoreRequest, situation: &DumpSurvey) -> Self {
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
            chosen,
        }
    }
}

fn existing(target: &DatabaseServerFacts) -> Existing<'_> {
    Existing {
        major: target.major,
        roles: &target.roles,
        tablespaces: &target.tablespaces,
        role: &target.role,
        superuser: target.superuser,
        may_create_databases: target.may_create_databases,
        may_replicate: target.may_replicate,
        bypasses_row_security: target.bypasses_row_security,
    }
}

/// The database that has the final name when the load begins.
pub(super) fn standing<'a>(
    request: &DumpRestoreRequest,
    target: &'a DatabaseServerFacts,
) -> Option<&'a ExistingDatabase> {
    let is_dropped = request.drop_leftovers
        && left_under_the_name(request, target).is_some_and(LeftoverDatabase::may_be_dropped);
    target.existing.as_ref().filter(|_| !is_dropped)
}

/// What a restore that did not end has left under the final name.
pub(super) fn left_under_the_name<'a>(
    request: &DumpRestoreRequest,
    target: &'a DatabaseServerFacts,
) -> Option<&'a LeftoverDatabase> {
    target.leftovers.iter().find(|leftover| leftover.database == request.database)
}

pub(super) fn loads_into(request: &DumpRestoreRequest, target: &DatabaseServerFacts) -> LoadsInto {
    match (request.keeps_name, standing(request, target)) {
        (false, _) => LoadsInto::Temporary,
        (true, None) => LoadsInto::New,
        (true, Some(_)) => LoadsInto::Existing,
    }
}

pub(super) fn route(
    request: &DumpRestoreRequest,
    dump: &Artifact,
    into: LoadsInto,
    free: u64,
) -> DumpTransfer {
    // Choosing tables takes the archive's contents, and those may come only with its last byte. And into what
    // cannot be dropped again nothing is loaded before it is proven.
    if request.jobs <= 1 && request.is_everything() && into != LoadsInto::Existing {
        return DumpTransfer::Stream;
    }
    let needed = dump.plain.size.saturating_add(SCRATCH_MARGIN);
    DumpTransfer::Scratch { directory: request.scratch.clone(), needed, free }
}

/// Settings of the sessions that work in the database. All are safe, because nothing depends on the database until it is
/// published: if the server crashes before, the restore has failed and begins again.
///
/// - `synchronous_commit`: with it on, every one of thousands of small statements waits for the disk.
/// - `maintenance_work_mem` is left as the server has it. More of it was measured to make a load slower, by a
///   quarter with 1 GB: more processes work at an index than there are processors for.
/// - `event_triggers`: those that came with the dump are not for what a restore does. Only superusers may set it.
fn session(target: &DatabaseServerFacts) -> Vec<(&'static str, String)> {
    let mut settings = vec![("synchronous_commit", "off".to_owned())];
    if target.superuser && target.major >= FIRST_WITH_EVENT_TRIGGERS {
        settings.push(("event_triggers", "off".to_owned()));
    }
    settings
}

impl RestorePlan for DumpRestorePlan {
    fn summary(&self) -> PlanSummary {
        PlanSummary {
            source: self.source.clone(),
            backup: Some(self.backup.clone()),
            subject: format!("`{}`", self.backup),
            to: format!("{} on {}", self.database, self.server),
            changed: vec![],
        }
    }

    fn phases(&self, validates: bool) -> Vec<Phase> {
        let mut steps = Vec::new();
        steps.extend(self.drop_leftovers.then_some(Phase::Prepare));
        steps.extend(self.globals.as_ref().map(|_| Phase::Globals));
        steps.extend(matches!(self.route, DumpTransfer::Scratch { .. }).then_some(Phase::Fetch));
        steps.extend([Phase::CreateDatabase, Phase::Load, Phase::Analyze, Phase::Compare, Phase::Publish]);
        steps.extend(validates.then_some(Phase::Validate));
        steps
    }

    fn without_checks(&self) -> Option<&'static str> {
        let is_part = self.selection.is_some() || self.exclusion.is_some();
        is_part.then_some("only a part of the database is restored")
    }
}

impl DumpRestorePlan {
    /// How the database that is being restored is reached, by whatever works in it.
    pub(super) fn inside(&self) -> ConnectionParameters {
        let mut database = self.steps.target.with_database(&self.temporary);
        database.settings.extend(self.steps.session.iter().cloned());
        database
    }
}

fn notes(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::logical::tests::{request, situation};

    fn now() -> DateTime<Utc> {
        "2026-11-21T22:02:51Z".parse().unwrap()
    }

    fn planned(change: impl FnOnce(&mut DumpRestoreRequest, &mut DumpSurvey)) -> DumpRestorePlan {
        let (mut request, mut situation) = (request(), situation());
        change(&mut request, &mut situation);
        plan(&request, situation, now(), 5).unwrap()
    }

    #[test]
    fn a_plan_says_what_where_and_how_old() {
        let plan = planned(|_, _| {});
        assert_eq!((plan.age_seconds, plan.rows, plan.tables), (86_400, 7, 2));
        assert_eq!(plan.temporary, "drctl_restoring_20261121220251_000005");
        assert!(matches!(plan.route, DumpTransfer::Scratch { .. }));
        assert_eq!(plan.estimated_seconds, None, "nothing was measured");
        assert_eq!(plan.tool, "pg_restore (PostgreSQL) 15.18");
    }

    #[test]
    fn one_job_needs_no_scratch_disk_unless_tables_are_chosen() {
        let none_free = |request: &mut DumpRestoreRequest, situation: &mut DumpSurvey| {
            request.jobs = 1;
            situation.scratch_free = 0;
        };
        assert_eq!(planned(none_free).route, DumpTransfer::Stream);
        let chosen = planned(|request, _| {
            request.jobs = 1;
            request.selection.schemas.push("public".to_owned());
        });
        assert!(matches!(chosen.route, DumpTransfer::Scratch { .. }));
    }

    fn empty() -> ExistingDatabase {
        ExistingDatabase {
            owner: "postgres".to_owned(),
            takes_connections: true,
            connections: 0,
            holds: vec![],
            encoding: "UTF8".to_owned(),
            collate: "de_DE.UTF-8".to_owned(),
            ctype: "de_DE.UTF-8".to_owned(),
        }
    }

    #[test]
    fn with_its_final_name_it_is_loaded_into_a_new_database_or_the_empty_one() {
        let new = planned(|request, _| request.keeps_name = true);
        assert_eq!((new.temporary.as_str(), new.loads_into), ("restored", LoadsInto::New));
        let into = planned(|request, situation| {
            request.keeps_name = true;
            request.jobs = 1;
            situation.target.existing = Some(ExistingDatabase { encoding: "LATIN1".to_owned(), ..empty() });
        });
        assert_eq!((into.loads_into, into.replaces_empty), (LoadsInto::Existing, false));
        assert!(matches!(into.route, DumpTransfer::Scratch { .. }), "it is proven before it is loaded");
        assert!(into.notes.iter().any(|note| note.contains("is in LATIN1")), "{:?}", into.notes);
        let replaced = planned(|_, situation| situation.target.existing = Some(empty()));
        assert_eq!((replaced.loads_into, replaced.replaces_empty), (LoadsInto::Temporary, true));
    }

    #[test]
    fn what_a_restore_left_under_the_name_is_out_of_the_way_when_it_is_dropped() {
        let plan = planned(|request, situation| {
            (request.keeps_name, request.drop_leftovers) = (true, true);
            situation.target.existing =
                Some(ExistingDatabase { holds: vec!["table t".to_owned()], ..empty() });
            situation.target.leftovers.push(LeftoverDatabase {
                database: "restored".to_owned(),
                comment: Some("drctl: being restored from x".to_owned()),
                connections: 0,
            });
        });
        assert_eq!(plan.loads_into, LoadsInto::New);
    }

    #[test]
    fn a_pg_restore_that_is_too_new_for_the_server_is_told_of() {
        let plan = planned(|_, situation| situation.tools.major = 17);
        assert!(
            plan.steps.tolerates_settings && plan.notes.iter().any(|note| note.contains("does not know"))
        );
        assert!(!planned(|_, _| {}).steps.tolerates_settings);
    }
}
