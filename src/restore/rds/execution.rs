//! A restore in progress: its state, and how its steps wait for RDS.

use std::time::Instant;

use super::RdsRestorePlan;
use super::identifier::taken;
use super::login::LoggedIn;
use super::report::Milestones;
use super::settings::FROM;
use crate::aws::rds::{Database, Rds};
use crate::aws::{AwsFailure, Poll, PollError, PolledState, Waiter};
use crate::policy::RdsDatabase;
use crate::restore::{AwsRestoreError, CreatedObject, Refusal};
use crate::run::RunContext;
use crate::text::error_chain;

/// Polls after which a change that RDS does not show is reported: ten minutes at the usual interval.
pub(super) const SETTLING: u32 = 30;
/// Calls of one kind that RDS may refuse because of what it is doing.
const REFUSALS: u32 = 20;

pub(super) struct Execution<'a> {
    pub(super) run: &'a RunContext,
    pub(super) plan: &'a RdsRestorePlan,
    pub(super) rds: Rds,
    pub(super) waiter: Waiter<'a>,
    began: Instant,
    /// This run or an earlier one called RDS to create it.
    pub(super) begun: bool,
    /// As RDS described it last.
    database: Option<Database>,
    /// RDS was backing it up when its settings were due: they wait until it accepts changes.
    pub(super) defers_settings: bool,
    pub(super) logged_in: Option<LoggedIn>,
    pub(super) marks: Milestones,
    pub(super) notes: Vec<String>,
    pub(super) created: Vec<CreatedObject>,
}

impl<'a> Execution<'a> {
    pub(super) fn new(run: &'a RunContext, plan: &'a RdsRestorePlan, rds: Rds) -> Self {
        Self {
            run,
            plan,
            rds,
            waiter: Waiter { poll: Poll::from(&plan.place), events: &run.events, cancel: &run.cancel },
            began: Instant::now(),
            begun: plan.resumed,
            database: None,
            defers_settings: false,
            logged_in: None,
            marks: Milestones::default(),
            notes: plan.other_database.iter().chain(&plan.settings_drift).cloned().collect(),
            created: vec![],
        }
    }

    /// Returns the seconds since the restore began, for a milestone.
    pub(super) fn elapsed(&self) -> Option<f64> {
        Some(self.began.elapsed().as_secs_f64())
    }

    /// Returns the database as it was seen last; where it was not seen yet, waits until it accepts logins.
    pub(super) async fn database(&mut self) -> Result<Database, AwsRestoreError> {
        match &self.database {
            Some(database) => Ok(database.clone()),
            None => self.open().await,
        }
    }

    /// Waits until RDS accepts changes of it.
    pub(super) async fn available(&mut self) -> Result<Database, AwsRestoreError> {
        self.wait(Database::seen).await
    }

    /// Waits until it accepts logins.
    pub(super) async fn open(&mut self) -> Result<Database, AwsRestoreError> {
        self.wait(Database::seen_by_users).await
    }

    pub(super) async fn wait(
        &mut self,
        sees: fn(Database) -> PolledState<Database>,
    ) -> Result<Database, AwsRestoreError> {
        let subject = format!("`{}` in {}", self.plan.to(), self.rds.region());
        let database = self.waiter.until(&subject, async || self.query().await, sees).await?;
        let database = self.own(database)?;
        self.database = Some(database.clone());
        Ok(database)
    }

    /// Waits for something that the database is usable without: a timeout is noted, and is no failure.
    pub(super) async fn wait_or_note(
        &mut self,
        subject: &str,
        sees: impl FnMut(Database) -> PolledState<Database>,
    ) -> Result<Option<Database>, AwsRestoreError> {
        match self.waiter.until(subject, async || self.query().await, sees).await {
            Ok(database) => {
                self.database = Some(database.clone());
                Ok(Some(database))
            }
            Err(error @ PollError::Deadline { .. }) => {
                self.notes.push(error_chain(&error));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what was created, with its RDS resource id, where it was seen.
    pub(super) fn created(&self) -> Vec<CreatedObject> {
        let database = self.begun.then(|| CreatedObject::RdsDatabase {
            region: self.rds.region().to_owned(),
            database: self.plan.id.clone(),
            resource_id: self.database.as_ref().map(|database| database.resource_id.clone()),
            restored_from: self.plan.settings.new.tags.get(FROM).unwrap_or_default().to_owned(),
        });
        self.created.iter().cloned().chain(database).collect()
    }

    /// Queries it; for a Multi-AZ cluster with the number of blocks that its instances have yet to fetch.
    pub(super) async fn query(&self) -> Result<Option<Database>, AwsFailure> {
        let Some(mut database) = self.rds.database(&self.plan.id).await? else { return Ok(None) };
        if self.plan.cluster.as_ref().is_some_and(|cluster| !cluster.is_aurora) {
            for member in member_names(&database) {
                let member = self.rds.database(&RdsDatabase::Instance(member)).await?;
                database.hydration = database.hydration.or(member.and_then(|member| member.hydration));
            }
        }
        Ok(Some(database))
    }

    /// Rejects one of that name created by something else since the plan.
    pub(super) fn own(&self, database: Database) -> Result<Database, AwsRestoreError> {
        if database.tags.get(FROM) == self.plan.settings.new.tags.get(FROM) {
            return Ok(database);
        }
        let refusal: Refusal = taken(database.id.kind(), database.id.identifier(), self.rds.region());
        Err(AwsRestoreError::Refused(vec![refusal]))
    }

    /// Repeats a call that conflicts with RDS's own work: it backs up, changes and configures a new instance
    /// in turns.
    pub(super) async fn repeat(
        &mut self,
        call: impl AsyncFnMut() -> Result<(), AwsFailure>,
    ) -> Result<(), AwsRestoreError> {
        let waiter = self.waiter;
        waiter.repeat(REFUSALS, async || self.available().await.map(drop), call).await
    }

    /// Waits until a change is visible: for a moment RDS still shows the database as before.
    pub(super) async fn settled(
        &mut self,
        sees: fn(Database) -> PolledState<Database>,
        is_so: impl Fn(&Database) -> bool,
    ) -> Result<(), AwsRestoreError> {
        let begun = Instant::now();
        loop {
            if is_so(&self.wait(sees).await?) {
                return Ok(());
            }
            if begun.elapsed() > self.plan.place.poll * SETTLING {
                self.notes.push(format!(
                    "RDS accepted all settings and does not show all of them yet: check `{}` before it is used",
                    self.plan.to()
                ));
                return Ok(());
            }
            tokio::time::sleep(self.plan.place.poll).await;
        }
    }
}

pub(super) fn member_names(database: &Database) -> Vec<String> {
    let members = database.profile.cluster.iter().flat_map(|cluster| &cluster.members);
    members.map(|member| member.identifier.clone()).collect()
}
