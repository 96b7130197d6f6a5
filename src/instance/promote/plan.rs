use serde::Serialize;
use thiserror::Error;

use super::super::settings::FROM;
use crate::aws::Tags;
use crate::aws::rds::Database;
use crate::model::{SourceName, SystemName};
use crate::policy::RdsSource;

/// On an instance that takes production's place: the name that it was restored under.
pub(super) const WAS: &str = "drctl:promoted-from";

#[derive(Clone, Debug)]
pub struct PromoteRequest {
    pub system: SystemName,
    pub source: SourceName,
    pub config: RdsSource,
    pub region: String,
    /// The instance that was restored.
    pub instance: String,
    /// What the old one is called afterwards.
    pub put_aside_as: String,
    /// Somebody says that nothing writes any more.
    pub writers_stopped: bool,
}

/// What RDS has there now.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub restored: Option<Database>,
    /// What has production's name.
    pub production: Option<Database>,
    /// What has the name that the old one gets.
    pub put_aside: Option<Database>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// It is no longer temporary, and protected from deletion.
    Keep,
    /// The policy's command that stops writers.
    Freeze {
        command: Vec<String>,
    },
    PutAside {
        from: String,
        to: String,
    },
    TakeName {
        from: String,
        to: String,
    },
    LogIn,
    /// The policy's command that leads applications to it.
    Redirect {
        command: Vec<String>,
    },
    /// The policy's command that lets writers back.
    Reopen {
        command: Vec<String>,
    },
}

impl Step {
    /// What it does, for a person.
    pub fn told(&self) -> String {
        match self {
            Self::Keep => {
                "take its expiry from the restored instance, and protect it from deletion".to_owned()
            }
            Self::Freeze { command } => format!("stop writers: {}", command.join(" ")),
            Self::PutAside { from, to } => {
                format!("rename production `{from}` to `{to}`: its address stops answering at once")
            }
            Self::TakeName { from, to } => {
                format!("rename `{from}` to `{to}`: about ten minutes until its address answers")
            }
            Self::LogIn => "log in at the new address, and read".to_owned(),
            Self::Redirect { command } => format!("lead applications to it: {}", command.join(" ")),
            Self::Reopen { command } => format!("let writers back: {}", command.join(" ")),
        }
    }
}

/// What is left to do, in its order.
#[derive(Clone, Debug, Serialize)]
pub struct Promotion {
    pub region: String,
    /// Production's name.
    pub name: String,
    pub instance: String,
    pub steps: Vec<Step>,
    /// An earlier run did the first of them.
    pub resumed: bool,
    pub notes: Vec<String>,
}

impl Promotion {
    /// Whether anybody will have seen that the new production can be used.
    pub fn logs_in(&self) -> bool {
        self.steps.contains(&Step::LogIn)
    }
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PromoteRefusal {
    #[error("there is no instance `{instance}` in {region}")]
    NoInstance { instance: String, region: String },
    #[error(
        "`{instance}` was not made by a restore of `{source_name}` by drctl, so it is not put in production's place"
    )]
    NotRestored { instance: String, source_name: SourceName },
    #[error("`{instance}` is `{status}`: only an available instance is promoted")]
    NotAvailable { instance: String, status: String },
    #[error("`{instance}` has the name of production already")]
    IsProduction { instance: String },
    #[error("there is an instance `{0}` already, the name that the old one would get")]
    NameTaken(String),
    #[error("nothing stops the writers: what they commit to the old instance from now on would be lost")]
    WritersGoOn,
}

impl PromoteRefusal {
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoInstance { .. } | Self::IsProduction { .. } | Self::NotRestored { .. } => {
                "`drctl restore SOURCE --to-instance NAME` makes one."
            }
            Self::NotAvailable { .. } => "Run the restore again: it goes on until the instance can be used.",
            Self::NameTaken(_) => "Name another with `--put-aside-as`.",
            Self::WritersGoOn => {
                "Name a command in the policy, `promote = { freeze = [\"…\"] }` under the source, or stop them yourself and say `--writers-stopped`."
            }
        }
    }
}

/// Decides, or says everything that stands against it.
pub fn plan(request: &PromoteRequest, facts: &Facts) -> Result<Promotion, Vec<PromoteRefusal>> {
    let name = request.config.database.identifier().to_owned();
    let has_name = facts
        .production
        .as_ref()
        .filter(|production| was(&production.tags) == Some(request.instance.as_str()));
    let hooks = &request.config.promote;
    let mut refusals = Vec::new();
    if hooks.freeze.is_empty() && !request.writers_stopped {
        refusals.push(PromoteRefusal::WritersGoOn);
    }
    let mut steps = vec![];
    let resumed = match (&facts.restored, has_name) {
        (None, Some(_)) => true,
        (None, None) => {
            let (instance, region) = (request.instance.clone(), request.region.clone());
            refusals.push(PromoteRefusal::NoInstance { instance, region });
            false
        }
        (Some(restored), _) => {
            refusals.extend(unfit(request, restored, &name));
            let begun = was(&restored.tags) == Some(request.instance.as_str());
            if let Some(taken) = &facts.put_aside
                && facts.production.is_some()
            {
                refusals.push(PromoteRefusal::NameTaken(taken.id.identifier().to_owned()));
            }
            steps.push(Step::Keep);
            begun
        }
    };
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let renames = facts.restored.is_some();
    steps.extend(hook(&hooks.freeze).filter(|_| renames).map(|command| Step::Freeze { command }));
    if renames && facts.production.is_some() {
        steps.push(Step::PutAside { from: name.clone(), to: request.put_aside_as.clone() });
    }
    if renames {
        steps.push(Step::TakeName { from: request.instance.clone(), to: name.clone() });
    }
    if request.config.login.is_some() {
        steps.push(Step::LogIn);
    }
    steps.extend(hook(&hooks.redirect).map(|command| Step::Redirect { command }));
    steps.extend(hook(&hooks.reopen).map(|command| Step::Reopen { command }));
    let (region, instance) = (request.region.clone(), request.instance.clone());
    Ok(Promotion { region, name, instance, steps, resumed, notes: notes(request, facts) })
}

fn hook(command: &[String]) -> impl Iterator<Item = Vec<String>> {
    (!command.is_empty()).then(|| command.to_vec()).into_iter()
}

/// The name that it was restored under, where a promotion of it was begun.
fn was(tags: &Tags) -> Option<&str> {
    tags.get(WAS)
}

fn unfit(request: &PromoteRequest, restored: &Database, name: &str) -> Vec<PromoteRefusal> {
    let instance = request.instance.clone();
    let mut refusals = vec![];
    if instance == name {
        return vec![PromoteRefusal::IsProduction { instance }];
    }
    if restored.tags.get(FROM).is_none() || !restored.tags.is_of(&request.system, &request.source) {
        refusals.push(PromoteRefusal::NotRestored {
            instance: instance.clone(),
            source_name: request.source.clone(),
        });
    }
    if !restored.is_available() && was(&restored.tags).is_none() {
        refusals.push(PromoteRefusal::NotAvailable { instance, status: restored.status.clone() });
    }
    refusals
}

fn notes(request: &PromoteRequest, facts: &Facts) -> Vec<String> {
    let mut notes = vec![
        "take a backup of it at once: RDS's own backups of it begin anew".to_owned(),
        "read replicas stay with the old instance".to_owned(),
    ];
    if facts.production.is_none() && facts.restored.is_some() && request.region != request.config.place.region
    {
        notes.push(format!(
            "afterwards the policy's `region` is {}, and backups of it go on only when that is changed",
            request.region
        ));
    }
    notes
}
