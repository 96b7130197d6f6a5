//! The state of RDS for a database in each region: drctl's snapshots, and RDS's own automated backups.

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use super::region::{AutomatedReach, ForeignBackup, LiveDatabase, RegionInventory};
use crate::aws::rds::{AutomatedBackup, Database, Rds, Snapshot};
use crate::aws::{AwsFailure, RESTORED_FROM, while_asked};
use crate::catalog::BackupEntry;
use crate::event::Events;
use crate::model::{BackupId, SourceName, SystemName};
use crate::policy::{RdsDatabase, RdsSource};
use crate::source::rds_snapshot::{backup_of, is_recorded};
use crate::text::error_chain;

/// The answer of a region.
struct RdsAnswer {
    backups: Vec<BackupId>,
    /// Automated backups of databases that have or had the name.
    automated: Vec<AutomatedBackup>,
    /// In its own region only.
    database: Option<Database>,
    live: Option<LiveDatabase>,
}

/// The parameters of the queries.
pub(crate) struct RdsQueryResults<'a> {
    pub(crate) system: &'a SystemName,
    pub(crate) name: &'a SourceName,
    /// The sources of the same database, including this one.
    pub(crate) sources: &'a [&'a SourceName],
    pub(crate) source: &'a RdsSource,
    /// The known backups.
    pub(crate) entries: &'a [BackupEntry],
}

impl RdsQueryResults<'_> {
    pub(crate) async fn each(
        &self,
        regions: impl Iterator<Item = &str>,
        events: &Events,
    ) -> (Option<LiveDatabase>, Vec<RegionInventory>) {
        let asked = regions.map(async |region| {
            let place = self.source.place.in_region(region);
            let answer = match Rds::to_look(&place).await.map_err(|error| error_chain(&error)) {
                Ok(rds) => {
                    while_asked(&place, events, self.one(&rds)).await.map_err(|failure| error_chain(&failure))
                }
                Err(reason) => Err(reason),
            };
            (region, answer)
        });
        let answers = join_all(asked).await;
        let live = answers.iter().find_map(|(_, answer)| answer.as_ref().ok()?.live.clone());
        let holdings =
            answers.into_iter().map(|(region, answer)| holding(region, answer, live.as_ref())).collect();
        (live, holdings)
    }

    async fn one(&self, rds: &Rds) -> Result<RdsAnswer, AwsFailure> {
        let source = self.source;
        let snapshots = rds.manual_snapshots(&source.database).await?;
        let own = |snapshot: &Snapshot| {
            let backup = backup_of(snapshot, self.system, self.name)?;
            let known = self.entries.iter().find(|entry| *entry.id() == backup);
            let managed = known.and_then(|entry| entry.manifest.managed.as_ref());
            managed.is_none_or(|managed| is_recorded(snapshot, managed)).then_some(backup)
        };
        let backups = snapshots.iter().filter(|snapshot| snapshot.is_available()).filter_map(own).collect();
        let is_home = rds.region() == source.place.region;
        let database = if is_home { rds.database(&source.database).await? } else { None };
        let live = match &database {
            Some(database) => Some(self.live(rds, database).await?),
            None => None,
        };
        let automated = match source.database {
            // Those of a cluster are in its own region only: of the existing one, or of deleted ones.
            RdsDatabase::Cluster(_) if !is_home || database.is_some() => vec![],
            _ => rds.automated_backups_of(&source.database).await?,
        };
        let home = &source.place.region;
        // In another region a database may have the same name.
        let own = |backup: &AutomatedBackup| backup.database_region.as_ref().unwrap_or(home) == home;
        Ok(RdsAnswer { backups, automated: automated.into_iter().filter(own).collect(), database, live })
    }

    /// Queries the live database. Where it is not the one that was backed up, the names left by a switchover
    /// are looked up.
    async fn live(&self, rds: &Rds, database: &Database) -> Result<LiveDatabase, AwsFailure> {
        let is_of = |name: &&&SourceName| database.tags.is_of(self.system, name);
        let is_restored =
            database.tags.get(RESTORED_FROM).is_some() && self.sources.iter().any(|name| is_of(&name));
        let own = self.entries.iter().filter(|entry| entry.manifest.source == *self.name);
        let backed_up: Vec<&String> =
            own.filter_map(|entry| entry.manifest.managed.as_ref()?.resource_id.as_ref()).collect();
        let is_another = !backed_up.is_empty() && !backed_up.contains(&&database.resource_id);
        let mut predecessors =
            if is_another && !is_restored { rds.predecessors(&database.id).await? } else { vec![] };
        predecessors.retain(|predecessor| backed_up.contains(&&predecessor.resource_id));
        Ok(LiveDatabase { resource_id: database.resource_id.clone(), is_restored, predecessors })
    }
}

fn holding(region: &str, answer: Result<RdsAnswer, String>, live: Option<&LiveDatabase>) -> RegionInventory {
    let holding = RegionInventory { region: region.to_owned(), ..RegionInventory::default() };
    match answer {
        Ok(answer) => {
            let database = answer.database.as_ref();
            let restorable = (
                database.and_then(|database| database.earliest_restorable),
                database.and_then(|database| database.latest_restorable),
            );
            let (automated, of_other) = reach(&answer.automated, restorable, live);
            RegionInventory { backups: answer.backups, automated, of_other, ..holding }
        }
        Err(reason) => RegionInventory { unknown: Some(reason), ..holding },
    }
}

/// Returns the range of automated backups in a region: of the database that runs there, or is replicated from
/// it, or retained after deletion. Where the current owner of the name is known, those of another database do
/// not count.
fn reach(
    automated: &[AutomatedBackup],
    (earliest, latest): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    live: Option<&LiveDatabase>,
) -> (Option<AutomatedReach>, Option<ForeignBackup>) {
    // RDS may not report the owner.
    let is_own = |id: &str| id.is_empty() || live.is_none_or(|live| live.resource_id == id);
    let windows = automated.iter().filter_map(|backup| Some((backup.resource_id.as_str(), backup.window?)));
    let (own, others): (Vec<_>, Vec<_>) = windows.partition(|(id, _)| is_own(id));
    let newest = own.into_iter().map(|(_, window)| window).max_by_key(|window| window.latest);
    let until = latest.max(newest.map(|window| window.latest));
    let earliest = earliest.or(newest.map(|window| window.earliest));
    let other = others.into_iter().max_by_key(|(_, window)| window.latest);
    let other = other.map(|(id, window)| ForeignBackup { resource_id: id.to_owned(), until: window.latest });
    (until.map(|until| AutomatedReach { earliest, until }), other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::rds::RestoreWindow;

    fn time(minute: u32) -> DateTime<Utc> {
        format!("2026-11-20T12:{minute:02}:00Z").parse().unwrap()
    }

    fn kept(resource_id: &str, from: u32, to: u32) -> AutomatedBackup {
        AutomatedBackup {
            arn: "arn".to_owned(),
            of: "shop".to_owned(),
            resource_id: resource_id.to_owned(),
            database_region: None,
            status: "retained".to_owned(),
            window: Some(RestoreWindow { earliest: time(from), latest: time(to) }),
            encrypted: true,
            retention_days: None,
        }
    }

    #[test]
    fn automated_backups_of_another_database_are_no_reach_of_the_one_that_has_the_name() {
        let all = [kept("db-old", 0, 40), kept("db-new", 20, 30)];
        let live = LiveDatabase { resource_id: "db-new".to_owned(), is_restored: true, predecessors: vec![] };
        let reached = |until| AutomatedReach { earliest: Some(time(20)), until: time(until) };
        let old = ForeignBackup { resource_id: "db-old".to_owned(), until: time(40) };
        assert_eq!(reach(&all, (None, None), Some(&live)), (Some(reached(30)), Some(old.clone())));
        assert_eq!(reach(&all, (None, Some(time(35))), Some(&live)), (Some(reached(35)), Some(old.clone())));
        assert_eq!(reach(&all[..1], (None, None), Some(&live)), (None, Some(old)));
        // Where the one that is there cannot be asked, nothing is said against any.
        let any = AutomatedReach { earliest: Some(time(0)), until: time(40) };
        assert_eq!(reach(&all, (None, None), None), (Some(any), None));
        assert_eq!(reach(&[kept("", 20, 30)], (None, None), Some(&live)), (Some(reached(30)), None));
    }
}
