use chrono::{DateTime, Utc};
use serde::Serialize;

use super::archive_toc::TocEntry;
use super::estimate::LoadCost;
use super::foreseen::Foreseen;
use super::globals::{self, Existing, Needs};
use super::loading::{DumpTransfer, LoadsInto, loads_into, route, standing};
use super::marks::RESTORING;
use super::notes::{NotedLoad, notes};
use super::passes::{goes_past_views, is_extension_comment};
use super::pg_restore_errors::is_ambiguous;
use super::preflight::{no_artifact, refusals};
use super::properties::Properties;
use super::scheduled_jobs::loaded_schedulers;
use super::{
    DatabaseServerFacts, DumpRestoreRequest, DumpSurvey, EntrySelection, Exclusion, GlobalsPlan,
    LeftoverDatabase, Rates,
};
use crate::event::Phase;
use crate::model::{Artifact, BackupId, DatabaseFacts, Manifest, RepositoryName, SourceName};
use crate::postgres::{ConnectionParameters, Tools, without_event_triggers};
use crate::restore::scheduled_jobs::JobScheduler;
use crate::restore::{PlanSummary, Refusal, RestorePlan};
use crate::source::postgres_dump::capture::DATABASE;

/// From this version on pg_restore begins every session with a setting that older servers do not know.
const FIRST_WITH_TRANSACTION_TIMEOUT: u32 = 17;

/// What will be done, in every detail that an operator may want to know first.
#[derive(Clone, Debug, Serialize)]
pub struct DumpRestorePlan {
    pub backup: BackupId,
    pub source: SourceName,
    /// The time whose data is restored.
    pub recovery_point: DateTime<Utc>,
    /// The age of that data, in seconds: how much newer data there may have been.
    pub age_seconds: i64,
    /// In the order they are tried.
    pub repositories: Vec<RepositoryName>,
    pub server: String,
    pub server_version: String,
    pub database: String,
    /// The name it has until it was compared.
    pub temporary: String,
    pub loads_into: LoadsInto,
    /// The name it gets instead if something is missing; absent where that is not allowed.
    pub incomplete: Option<String>,
    /// An empty database has the name; it is replaced.
    pub replaces_empty: bool,
    pub owner: Option<String>,
    pub encoding: String,
    pub locale: String,
    pub stored_bytes: u64,
    pub plain_bytes: u64,
    /// The size of the database on disk where it was dumped.
    pub database_bytes: u64,
    pub tables: u64,
    pub rows: u64,
    /// The number of them in the backup.
    pub large_objects: u64,
    /// Whether they are restored.
    pub restores_large_objects: bool,
    pub route: DumpTransfer,
    pub jobs: u32,
    pub tool: String,
    /// Seconds, estimated from earlier restores; absent where there was none.
    pub estimated_seconds: Option<f64>,
    pub measured_by: Rates,
    /// What is restored, where it is not everything.
    pub selection: Option<String>,
    /// What is left out of that.
    pub exclusion: Option<String>,
    pub globals: Option<GlobalsPlan>,
    /// Leftovers of earlier restores on the server.
    pub leftovers: Vec<LeftoverDatabase>,
    pub drop_leftovers: bool,
    /// The schedulers whose jobs are restored inactive.
    pub deactivates_jobs_of: Vec<&'static str>,
    /// Notes for the operator before the restore.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub(super) steps: DumpRestoreSteps,
}

/// What only the execution needs.
#[derive(Clone, Debug)]
pub(super) struct DumpRestoreSteps {
    pub(super) manifest: Manifest,
    pub(super) dump: Artifact,
    /// The server and the role, and the database to create.
    pub(super) target: ConnectionParameters,
    pub(super) recorded: DatabaseFacts,
    pub(super) properties: Properties,
    pub(super) target_major: u32,
    pub(super) tools: Tools,
    pub(super) selection: EntrySelection,
    pub(super) exclusion: Exclusion,
    pub(super) owners: bool,
    pub(super) tablespaces: bool,
    /// Whether the restoring role is exempt from connection limits.
    pub(super) superuser: bool,
    /// Settings of the sessions that work in the database before it is published.
    pub(super) session: Vec<(&'static str, String)>,
    /// pg_restore sends settings that the server does not know, and must not end because of them.
    pub(super) tolerates_settings: bool,
    /// Whether comments on extensions are loaded in a pass that may fail: only owners and superusers may set
    /// them.
    pub(super) comments_apart: bool,
    /// Whether a stream is loaded to its end though materialised views are not filled.
    pub(super) goes_past_views: bool,
    pub(super) deactivates: Vec<&'static JobScheduler>,
    /// The archive's contents, where they could be read ahead.
    pub(super) entries: Option<Vec<TocEntry>>,
}

/// Makes the plan, or returns every reason against it at once.
///
/// `seed`: any random number; it gives concurrent restores on one server different names.
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
        globals::plan(script, existing_globals(target), needs)
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
    let existing = standing(request, target);
    let entries = situation.contents.as_ref().map(|contents| contents.entries.as_slice());
    let properties = Properties::decide(recorded, request.owners, loads_into, existing);
    let route = route(request, &dump, loads_into, situation.scratch_free);
    let tolerates_settings =
        tools.major >= FIRST_WITH_TRANSACTION_TIMEOUT && target.major < FIRST_WITH_TRANSACTION_TIMEOUT;
    let is_streamed = route == DumpTransfer::Stream;
    let goes_past_views = is_streamed && request.incomplete.is_none() && goes_past_views(entries);
    let leaves_unfilled = !is_streamed || request.incomplete.is_some() || goes_past_views;
    let deactivates = if request.active_jobs { vec![] } else { loaded_schedulers(request, &situation) };
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
        replaces_empty: loads_into == LoadsInto::Temporary && existing.is_some(),
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
        large_objects: recorded.large_objects,
        restores_large_objects: !request.leaves_out_large_objects(),
        estimated_seconds: situation.rates.estimate(weight, is_streamed),
        measured_by: situation.rates,
        jobs: request.jobs,
        tool: tools.version.replace("pg_dump", "pg_restore"),
        selection: (!request.selection.is_everything()).then(|| request.selection.to_string()),
        exclusion: (!request.exclusion.is_nothing()).then(|| request.exclusion.to_string()),
        leftovers: target.leftovers.clone(),
        drop_leftovers: request.drop_leftovers,
        deactivates_jobs_of: deactivates.iter().map(|scheduler| scheduler.name).collect(),
        notes: notes(
            request,
            &situation,
            &foreseen,
            (&properties, globals_plan.as_ref()),
            &NotedLoad { tolerates_settings, leaves_unfilled },
        ),
        globals: globals_plan,
        route,
        steps: DumpRestoreSteps {
            session: session(target),
            manifest: manifest.clone(),
            dump,
            target: request.target.clone(),
            recorded: recorded.clone(),
            properties,
            target_major: target.major,
            tools: tools.clone(),
            selection: request.selection.clone(),
            exclusion: request.exclusion.clone(),
            owners: request.owners,
            tablespaces: request.tablespaces,
            superuser: target.superuser,
            tolerates_settings,
            comments_apart: !target.superuser
                && entries.is_some_and(|entries| {
                    entries.iter().any(is_extension_comment) && !is_ambiguous(entries)
                }),
            goes_past_views,
            deactivates,
            entries: entries.map(<[TocEntry]>::to_vec),
        },
    })
}

fn existing_globals(target: &DatabaseServerFacts) -> Existing<'_> {
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

/// Returns the settings of the sessions that work in the database. All are safe, because nothing depends on
/// the database until it is published: if the server crashes before, the restore has failed and starts over.
///
/// - `synchronous_commit`: with it on, every one of thousands of small statements waits for the disk.
/// - `maintenance_work_mem` keeps the server's value. More of it was measured to make a load slower, by a
///   quarter with 1 GB: more processes work on an index than there are processors.
/// - `lc_messages`: the causes of errors are classified by their messages. Only superusers may set it.
/// - `event_triggers`: those in the dump must not fire on the restore itself. Only superusers may set it.
fn session(target: &DatabaseServerFacts) -> Vec<(&'static str, String)> {
    let mut settings = vec![("synchronous_commit", "off".to_owned())];
    if target.superuser {
        settings.push(("lc_messages", "C".to_owned()));
    }
    let triggers = without_event_triggers(target.major).filter(|_| target.superuser);
    settings.extend(triggers.map(|(name, value)| (name, value.to_owned())));
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
    /// Returns the parameters of connections into the database that is being restored.
    pub(super) fn inside(&self) -> ConnectionParameters {
        let mut database = self.steps.target.with_database(&self.temporary);
        database.settings.extend(self.steps.session.iter().cloned());
        database
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TableKind;
    use crate::restore::logical::ExistingDatabase;
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

    #[test]
    fn the_plan_says_what_becomes_of_a_view_that_cannot_be_filled() {
        let ends = |change: fn(&mut DumpRestoreRequest, &mut DumpSurvey)| {
            let plan = planned(|request, situation| {
                situation.recorded.tables[0].kind = TableKind::MaterializedView;
                change(request, situation);
            });
            let note = plan.notes.iter().find(|note| note.contains("filled by their queries")).unwrap();
            assert!(note.contains("is reported") != note.contains("ends the load"), "{note}");
            (note.contains("ends the load"), plan.steps.goes_past_views)
        };
        assert_eq!(ends(|_, _| {}), (false, false), "a pass of its own fills it");
        // From a stream it is known only where the archive's contents are.
        assert_eq!(ends(|request, _| request.jobs = 1), (true, false));
        assert_eq!(ends(|request, situation| (request.jobs, situation.contents) = (1, None)), (true, false));
        let listed = planned(|request, situation| {
            request.jobs = 1;
            situation.recorded.tables[0].kind = TableKind::MaterializedView;
            let view = TocEntry::for_test(7, "MATERIALIZED VIEW DATA", "public", "orders", &[]);
            situation.contents.as_mut().unwrap().entries.push(view);
        });
        assert!(listed.steps.goes_past_views && listed.notes.iter().any(|note| note.contains("is reported")));
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
            connection_limit: -1,
            ..ExistingDatabase::default()
        }
    }

    #[test]
    fn what_an_existing_database_has_of_its_own_is_named() {
        let own = || {
            let setting = crate::model::RoleSetting {
                role: None,
                name: "work_mem".to_owned(),
                value: "1MB".to_owned(),
            };
            ExistingDatabase { comment: Some("x".to_owned()), settings: vec![setting], ..empty() }
        };
        let into = planned(|request, situation| {
            request.keeps_name = true;
            situation.recorded.comment = Some("the shop".to_owned());
            situation.target.existing = Some(own());
        });
        let note = "the database keeps what it has of its own: a comment, the setting work_mem; of the backup is not \
                    applied: the comment";
        assert!(into.notes.iter().any(|told| told == note), "{:?}", into.notes);
        let replaced = planned(|_, situation| situation.target.existing = Some(own()));
        let note = "the empty database that is replaced has properties of its own, which go with it: a comment, the setting \
                    work_mem";
        assert!(replaced.notes.iter().any(|told| told == note), "{:?}", replaced.notes);
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
    fn large_objects_that_a_partial_restore_leaves_out_are_named() {
        let partial = |large_objects: u64, with: bool| {
            planned(|request, situation| {
                request.selection.tables.push(("public".to_owned(), "orders".to_owned()));
                request.selection.large_objects = with;
                situation.recorded.large_objects = large_objects;
            })
        };
        let is_told = |plan: &DumpRestorePlan| {
            plan.notes.iter().any(|note| note.contains("2 large objects are in the backup"))
        };
        let left_out = partial(2, false);
        assert!(is_told(&left_out) && !left_out.restores_large_objects, "{:?}", left_out.notes);
        let with = partial(2, true);
        assert!(!is_told(&with) && with.restores_large_objects && with.large_objects == 2);
        assert!(!partial(0, false).notes.iter().any(|note| note.contains("large object")));
        let everything = planned(|_, situation| situation.recorded.large_objects = 2);
        assert!(!is_told(&everything) && everything.restores_large_objects);
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
