//! What the verbs begin with: the records of the drills in every repository, put together.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::catalog::Catalog;
use crate::cli::Context;
use crate::cli::catalog_view::{brought_up, recall, warn_lost};
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::drill::evidence::{self, StoredDrill, StoredDrills};
use crate::drill::forecast::{DrillPath, Forecast, forecast, forecasts};
use crate::drill::integrity::{Evidence, JournaledDrill, RepositoryDrills, combine};
use crate::drill::population::{DrillSchedule, Overdue, overdue};
use crate::drill::{Acknowledgement, DrillRecord};
use crate::model::{RepositoryName, RunId, Sha256Hex};
use crate::policy::Policy;
use crate::report::DrillReport;
use crate::repository::{Repositories, layout};
use crate::text::{error_chain, format_time};

/// The drills of a policy's system.
pub(super) struct DrillView {
    pub(super) policy: Policy,
    pub(super) repositories: Repositories,
    pub(super) evidence: Evidence,
    read: Vec<RepositoryDrills>,
    /// The repositories that were not read, and why.
    pub(super) unread: Vec<(RepositoryName, String)>,
    /// When the drilled source was first backed up, as far as is known.
    pub(super) first_backup: Option<DateTime<Utc>>,
}

impl DrillView {
    pub(super) async fn open(context: &Context) -> Result<Self, CommandError> {
        Ok(Self::of_policy(context, context.policy()?).await)
    }

    /// Reads every repository. Those that could not be read are reported on stderr.
    pub(super) async fn of_policy(context: &Context, policy: Policy) -> Self {
        let (catalog, repositories) = recall(context, &policy, context.repositories(&policy).await).await;
        let repositories = repositories.for_reading(&policy.system, None).await;
        repositories.lost().iter().for_each(|lost| warn_lost(context, lost));
        let lost = repositories.lost().iter();
        let mut unread: Vec<_> = lost.map(|lost| (lost.name.clone(), lost.reason())).collect();
        // Before the records: one that is written meanwhile must not seem to have been removed.
        let journal = match journaled(context, &policy, catalog, &repositories).await {
            Ok(journal) => journal,
            Err(error) => {
                context.output.warn(format!("records that were removed may go unnoticed: {error}"));
                (vec![], None)
            }
        };
        let (journal, first_backup) = journal;
        let mut read = Vec::new();
        for repository in repositories.iter() {
            let name = repository.name.clone();
            match evidence::read(&*repository.store, &policy.system).await {
                Ok(StoredDrills { history, unreadable }) => {
                    read.push(RepositoryDrills { repository: name, history, unreadable })
                }
                Err(error) => {
                    let reason = error_chain(&error);
                    context.output.warn(format!("failed to query repository `{name}`: {reason}"));
                    unread.push((name, reason));
                }
            }
        }
        let evidence = combine(&read, &journal, unread.is_empty());
        for damage in &evidence.damage {
            context.output.warn(damage.to_string());
        }
        // What was restored had been backed up.
        let restored =
            evidence.history.drills.iter().filter_map(|drill| drill.record.sample.recovery_point).min();
        let first_backup = first_backup.map(|first| restored.map_or(first, |restored| first.min(restored)));
        Self { policy, repositories, evidence, read, unread, first_backup }
    }

    /// Returns the drills, the oldest first.
    pub(super) fn drills(&self) -> &[StoredDrill] {
        &self.evidence.history.drills
    }

    /// Returns the names of the repositories that were read, and the number of records in each.
    pub(super) fn counts(&self) -> Vec<(RepositoryName, usize)> {
        self.read.iter().map(|read| (read.repository.clone(), read.history.drills.len())).collect()
    }

    /// Returns when drills are due; `None`: the policy has no `[drill]`.
    pub(super) fn schedule(&self) -> Option<DrillSchedule<'_>> {
        let drill = self.policy.drill.as_ref()?;
        Some(DrillSchedule {
            source: &drill.source,
            lines: &drill.schedule,
            zone: self.policy.schedule.timezone,
        })
    }

    pub(super) fn overdue(&self, now: DateTime<Utc>) -> Option<Overdue> {
        overdue(&self.schedule()?, &self.evidence.history, self.first_backup, now)
    }

    /// Finds the drill with this id or prefix; the newest where none is given.
    pub(super) fn find(&self, text: Option<&str>) -> Result<&StoredDrill, CommandError> {
        let Some(text) = text else {
            return self.drills().last().ok_or_else(|| {
                CommandError::failed("there is no record of a drill").hint(self.how_to_begin())
            });
        };
        let matching = self.drills().iter().filter(|drill| id(drill).as_str().starts_with(text));
        let found: Vec<&StoredDrill> = matching.collect();
        match found.as_slice() {
            [only] => Ok(only),
            [] => {
                let hint = match self.unread.is_empty() {
                    true => "`drctl drill list` shows what there is.",
                    false => "Not every repository could be read. Repeat it when they can be reached.",
                };
                Err(CommandError::usage(format!("there is no drill `{text}`")).hint(hint))
            }
            several => {
                let ids: Vec<String> = several.iter().map(|drill| format!("`{}`", id(drill))).collect();
                let error = format!("`{text}` may be any of {}", ids.join(", "));
                Err(CommandError::usage(error).hint("Give more of the id."))
            }
        }
    }

    /// Returns what to do where there is no drill yet.
    pub(super) fn how_to_begin(&self) -> String {
        let how = "`drctl drill run` restores a backup into a sandbox, checks it, measures it, and records the result.";
        match &self.policy.drill {
            Some(drill) if drill.schedule.is_empty() => {
                format!(
                    "{how} With a `schedule` under `[drill]`, `drctl drill list` reports drills that were not run."
                )
            }
            Some(_) => how.to_owned(),
            None => format!("{how} The policy needs a `[drill]` with its checks."),
        }
    }

    /// Returns the repositories that have the record of a drill.
    pub(super) fn holders(&self, drill: &RunId) -> Vec<RepositoryName> {
        let has = |read: &&RepositoryDrills| read.history.drills.iter().any(|stored| id(stored) == drill);
        self.read.iter().filter(has).map(|read| read.repository.clone()).collect()
    }

    /// Returns whether every repository that was read has an acknowledgement of the drill.
    pub(super) fn is_acknowledged_everywhere(&self, drill: &RunId) -> bool {
        let has = |read: &RepositoryDrills| {
            let mut own = read.history.drills.iter().filter(|stored| id(stored) == drill);
            own.any(|stored| stored.acknowledgement.is_some())
        };
        self.read.iter().all(has)
    }

    pub(super) fn damage_of(&self, drill: &RunId) -> Vec<String> {
        let own = self.evidence.damage.iter().filter(|damage| damage.drill() == Some(drill));
        own.map(ToString::to_string).collect()
    }

    /// Returns the forecast of every path that drills took, by the policy's objective.
    pub(super) fn forecasts(&self, now: DateTime<Utc>) -> Vec<(DrillPath, Forecast)> {
        let records: Vec<&DrillRecord> = self.sound().collect();
        forecasts(&records, self.policy.objectives.rto.as_secs_f64(), now)
    }

    fn forecast(&self, path: &DrillPath, now: DateTime<Utc>) -> Forecast {
        forecast(self.sound(), path, self.policy.objectives.rto.as_secs_f64(), now)
    }

    /// Returns the records that match their digests.
    fn sound(&self) -> impl Iterator<Item = &DrillRecord> {
        self.drills().iter().filter(|drill| drill.matches_digest).map(|drill| &drill.record)
    }

    /// Returns a drill, and what is known beside its record.
    pub(super) fn report<'a>(&'a self, drill: &'a StoredDrill, now: DateTime<Utc>) -> DrillReport<'a> {
        let path = DrillPath::of(&drill.record);
        let is_past = |other: &&StoredDrill| {
            other.record.begun <= drill.record.begun && DrillPath::of(&other.record) == path
        };
        DrillReport {
            damage: self.damage_of(id(drill)),
            key: layout::drill_record(&drill.record.identity.system, id(drill)),
            repositories: self.holders(id(drill)),
            past: self.drills().iter().filter(is_past).collect(),
            forecast: path.map(|path| self.forecast(&path, now)),
            made_at: now,
            drill,
        }
    }

    /// Returns how a verb that only reads ends. What cannot be relied on comes first; a drill may seem overdue only
    /// because a repository was not read.
    pub(super) fn exit(&self, context: &Context, overdue: Option<Overdue>) -> Exit {
        for damage in &self.evidence.damage {
            context.output.reason(damage.to_string());
        }
        if !self.evidence.damage.is_empty() {
            return Exit::DrillFailed;
        }
        if !self.unread.is_empty() {
            context.output.reason("not every repository could be read");
            return Exit::Partly;
        }
        match overdue {
            Some(overdue) => {
                let due = format_time(overdue.due);
                context.output.reason(format!("the drill that was due at {due} is overdue"));
                Exit::ObjectiveMissed
            }
            None => Exit::Done,
        }
    }
}

/// Returns the records of drills that the journal names, the catalog's and what is new in the repositories, and when the
/// first backup of the drilled source was taken.
async fn journaled(
    context: &Context,
    policy: &Policy,
    catalog: Option<Catalog>,
    repositories: &Repositories,
) -> Result<(Vec<JournaledDrill>, Option<DateTime<Utc>>), CommandError> {
    let (catalog, _) = brought_up(context, policy, catalog, repositories).await?;
    let runs = catalog.drill_runs().await;
    let first = match &policy.drill {
        Some(drill) => catalog.first_backup(&drill.source).await,
        None => Ok(None),
    };
    catalog.close().await;
    Ok((runs?.iter().filter_map(JournaledDrill::of).collect(), first?))
}

pub(super) fn id(drill: &StoredDrill) -> &RunId {
    &drill.record.identity.drill
}

/// One drill as a document: its record as it is stored, and what is known beside it.
#[derive(Serialize)]
pub(super) struct DrillDocument<'a> {
    record: &'a DrillRecord,
    sha256: Sha256Hex,
    matches_digest: bool,
    damage: &'a [String],
    key: &'a str,
    repositories: &'a [RepositoryName],
    acknowledgement: Option<&'a Acknowledgement>,
    forecast: Option<&'a Forecast>,
    /// Drills on the same path, the oldest first.
    past: Vec<&'a RunId>,
    /// The command that repeats it.
    repeat: String,
}

impl<'a> DrillDocument<'a> {
    pub(super) fn of(report: &'a DrillReport<'a>) -> Self {
        Self {
            record: &report.drill.record,
            sha256: report.drill.sha256,
            matches_digest: report.drill.matches_digest,
            damage: &report.damage,
            key: &report.key,
            repositories: &report.repositories,
            acknowledgement: report.drill.acknowledgement.as_ref(),
            forecast: report.forecast.as_ref(),
            past: report.past.iter().map(|past| id(past)).collect(),
            repeat: crate::report::repeat_command(&report.drill.record),
        }
    }
}
