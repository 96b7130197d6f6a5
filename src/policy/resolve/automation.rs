use std::collections::BTreeMap;
use std::time::Duration;

use super::{ResolveBase, repository, source};
use crate::model::BackupKind;
use crate::policy::automation::{BackupTimes, Check, CronLine, Drill, Expectation, Pick, Probe, Schedule};
use crate::policy::decode::{Diagnostics, OneOrMany, Spanned};
use crate::policy::recovery_point::PointPolicy;
use crate::policy::schema::{CheckTable, DrillTable, ScheduleEntry, ScheduleTable};
use crate::policy::settings::{Objectives, RepositoryConfig};
use crate::policy::source::Source;
use crate::text::suggest;

/// What these settings refer to.
pub(super) struct ResolveContext<'p> {
    pub(super) sources: &'p [Source],
    pub(super) repositories: &'p [RepositoryConfig],
    pub(super) objectives: Option<Objectives>,
    pub(super) point: Option<&'p PointPolicy>,
}

pub(super) fn schedule(
    table: &ScheduleTable,
    context: &ResolveContext<'_>,
    log: &mut Diagnostics<'_>,
) -> Schedule {
    let mut backups = Vec::new();
    for (name, entry) in table.sources.iter().flat_map(|sources| &sources.0) {
        let Some(source) = source::known(&name.value, &name.spot, context.sources, log) else { continue };
        let kinds: Vec<&str> = source.kinds.iter().map(|kind| kind.as_str()).collect();
        match &entry.value {
            ScheduleEntry::All(times) => match source.kinds.as_slice() {
                [kind] => backups.extend(backup_times(source, *kind, times)),
                [] => {}
                _ => {
                    let hint = format!(
                        "write it like `{} = {{ {} = \"15 3 * * *\" }}`",
                        source.name,
                        kinds.join(" = …, ")
                    );
                    log.fault(&entry.spot, format!("`{}` has several methods", source.name), hint);
                }
            },
            ScheduleEntry::ByMethod(methods) => {
                for (method, times) in &methods.0 {
                    match source.kinds.iter().find(|kind| kind.as_str() == method.as_str()) {
                        Some(kind) => backups.extend(backup_times(source, *kind, times)),
                        None => {
                            let message = format!("`{}` is not a method of `{}`", method.value, source.name);
                            log.fault(&method.spot, message, suggest("its methods", method, &kinds));
                        }
                    }
                }
            }
        }
    }
    let point = lines(&table.recovery_point);
    match (&table.recovery_point, context.point) {
        (Some(times), None) => {
            log.fault(
                &times.spot,
                "has no sources that belong together",
                "add `[recovery_point]`, or remove it",
            );
        }
        (Some(_), Some(members)) if !point.is_empty() => {
            backups.extend(point_times(members, context.sources, &point));
        }
        _ => {}
    }
    Schedule {
        point,
        timezone: table.timezone.as_ref().map_or(chrono_tz::Tz::UTC, |zone| zone.0),
        backups,
        verify: lines(&table.verify),
        retention: lines(&table.retention),
    }
}

fn backup_times(source: &Source, kind: BackupKind, times: &OneOrMany<CronLine>) -> Option<BackupTimes> {
    let lines: Vec<CronLine> = times.0.iter().map(|line| line.value.clone()).collect();
    (!lines.is_empty()).then(|| BackupTimes { source: source.name.clone(), kind, lines, in_point: false })
}

/// Returns what is taken as the recovery point: of each member its dump, where it has one.
fn point_times(point: &PointPolicy, sources: &[Source], lines: &[CronLine]) -> Vec<BackupTimes> {
    let members = point.members.iter().filter_map(|name| sources.iter().find(|source| source.name == *name));
    let times = members.filter_map(|source| {
        let dump = source.kinds.iter().find(|kind| **kind == BackupKind::Logical);
        let kind = *dump.or_else(|| source.kinds.first())?;
        Some(BackupTimes { source: source.name.clone(), kind, lines: lines.to_vec(), in_point: true })
    });
    times.collect()
}

fn lines(times: &Option<Spanned<OneOrMany<CronLine>>>) -> Vec<CronLine> {
    times.iter().flat_map(|times| &times.0).map(|line| line.value.clone()).collect()
}

pub(super) fn drill(
    table: &Spanned<DrillTable>,
    context: &ResolveContext<'_>,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> Option<Drill> {
    let source = match (&table.source, context.sources) {
        (Some(name), sources) => source::known(&name.value, &name.spot, sources, log),
        (None, [only]) => Some(only),
        (None, []) => None,
        (None, [first, ..]) => {
            if !log.has_faults_at(&table.spot.below("source")) {
                log.missing(&table.spot, "source", &format!("\"{}\"", first.name));
            }
            None
        }
    };
    let from = table.from.as_ref().filter(|name| repository::known(name, context.repositories, log));
    let checks =
        table.checks.iter().flat_map(|checks| &checks.value).filter_map(|table| check(table, log)).collect();
    Some(Drill {
        schedule: lines(&table.schedule),
        source: source?.name.clone(),
        from: from.map(|name| name.value.clone()),
        pick: table.pick.as_deref().copied().unwrap_or(Pick::Latest),
        identity: base.secret(&table.identity),
        deadline: table
            .deadline
            .as_ref()
            .map(|deadline| deadline.0)
            .or(context.objectives.map(|objectives| objectives.rto))
            .unwrap_or(Duration::from_secs(4 * 3600)),
        role: table.role.as_deref().cloned(),
        database: table.database.as_deref().cloned(),
        detect: table.detect.as_ref().map(|allowed| allowed.0).unwrap_or_default(),
        cut_over: table.cut_over.as_ref().map(|allowed| allowed.0).unwrap_or_default(),
        directory: table.directory.as_deref().cloned(),
        runbook: table.runbook.as_deref().cloned(),
        runbook_parameters: runbook_parameters(table),
        allow_unverified_isolation: table.danger_unverified_isolation.as_deref().copied().unwrap_or_default(),
        checks,
    })
}

fn runbook_parameters(table: &Spanned<DrillTable>) -> BTreeMap<String, String> {
    let parameters = table.runbook_parameters.iter().flat_map(|parameters| &parameters.0);
    parameters.map(|(name, value)| (name.value.clone(), value.value.clone())).collect()
}

fn check(table: &Spanned<CheckTable>, log: &mut Diagnostics<'_>) -> Option<Check> {
    let faulty = log.has_faults_at(&table.spot);
    let mut expectations = Vec::new();
    expectations.extend(table.equals.as_deref().cloned().map(Expectation::Equals));
    expectations.extend(table.at_least.as_ref().map(|least| Expectation::AtLeast(least.0)));
    expectations.extend(table.at_most.as_ref().map(|most| Expectation::AtMost(most.0)));
    expectations.extend(table.newer_than.as_ref().map(|age| Expectation::NewerThan(age.0)));
    let probe = match (&table.sql, &table.command, &table.http) {
        (Some(query), None, None) => {
            if expectations.is_empty() && !faulty {
                let hint =
                    "add `equals`, `at_least`, `at_most` or `newer_than`: a check must be able to fail";
                log.fault(&table.spot, "expects nothing of its query", hint);
            }
            Probe::Sql { query: query.value.clone(), expectations }
        }
        (None, Some(command), None) if !command.is_empty() => {
            unexpected(table, &expectations, log);
            Probe::Command(command.iter().map(|word| word.value.clone()).collect())
        }
        (None, None, Some(url)) => {
            unexpected(table, &expectations, log);
            Probe::Http(url.0.clone())
        }
        _ => {
            if !faulty {
                log.fault(
                    &table.spot,
                    "must have one of `sql`, `command` and `http`",
                    "give just one of them",
                );
            }
            return None;
        }
    };
    Some(Check { name: table.name.as_deref()?.clone(), probe })
}

fn unexpected(table: &Spanned<CheckTable>, expectations: &[Expectation], log: &mut Diagnostics<'_>) {
    if !expectations.is_empty() {
        let hint = "`equals`, `at_least`, `at_most` and `newer_than` go with `sql`";
        log.fault(&table.spot, "expects a value, and is not a query", hint);
    }
}
