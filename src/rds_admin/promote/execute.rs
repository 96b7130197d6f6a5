use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;
use thiserror::Error;

use super::members::survey_members;
use super::survey::{OVER, WAS};
use super::{MemberFacts, PromoteRequest, Promotion, PromotionStep, PromotionSurvey, Rename};
use crate::aws::rds::{Changes, Database, DatabaseEndpoint, Rds};
use crate::aws::{
    AwsFailure, AwsTags, EXPIRES, FailureKind, Poll, PollError, PollProgress, PolledState, Waiter,
};
use crate::event::Events;
use crate::platform::{CancellationToken, Program};
use crate::policy::RdsDatabase;
use crate::restore::AwsRestoreError;
use crate::restore::rds::RdsEndpoint;
use crate::restore::rds::login::{Login, log_in, look};
use crate::restore::rds::settings::RETENTION;
use crate::text::error_chain;

/// RDS allows 50 tags per resource; two are reserved for the promotion's own.
const MOST_TAGS: usize = 48;
/// The maximum number of refusals because RDS is doing something else; it may process the instances of a
/// cluster one by one.
const TRIES: u32 = 60;
/// The time limit for each hook of the policy.
const HOOK: Duration = Duration::from_secs(600);

#[derive(Debug, Error)]
pub enum PromoteError {
    #[error("{what} failed, and the steps after it were not executed; the same command resumes there")]
    Step {
        /// What the step does.
        what: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("nothing was changed: the login to `{instance}`, which is to replace production, failed")]
    NotReady {
        instance: String,
        #[source]
        source: Box<AwsRestoreError>,
    },
    #[error("`{name}` was replaced since it was inspected, and is left alone")]
    Changed { name: String },
    #[error(transparent)]
    Instance(#[from] AwsRestoreError),
}

impl PromoteError {
    /// Returns whether RDS does not find what was waited for, for example because it was renamed.
    fn is_absence(&self) -> bool {
        let gone = |wait: &PollError| matches!(wait, PollError::Gone { .. } | PollError::NeverCame { .. });
        matches!(self, Self::Instance(AwsRestoreError::Wait(wait)) if gone(wait))
    }
}

impl From<AwsFailure> for PromoteError {
    fn from(failure: AwsFailure) -> Self {
        Self::Instance(failure.into())
    }
}

impl From<PollError> for PromoteError {
    fn from(error: PollError) -> Self {
        Self::Instance(error.into())
    }
}

/// A completed step.
#[derive(Clone, Debug, Serialize)]
pub struct CompletedStep {
    #[serde(flatten)]
    pub step: PromotionStep,
    pub seconds: f64,
    /// What a login read.
    pub server: Option<RdsEndpoint>,
}

/// Promotes a restored database to production.
pub struct Promoter<'a> {
    pub request: &'a PromoteRequest,
    pub rds: Rds,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

impl<'a> Promoter<'a> {
    pub async fn connect(
        request: &'a PromoteRequest,
        events: &'a Events,
        cancel: &'a CancellationToken,
    ) -> Result<Self, PromoteError> {
        let place = request.config.place.in_region(&request.region);
        let rds = Rds::connect(&place).await.map_err(AwsRestoreError::Client)?;
        Ok(Self { request, rds, events, cancel })
    }

    /// Queries the current state in RDS; changes nothing.
    pub async fn look(&self) -> Result<PromotionSurvey, PromoteError> {
        let mut facts = PromotionSurvey {
            restored: self.rds.database(&self.called(&self.request.instance)).await?,
            production: self.rds.database(&self.request.config.database).await?,
            put_aside: self.rds.database(&self.called(&self.request.put_aside_as)).await?,
            members: MemberFacts::default(),
        };
        facts.forget_old_names();
        if matches!(self.request.config.database, RdsDatabase::Cluster(_)) {
            facts.members = survey_members(&self.rds, self.request, &facts).await?;
        }
        Ok(facts)
    }

    /// Checks whether the last steps are possible: stopped writers wait for them. Logs in to the restored
    /// database at its current address; a promotion resumed after production was renamed may have it between
    /// two names.
    pub async fn ready(&self, facts: &PromotionSurvey, plan: &Promotion) -> Result<(), PromoteError> {
        let database = facts.promoted(self.request).filter(|database| database.endpoint.is_some());
        let (Some(login), Some(database)) = (&self.request.config.login, database) else { return Ok(()) };
        let ready = async {
            let login = Login::resolve(login, database, &self.request.region).await?;
            let has_stayed = plan.steps.iter().any(|step| matches!(step, PromotionStep::PutAside { .. }));
            if plan.resumed && !has_stayed {
                return login.is_at_hand().await.map_err(AwsRestoreError::Unresolved);
            }
            let refused = |source| AwsRestoreError::Login { waited: Duration::ZERO, source };
            login.attempt().await.map(drop).map_err(refused)
        };
        ready.await.map_err(|source| PromoteError::NotReady {
            instance: database.id.identifier().to_owned(),
            source: Box::new(source),
        })
    }

    /// Executes the remaining steps one after the other, and stops at the first failure. `tell` is called for
    /// each completed step.
    pub async fn execute(
        &self,
        plan: &Promotion,
        mut tell: impl FnMut(&CompletedStep),
    ) -> Result<(), PromoteError> {
        for step in &plan.steps {
            self.events.notice(step.told());
            let begun = Instant::now();
            let server = self.act(step, plan).await.map_err(|source| PromoteError::Step {
                what: format!("`{}`", step.told()),
                source: Box::new(source),
            })?;
            tell(&CompletedStep { step: step.clone(), seconds: begun.elapsed().as_secs_f64(), server });
        }
        Ok(())
    }

    async fn act(&self, step: &PromotionStep, plan: &Promotion) -> Result<Option<RdsEndpoint>, PromoteError> {
        match step {
            PromotionStep::Keep => self.keep(plan).await?,
            PromotionStep::PutAside { from, to } => {
                let production = plan.production.as_deref().unwrap_or_default();
                self.rename(&self.called(from), to, production, blocks_rename).await?;
            }
            PromotionStep::TakeName { from, to } => {
                self.rename(&self.called(from), to, &plan.restored, Database::seen).await?;
            }
            PromotionStep::PutInstancesAside { renames } => self.rename_all(renames, blocks_rename).await?,
            PromotionStep::TakeInstanceNames { renames } => self.rename_all(renames, Database::seen).await?,
            PromotionStep::KeepBackups { days } => self.keep_backups(plan, *days).await?,
            PromotionStep::LogIn => return self.log_in(plan).await.map(Some),
            // Where production's region is lost it has no address.
            PromotionStep::Freeze { command } => self.hook(command, plan, plan.production.is_some()).await?,
            PromotionStep::Redirect { command } | PromotionStep::Reopen { command } => {
                self.hook(command, plan, true).await?
            }
            PromotionStep::Finish => {
                let promoted = self.reached(&self.called(&plan.name), Database::seen_by_users).await?;
                self.rds.remove_tags(&promoted.arn, &[WAS, OVER, RETENTION]).await?;
            }
        }
        Ok(None)
    }

    async fn keep(&self, plan: &Promotion) -> Result<(), PromoteError> {
        let id = self.called(&plan.instance);
        let restored = self.available(&id).await?;
        let production = self.rds.database(&self.request.config.database).await?;
        let theirs = production.as_ref().map(|database| database.tags.clone()).unwrap_or_default();
        let mut marks = inherited(&theirs, &restored.tags).with(WAS, &plan.instance);
        if let Some(production) = production {
            marks = marks.with(OVER, production.resource_id);
        }
        self.rds.add_tags(&restored.arn, &marks).await?;
        self.rds.remove_tags(&restored.arn, &[EXPIRES]).await?;
        for member in restored.profile.cluster.iter().flat_map(|cluster| &cluster.members) {
            let member = self.rds.database(&RdsDatabase::Instance(member.identifier.clone())).await?;
            // RDS's own instances, of a Multi-AZ cluster, have none of drctl's tags, and cannot be tagged.
            let Some(member) = member.filter(|member| member.tags.is_managed()) else { continue };
            let marks = inherited(&theirs, &member.tags);
            if marks.iter().next().is_some() {
                self.rds.add_tags(&member.arn, &marks).await?;
            }
            self.rds.remove_tags(&member.arn, &[EXPIRES]).await?;
        }
        if restored.profile.deletion_protection != Some(true) {
            let changes = Changes { deletion_protection: Some(true), ..Changes::default() };
            self.change(&id, &changes, Database::seen).await?;
            self.available(&id).await?;
        }
        Ok(())
    }

    /// Waits until it is usable again; the first backup itself takes RDS hours, and is not waited for.
    async fn keep_backups(&self, plan: &Promotion, days: u32) -> Result<(), PromoteError> {
        let id = self.called(&plan.name);
        let changes = Changes { backup_retention_days: Some(days), ..Changes::default() };
        self.available(&id).await?;
        self.change(&id, &changes, Database::seen).await?;
        // For a moment RDS still shows it as before.
        let subject = format!("automated backups of `{}` in {}", plan.name, self.rds.region());
        let ask = async || {
            let Some(database) = self.rds.database(&id).await? else { return Ok(PolledState::Absent) };
            let is_on = database.profile.backup_retention_days == Some(days);
            Ok(match is_on || database.is_lost() {
                true => database.seen_by_users(),
                false => {
                    PolledState::Working(PollProgress { status: database.status, ..PollProgress::default() })
                }
            })
        };
        Ok(self.waiter().ask(&subject, ask).await.map(drop)?)
    }

    fn called(&self, name: &str) -> RdsDatabase {
        self.request.config.database.called(name)
    }

    /// Renames instances of one cluster, concurrently: each takes RDS minutes.
    async fn rename_all(&self, renames: &[Rename], sees: RenameVisibility) -> Result<(), PromoteError> {
        let renamed = renames.iter().map(async |Rename { from, to, resource_id }| {
            self.rename(&RdsDatabase::Instance(from.clone()), to, resource_id, sees).await
        });
        join_all(renamed).await.into_iter().collect()
    }

    /// Renames only the surveyed database: another may have the name by now.
    async fn rename(
        &self,
        from: &RdsDatabase,
        to: &str,
        resource_id: &str,
        sees: RenameVisibility,
    ) -> Result<(), PromoteError> {
        let to = from.called(to);
        // A killed run may have started it.
        match self.reached(from, sees).await {
            Ok(database) if database.resource_id != resource_id => {
                return Err(PromoteError::Changed { name: from.identifier().to_owned() });
            }
            Ok(_) => {}
            Err(error) if error.is_absence() => return self.renamed(from, &to, resource_id, sees).await,
            Err(error) => return Err(error),
        }
        let changes = Changes { identifier: Some(to.identifier().to_owned()), ..Changes::default() };
        self.change(from, &changes, sees).await?;
        self.renamed(from, &to, resource_id, sees).await
    }

    /// The new name appears only after minutes, and until then, the old one may remain.
    async fn renamed(
        &self,
        from: &RdsDatabase,
        to: &RdsDatabase,
        resource_id: &str,
        sees: RenameVisibility,
    ) -> Result<(), PromoteError> {
        let (old, new) = (from.identifier(), to.identifier());
        let subject = format!("`{old}`, to be `{new}`, in {}", self.rds.region());
        let ask = async || {
            if let Some(database) = self.rds.database(to).await? {
                return Ok(sees(database));
            }
            let status =
                self.rds.database(from).await?.map_or("renaming".to_owned(), |database| database.status);
            Ok(PolledState::Working(PollProgress { status, ..PollProgress::default() }))
        };
        if self.waiter().ask(&subject, ask).await?.resource_id != resource_id {
            return Err(PromoteError::Changed { name: new.to_owned() });
        }
        Ok(())
    }

    fn waiter(&self) -> Waiter<'_> {
        Waiter { poll: Poll::from(&self.request.config.place), events: self.events, cancel: self.cancel }
    }

    /// Repeats a change that RDS refuses because of its own work.
    async fn change(
        &self,
        id: &RdsDatabase,
        changes: &Changes,
        sees: RenameVisibility,
    ) -> Result<(), PromoteError> {
        let is_rename = changes.identifier.is_some();
        // A later call would change another database of that name.
        let is_under_way = Cell::new(false);
        let call = async || {
            if is_under_way.get() {
                return Ok(());
            }
            let changed = self.rds.change(id, changes).await;
            // A rename whose answer was lost: it is under way to its new name. The missing resource may also
            // be one of its groups.
            let is_perhaps_under_way = |failure: &AwsFailure| {
                is_rename && matches!(failure.kind, FailureKind::NotFound | FailureKind::State)
            };
            match changed {
                Err(failure) if is_perhaps_under_way(&failure) && self.rds.database(id).await?.is_none() => {
                    tracing::info!("{}", error_chain(&failure));
                    Ok(())
                }
                changed => changed,
            }
        };
        let ready = async || match self.reached(id, sees).await {
            Err(error) if is_rename && error.is_absence() => {
                is_under_way.set(true);
                Ok(())
            }
            reached => reached.map(drop),
        };
        self.waiter().repeat(TRIES, ready, call).await
    }

    async fn available(&self, id: &RdsDatabase) -> Result<Database, PromoteError> {
        self.reached(id, Database::seen).await
    }

    async fn reached(&self, id: &RdsDatabase, sees: RenameVisibility) -> Result<Database, PromoteError> {
        let subject = format!("`{}` in {}", id.identifier(), self.rds.region());
        Ok(self.waiter().until(&subject, async || self.rds.database(id).await, sees).await?)
    }

    async fn log_in(&self, plan: &Promotion) -> Result<RdsEndpoint, PromoteError> {
        let place = &self.request.config.place;
        let database = self.reached(&self.called(&plan.name), Database::seen_by_users).await?;
        let Some(login) = &self.request.config.login else { return Err(AwsRestoreError::NoEndpoint.into()) };
        let parameters =
            log_in(login, &database, &self.request.region, place.poll, self.events, self.cancel).await?;
        Ok(look(&parameters).await?)
    }

    /// Runs a hook of the policy, with the address of the new instance in its environment.
    async fn hook(
        &self,
        command: &[String],
        plan: &Promotion,
        needs_endpoint: bool,
    ) -> Result<(), PromoteError> {
        let Some((program, arguments)) = command.split_first() else { return Ok(()) };
        let mut program = Program::new(program)
            .args(arguments)
            .env("DRCTL_INSTANCE", &plan.name)
            .env("DRCTL_REGION", &plan.region);
        // Without an address no hook is run: a record that leads nowhere is worse than the old one.
        let database = self.rds.database(&self.called(&plan.name)).await?;
        match database.and_then(|database| database.endpoint) {
            Some(DatabaseEndpoint { host, port }) => {
                program = program.env("DRCTL_HOST", host).env("DRCTL_PORT", port.to_string());
            }
            None if needs_endpoint => return Err(AwsRestoreError::NoEndpoint.into()),
            None => {}
        }
        let run = program.run(HOOK, self.cancel).await;
        let source = match run {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        Err(PromoteError::Step { what: format!("`{}`", command.join(" ")), source: Box::new(source) })
    }
}

/// How a wait judges a state.
type RenameVisibility = fn(Database) -> PolledState<Database>;

/// The old database need not be usable: one with full storage can be renamed, too.
fn blocks_rename(database: Database) -> PolledState<Database> {
    if database.takes_changes() { PolledState::Done(database) } else { database.seen() }
}

/// Returns the tags of production that this one lacks: a temporary one has none of them.
fn inherited(production: &AwsTags, own: &AwsTags) -> AwsTags {
    let theirs = production
        .iter()
        .filter(|(key, _)| !key.starts_with("aws:") && !key.starts_with("drctl:") && own.get(key).is_none());
    let room = MOST_TAGS.saturating_sub(own.iter().count());
    theirs.take(room).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
