use std::time::{Duration, Instant};

use serde::Serialize;
use thiserror::Error;

use super::super::InstanceError;
use super::super::execute::seen;
use super::super::login::{log_in, look};
use super::super::run::Server;
use super::plan::WAS;
use super::{Facts, PromoteRequest, Promotion, Step};
use crate::aws::rds::{Changes, Database, Endpoint, Rds};
use crate::aws::{AwsFailure, EXPIRES, FailureKind, Poll, PollError, Progress, Seen, Tags};
use crate::event::{Events, told};
use crate::platform::{CancellationToken, Program};
use crate::policy::RdsDatabase;

/// RDS takes no more on one thing; one is left for the mark.
const MOST_TAGS: usize = 49;
/// For each hook of the policy.
const HOOK: Duration = Duration::from_secs(600);

#[derive(Debug, Error)]
pub enum PromoteError {
    #[error("{what} failed, and nothing after it was done; the same command goes on there")]
    Step {
        /// What the step does.
        what: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("`{name}` is another instance now than when it was looked at, so it is left alone")]
    Changed { name: String },
    #[error(transparent)]
    Instance(#[from] InstanceError),
}

impl From<AwsFailure> for PromoteError {
    fn from(failure: AwsFailure) -> Self {
        Self::Instance(failure.into())
    }
}

/// A step that was done.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    #[serde(flatten)]
    pub step: Step,
    pub seconds: f64,
    /// Of a login.
    pub server: Option<Server>,
}

/// Puts a restored instance in production's place.
pub struct Promoter<'a> {
    pub request: &'a PromoteRequest,
    pub rds: Rds,
    pub events: &'a Events,
    pub cancel: &'a CancellationToken,
}

impl<'a> Promoter<'a> {
    pub async fn of(
        request: &'a PromoteRequest,
        events: &'a Events,
        cancel: &'a CancellationToken,
    ) -> Result<Self, PromoteError> {
        let place = request.config.place.in_region(&request.region);
        let rds = Rds::of(&place).await.map_err(InstanceError::Client)?;
        Ok(Self { request, rds, events, cancel })
    }

    /// What RDS has there now; nothing is changed.
    pub async fn look(&self) -> Result<Facts, PromoteError> {
        let named = |name: &str| RdsDatabase::Instance(name.to_owned());
        Ok(Facts {
            restored: self.rds.database(&named(&self.request.instance)).await?,
            production: self.rds.database(&named(self.request.config.database.identifier())).await?,
            put_aside: self.rds.database(&named(&self.request.put_aside_as)).await?,
        })
    }

    /// Does what is left, one step after the other, and stops at the first that fails. `tell`: of each that is
    /// done, when it is.
    pub async fn execute(&self, plan: &Promotion, mut tell: impl FnMut(&Done)) -> Result<(), PromoteError> {
        for step in &plan.steps {
            self.events.notice(step.told());
            let begun = Instant::now();
            let server = self.act(step, plan).await.map_err(|source| PromoteError::Step {
                what: format!("`{}`", step.told()),
                source: Box::new(source),
            })?;
            tell(&Done { step: step.clone(), seconds: begun.elapsed().as_secs_f64(), server });
        }
        Ok(())
    }

    async fn act(&self, step: &Step, plan: &Promotion) -> Result<Option<Server>, PromoteError> {
        match step {
            Step::Keep => self.keep(plan).await?,
            Step::PutAside { from, to } => {
                self.rename(from, to, plan.production.as_deref().unwrap_or_default()).await?;
            }
            Step::TakeName { from, to } => self.rename(from, to, &plan.restored).await?,
            Step::LogIn => return self.log_in(plan).await.map(Some),
            // Where production's region is gone there is nothing of it to be told of.
            Step::Freeze { command } => self.hook(command, plan, plan.production.is_some()).await?,
            Step::Redirect { command } | Step::Reopen { command } => self.hook(command, plan, true).await?,
            Step::Finish => {
                let promoted = self.available(&plan.name).await?;
                self.rds.remove_tags(&promoted.arn, &[WAS]).await?;
            }
        }
        Ok(None)
    }

    async fn keep(&self, plan: &Promotion) -> Result<(), PromoteError> {
        let restored = self.available(&plan.instance).await?;
        // One that was only to live a while has none of them.
        let production = RdsDatabase::Instance(plan.name.clone());
        let theirs = self.rds.database(&production).await?.map(|database| database.tags).unwrap_or_default();
        let theirs = theirs.iter().filter(|(key, _)| {
            !key.starts_with("aws:") && !key.starts_with("drctl:") && restored.tags.get(key).is_none()
        });
        let room = MOST_TAGS.saturating_sub(restored.tags.iter().count());
        let theirs: Tags = theirs.take(room).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.rds.add_tags(&restored.arn, &theirs.with(WAS, &plan.instance)).await?;
        self.rds.remove_tags(&restored.arn, &[EXPIRES]).await?;
        if restored.profile.deletion_protection != Some(true) {
            let changes = Changes { deletion_protection: Some(true), ..Changes::default() };
            self.change(&plan.instance, &changes).await?;
            self.available(&plan.instance).await?;
        }
        Ok(())
    }

    /// Only what was looked at: another may have the name by now.
    async fn rename(&self, from: &str, to: &str, resource_id: &str) -> Result<(), PromoteError> {
        // A run that was killed may have had it begun.
        match self.available(from).await {
            Ok(database) if database.resource_id != resource_id => {
                return Err(PromoteError::Changed { name: from.to_owned() });
            }
            Ok(_) => {}
            Err(PromoteError::Instance(InstanceError::Wait(PollError::Gone { .. }))) => {
                return self.renamed(from, to).await;
            }
            Err(error) => return Err(error),
        }
        let changes = Changes { identifier: Some(to.to_owned()), ..Changes::default() };
        self.change(from, &changes).await?;
        self.renamed(from, to).await
    }

    /// The new name is not there for minutes, and until it is, the old one may be.
    async fn renamed(&self, from: &str, to: &str) -> Result<(), PromoteError> {
        let (old, new) = (RdsDatabase::Instance(from.to_owned()), RdsDatabase::Instance(to.to_owned()));
        let subject = format!("`{from}`, to be `{to}`, in {}", self.rds.region());
        let ask = async || {
            if let Some(database) = self.rds.database(&new).await? {
                return Ok(seen(database));
            }
            let status =
                self.rds.database(&old).await?.map_or("renaming".to_owned(), |database| database.status);
            Ok(Seen::Working(Progress { status, ..Progress::default() }))
        };
        self.poll().wait(&subject, self.events, self.cancel, ask).await.map_err(InstanceError::Wait)?;
        Ok(())
    }

    fn poll(&self) -> Poll {
        let place = &self.request.config.place;
        Poll { every: place.poll, deadline: place.deadline }
    }

    async fn change(&self, instance: &str, changes: &Changes) -> Result<(), PromoteError> {
        let mut left = 20;
        loop {
            match self.rds.change_instance(instance, changes).await {
                Ok(()) => return Ok(()),
                // A rename whose answer was lost.
                Err(failure)
                    if changes.identifier.is_some()
                        && matches!(failure.kind, FailureKind::NotFound | FailureKind::State) =>
                {
                    tracing::info!("{}", told(&failure));
                    match (failure.kind, left) {
                        (FailureKind::NotFound, _) => return Ok(()),
                        (_, 0) => return Err(failure.into()),
                        _ => left -= 1,
                    }
                    tokio::time::sleep(self.request.config.place.poll).await;
                    // It may be under way to its new name.
                    match self.available(instance).await {
                        Err(PromoteError::Instance(InstanceError::Wait(PollError::Gone { .. }))) => {
                            return Ok(());
                        }
                        available => drop(available?),
                    }
                }
                Err(failure) if failure.kind == FailureKind::State && left > 0 => {
                    left -= 1;
                    tokio::time::sleep(self.request.config.place.poll).await;
                    self.available(instance).await?;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    async fn available(&self, instance: &str) -> Result<Database, PromoteError> {
        let id = RdsDatabase::Instance(instance.to_owned());
        let subject = format!("`{instance}` in {}", self.rds.region());
        let ask = async || Ok(self.rds.database(&id).await?.map_or(Seen::Absent, seen));
        Ok(self.poll().wait(&subject, self.events, self.cancel, ask).await.map_err(InstanceError::Wait)?)
    }

    async fn log_in(&self, plan: &Promotion) -> Result<Server, PromoteError> {
        let place = &self.request.config.place;
        let endpoint = self.endpoint(plan).await?;
        let Some(login) = &self.request.config.login else { return Err(InstanceError::NoEndpoint.into()) };
        let parameters = log_in(login, &endpoint, place.poll, self.events, self.cancel).await?;
        Ok(look(&parameters).await?)
    }

    async fn endpoint(&self, plan: &Promotion) -> Result<Endpoint, PromoteError> {
        let database = self.available(&plan.name).await?;
        Ok(database.endpoint.ok_or(InstanceError::NoEndpoint)?)
    }

    /// Runs a command of the policy, which is told where the new instance is.
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
        // Where it cannot be said, no hook is run: a record that leads nowhere is worse than the old one.
        let named = RdsDatabase::Instance(plan.name.clone());
        let database = self.rds.database(&named).await?;
        match database.and_then(|database| database.endpoint) {
            Some(Endpoint { host, port }) => {
                program = program.env("DRCTL_HOST", host).env("DRCTL_PORT", port.to_string());
            }
            None if needs_endpoint => return Err(InstanceError::NoEndpoint.into()),
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
