use serde::Serialize;
use thiserror::Error;

use super::super::plan::is_identifier;
use super::super::settings::{DONE, FROM};
use crate::aws::Tags;
use crate::aws::rds::Database;
use crate::model::{SourceName, SystemName};
use crate::policy::{RdsDatabase, RdsSource};

/// On an instance for as long as it is taking production's place: the name that it was restored under.
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
    /// The mark of a promotion that goes on is taken from it.
    Finish,
}

impl Step {
    /// What it does, for a person.
    pub fn told(&self) -> String {
        match self {
            Self::Keep => {
                "give the restored instance production's tags, take its expiry away, and protect it from deletion".to_owned()
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
            Self::Finish => "take the mark of this promotion from it".to_owned(),
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
    /// What was restored: nothing else is renamed.
    #[serde(skip)]
    pub(super) restored: String,
    /// What had production's name when it was looked at.
    #[serde(skip)]
    pub(super) production: Option<String>,
    pub put_aside_as: String,
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
    #[error("`{source_name}` is a cluster, and drctl puts only instances in production's place")]
    Cluster { source_name: SourceName },
    #[error("there is no instance `{instance}` in {region}")]
    NoInstance { instance: String, region: String },
    #[error(
        "`{instance}` was not made by a restore of `{source_name}` by drctl, so it is not put in production's place"
    )]
    NotRestored { instance: String, source_name: SourceName },
    #[error("the restore of `{instance}` did not come to its end, so that it is not set up whole")]
    NotFinished { instance: String },
    #[error("`{name}` in {region} is not what this policy backs up, nor made from it: it is not put aside")]
    Foreign { name: String, region: String },
    #[error(
        "`{0}` is not an identifier for an instance: it begins with a letter, has letters, digits and single `-`, and 63 characters at most"
    )]
    Identifier(String),
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
            Self::Cluster { .. } => {
                "Stop writers, and either lead applications to the new cluster's endpoint, or rename both with `aws rds modify-db-cluster --db-cluster-identifier OLD --new-db-cluster-identifier NEW --apply-immediately`, production first."
            }
            Self::NoInstance { .. } | Self::IsProduction { .. } | Self::NotRestored { .. } => {
                "`drctl restore SOURCE --to-instance NAME` makes one."
            }
            Self::NotAvailable { .. } | Self::NotFinished { .. } => {
                "Run the restore again: it goes on until the instance can be used."
            }
            Self::NameTaken(_) | Self::Identifier(_) => "Name another with `--put-aside-as`.",
            Self::Foreign { .. } => "Look at what it is; rename it if it is yours, and promote again.",
            Self::WritersGoOn => {
                "Name a command in the policy, `promote = { freeze = [\"…\"] }` under the source, or stop them yourself and say `--writers-stopped`."
            }
        }
    }
}

/// Decides, or says everything that stands against it.
pub fn plan(request: &PromoteRequest, facts: &Facts) -> Result<Promotion, Vec<PromoteRefusal>> {
    if matches!(request.config.database, RdsDatabase::Cluster(_)) {
        // An instance of a restored cluster must not take the cluster's name.
        return Err(vec![PromoteRefusal::Cluster { source_name: request.source.clone() }]);
    }
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
    if !is_identifier(&request.put_aside_as) {
        refusals.push(PromoteRefusal::Identifier(request.put_aside_as.clone()));
    }
    // Elsewhere a name says nothing of whose it is.
    let is_ours = |production: &Database| {
        request.region == request.config.place.region
            || production.tags.is_of(&request.system, &request.source)
    };
    if facts.production.as_ref().is_some_and(|production| !is_ours(production)) {
        refusals.push(PromoteRefusal::Foreign { name: name.clone(), region: request.region.clone() });
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
    // Once production is aside nothing can write to it any more.
    let freezes = renames && (facts.production.is_some() || !resumed);
    steps.extend(hook(&hooks.freeze).filter(|_| freezes).map(|command| Step::Freeze { command }));
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
    steps.push(Step::Finish);
    let resource_id = |database: &Database| database.resource_id.clone();
    Ok(Promotion {
        region: request.region.clone(),
        name,
        instance: request.instance.clone(),
        restored: facts.restored.as_ref().or(has_name).map(resource_id).unwrap_or_default(),
        production: facts.production.as_ref().map(resource_id),
        put_aside_as: request.put_aside_as.clone(),
        steps,
        resumed,
        notes: notes(request, facts),
    })
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
    if restored.tags.get(DONE).is_none() {
        refusals.push(PromoteRefusal::NotFinished { instance: instance.clone() });
    }
    if !restored.is_available() && was(&restored.tags).is_none() {
        refusals.push(PromoteRefusal::NotAvailable { instance, status: restored.status.clone() });
    }
    refusals
}

fn notes(request: &PromoteRequest, facts: &Facts) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(restored) = &facts.restored {
        let tag = |key| restored.tags.get(key).unwrap_or("what is not known");
        notes.push(format!("it was restored from {}, and has the data until {}", tag(FROM), tag(DONE)));
    }
    notes.extend([
        "take a backup of it at once: RDS's own backups of it begin anew".to_owned(),
        "read replicas stay with the old instance".to_owned(),
    ]);
    if facts.production.is_none() && facts.restored.is_some() && request.region != request.config.place.region
    {
        notes.push(format!(
            "afterwards the policy's `region` is {}, and backups of it go on only when that is changed",
            request.region
        ));
    }
    notes
}
