//! Which jobs a restore would load, and what becomes of them. Pure.

use super::loading::cron_may_be_in;
use super::{DumpRestoreRequest, DumpSurvey};
use crate::restore::scheduled_jobs::{JobScheduler, NOT_CHANGED, PG_CRON, SCHEDULERS};

/// Returns the schedulers whose jobs the restore would load.
pub(super) fn loaded_schedulers(
    request: &DumpRestoreRequest,
    situation: &DumpSurvey,
) -> Vec<&'static JobScheduler> {
    let (recorded, target) = (&situation.recorded, &situation.target);
    let is_loaded = |scheduler: &&JobScheduler| {
        let JobScheduler { schema, table, extension, .. } = scheduler;
        let is_there = recorded.extensions.iter().any(|recorded| recorded.name == *extension)
            || recorded.tables.iter().any(|recorded| recorded.schema == *schema && recorded.name == *table);
        let is_selected = request.selection.is_everything() || request.selection.names(schema, table);
        let may_be = **scheduler != PG_CRON
            || target.extensions.contains_key(PG_CRON.extension) && cron_may_be_in(request, target);
        is_there && is_selected && may_be && !request.exclusion.leaves_out(schema, table)
    };
    SCHEDULERS.into_iter().filter(is_loaded).collect()
}

/// Returns notes on what happens to jobs.
pub(super) fn notes(request: &DumpRestoreRequest, situation: &DumpSurvey) -> Vec<String> {
    let mut notes: Vec<String> = loaded_schedulers(request, situation)
        .into_iter()
        .map(|scheduler| note(scheduler, request.active_jobs))
        .collect();
    let others = situation.recorded.extensions.iter().map(|extension| extension.name.as_str());
    notes.extend(others.filter(|name| NOT_CHANGED.contains(name)).map(|name| {
        format!(
            "jobs of {name}, if it has any, are restored as they are, and may run once the database is published"
        )
    }));
    notes
}

fn note(scheduler: &JobScheduler, keeps_active: bool) -> String {
    let name = scheduler.name;
    let where_to = match *scheduler == PG_CRON {
        true => ", in the server that `nodename` and `nodeport` of `cron.job` name, which may be production",
        false => "",
    };
    match keeps_active {
        true => format!(
            "the jobs of {name} stay active, as `--with-active-jobs` says: they run as soon as they are loaded{where_to}"
        ),
        false => format!(
            "the jobs of {name} are restored inactive: active ones would run{where_to}. The report has the statement that turns each on; `--with-active-jobs` leaves them as they were"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::logical::tests::{request, situation};

    fn schedulers(change: impl FnOnce(&mut DumpRestoreRequest, &mut DumpSurvey)) -> Vec<&'static str> {
        let (mut request, mut situation) = (request(), situation());
        request.keeps_name = true;
        situation.target.cron_database = Some("restored".to_owned());
        situation.target.extensions.insert("pg_cron".to_owned(), "1.6".to_owned());
        situation.recorded.extensions[0].name = "pg_cron".to_owned();
        change(&mut request, &mut situation);
        loaded_schedulers(&request, &situation).into_iter().map(|scheduler| scheduler.name).collect()
    }

    #[test]
    fn jobs_are_held_back_wherever_they_are_loaded() {
        assert_eq!(schedulers(|_, _| {}), ["pg_cron"]);
        // Where pg_cron cannot be, its jobs are not loaded.
        assert!(schedulers(|_, found| found.target.cron_database = Some("postgres".to_owned())).is_empty());
        assert!(schedulers(|request, _| request.keeps_name = false).is_empty());
        assert!(schedulers(|_, found| found.target.extensions.clear()).is_empty());
        assert!(schedulers(|request, _| request.exclusion.schemas.push("cron".to_owned())).is_empty());
        assert!(schedulers(|request, _| request.selection.schemas.push("public".to_owned())).is_empty());
        assert_eq!(schedulers(|request, _| request.selection.schemas.push("cron".to_owned())), ["pg_cron"]);
    }

    #[test]
    fn tables_of_schedulers_outside_of_the_server_count_without_an_extension() {
        let found = schedulers(|request, situation| {
            request.keeps_name = false;
            situation.recorded.extensions[0].name = "pgagent".to_owned();
            let table = &mut situation.recorded.tables[0];
            (table.schema, table.name) = ("timetable".to_owned(), "chain".to_owned());
        });
        assert_eq!(found, ["pgAgent", "pg_timetable"]);
    }

    #[test]
    fn the_plan_says_what_becomes_of_jobs() {
        let told = |active_jobs: bool, extension: &str| {
            let (mut request, mut situation) = (request(), situation());
            request.active_jobs = active_jobs;
            situation.recorded.extensions[0].name = extension.to_owned();
            notes(&request, &situation).join("\n")
        };
        assert!(told(false, "pgagent").contains("are restored inactive"));
        assert!(told(true, "pgagent").contains("stay active"));
        assert!(told(false, "timescaledb").contains("restored as they are"));
        assert_eq!(told(false, "hstore"), "");
    }
}
