use serde::Serialize;

use super::members::{Rename, Renames, renames};
use super::refusal::PromoteRefusal;
use super::survey::{PromoteRequest, PromotionSurvey, old, was};
use crate::aws::EXPIRES;
use crate::aws::rds::Database;
use crate::policy::RdsDatabase;
use crate::restore::rds::is_identifier;
use crate::restore::rds::login::is_of_master;
use crate::restore::rds::settings::{DONE, FROM, checks, retention};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum PromotionStep {
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
    /// The old cluster's instances give up the names that the new one's will have.
    PutInstancesAside {
        renames: Vec<Rename>,
    },
    /// The restored cluster's instances take the names of their originals.
    TakeInstanceNames {
        renames: Vec<Rename>,
    },
    /// RDS keeps automated backups with production's retention in days: it was created without.
    KeepBackups {
        days: u32,
    },
    LogIn,
    /// The policy's command that directs applications to it.
    Redirect {
        command: Vec<String>,
    },
    /// The policy's command that resumes writers.
    Reopen {
        command: Vec<String>,
    },
    /// The tag of a promotion in progress is removed.
    Finish,
}

impl PromotionStep {
    /// Describes the step for a person.
    pub fn told(&self) -> String {
        match self {
            Self::Keep => {
                "give the restored one production's tags, remove its expiry, and turn on its deletion protection"
                    .to_owned()
            }
            Self::Freeze { command } => format!("stop writers: {}", command.join(" ")),
            Self::PutAside { from, to } => {
                format!("rename production `{from}` to `{to}`: its address stops answering at once")
            }
            Self::TakeName { from, to } => {
                format!("rename `{from}` to `{to}`: about ten minutes until its address answers")
            }
            Self::PutInstancesAside { renames } => {
                format!("rename production's instances: {}", told(renames))
            }
            Self::TakeInstanceNames { renames } => {
                format!("rename the restored instances, which restarts them: {}", told(renames))
            }
            Self::KeepBackups { days } => format!(
                "turn on its automated backups, kept for {days} days, which restarts it; the first is taken meanwhile"
            ),
            Self::LogIn => "log in at the new address, and read".to_owned(),
            Self::Redirect { command } => format!("redirect applications to it: {}", command.join(" ")),
            Self::Reopen { command } => format!("let writers continue: {}", command.join(" ")),
            Self::Finish => "remove the tag of this promotion from it".to_owned(),
        }
    }
}

fn told(renames: &[Rename]) -> String {
    let one = |rename: &Rename| format!("`{}` to `{}`", rename.from, rename.to);
    renames.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The remaining steps, in order.
#[derive(Clone, Debug, Serialize)]
pub struct Promotion {
    pub region: String,
    /// Production's name.
    pub name: String,
    pub instance: String,
    /// The restored database: nothing else is renamed.
    #[serde(skip)]
    pub(super) restored: String,
    /// The database with production's name at the time of the survey.
    #[serde(skip)]
    pub(super) production: Option<String>,
    pub put_aside_as: String,
    pub steps: Vec<PromotionStep>,
    /// An earlier run completed the first of them.
    pub resumed: bool,
    pub notes: Vec<String>,
}

impl Promotion {
    /// Returns whether the plan logs in to prove that the new production is usable.
    pub fn logs_in(&self) -> bool {
        self.steps.contains(&PromotionStep::LogIn)
    }
}

/// Makes the plan, or returns every reason against it.
pub fn plan(request: &PromoteRequest, facts: &PromotionSurvey) -> Result<Promotion, Vec<PromoteRefusal>> {
    let name = request.config.database.identifier().to_owned();
    let has_name = facts.has_name(request);
    let hooks = &request.config.promote;
    let mut refusals = Vec::new();
    if hooks.freeze.is_empty() && !request.writers_stopped {
        refusals.push(PromoteRefusal::WritersGoOn);
    }
    if !is_identifier(&request.put_aside_as) {
        refusals.push(PromoteRefusal::Identifier(request.put_aside_as.clone()));
    }
    // In another region a name does not identify the owner.
    let is_ours = |production: &Database| {
        request.region == request.config.place.region
            || production.tags.is_of(&request.system, &request.source)
    };
    if facts.production.as_ref().is_some_and(|production| !is_ours(production)) {
        refusals.push(PromoteRefusal::Foreign { name: name.clone(), region: request.region.clone() });
    }
    if has_name.is_none() {
        refusals.extend(facts.production.as_ref().and_then(|production| stuck(request, production)));
    }
    let mut steps = vec![];
    let resumed = match (&facts.restored, has_name) {
        (None, Some(_)) => true,
        (None, None) => {
            let (named, region) = (request.instance.clone(), request.region.clone());
            let what = request.config.database.noun();
            refusals.push(PromoteRefusal::Nothing { what, name: named, region });
            false
        }
        (Some(restored), _) => {
            refusals.extend(unfit(request, restored, &name));
            let begun = was(&restored.tags) == Some(request.instance.as_str());
            if let Some(taken) = &facts.put_aside
                && facts.production.is_some()
            {
                let (what, name) = (taken.id.kind(), taken.id.identifier().to_owned());
                refusals.push(PromoteRefusal::NameTaken { what, name });
            }
            if !(begun && is_kept(restored, facts)) {
                steps.push(PromotionStep::Keep);
            }
            begun
        }
    };
    let members = match request.config.database {
        RdsDatabase::Cluster(_) => renames(request, facts),
        RdsDatabase::Instance(_) => Renames::default(),
    };
    refusals.extend(members.refusals);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let renames = facts.restored.is_some();
    // Once production is renamed nothing can write to it any more.
    let freezes = renames && (facts.production.is_some() || !resumed);
    steps.extend(hook(&hooks.freeze).filter(|_| freezes).map(|command| PromotionStep::Freeze { command }));
    if renames && facts.production.is_some() {
        steps.push(PromotionStep::PutAside { from: name.clone(), to: request.put_aside_as.clone() });
    }
    if !members.put_aside.is_empty() {
        steps.push(PromotionStep::PutInstancesAside { renames: members.put_aside });
    }
    if renames {
        steps.push(PromotionStep::TakeName { from: request.instance.clone(), to: name.clone() });
    }
    if !members.take.is_empty() {
        steps.push(PromotionStep::TakeInstanceNames { renames: members.take });
    }
    steps.extend(backups(request, facts).map(|days| PromotionStep::KeepBackups { days }));
    if request.config.login.is_some() {
        steps.push(PromotionStep::LogIn);
    }
    steps.extend(hook(&hooks.redirect).map(|command| PromotionStep::Redirect { command }));
    steps.extend(hook(&hooks.reopen).map(|command| PromotionStep::Reopen { command }));
    steps.push(PromotionStep::Finish);
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
        notes: notes(request, facts).into_iter().chain(members.notes).collect(),
    })
}

/// Returns the retention in days of a database without automated backups: as recorded, or as of the database
/// it replaces.
fn backups(request: &PromoteRequest, facts: &PromotionSurvey) -> Option<u32> {
    let promoted = facts.promoted(request)?;
    let has_none = promoted.profile.cluster.is_none() && promoted.profile.backup_retention_days == Some(0);
    let old = || old(request, facts)?.profile.backup_retention_days;
    retention(&promoted.tags).or_else(old).filter(|days| has_none && *days > 0)
}

/// Refuses to begin where production could not be renamed: the writers would be stopped, and stay so.
fn stuck(request: &PromoteRequest, production: &Database) -> Option<PromoteRefusal> {
    if production.takes_changes() || !(production.is_stopped() || production.is_lost()) {
        return None;
    }
    let (name, region) = (production.id.identifier(), &request.region);
    let way_on = match production.status.as_str() {
        "deleting" | "deleted" => {
            "Wait until it is deleted; then the same command resumes without it.".to_owned()
        }
        _ if production.is_stopped() => {
            format!("Start it, {}, and promote again when it is available.", production.start_command())
        }
        _ => {
            let noun = production.id.noun();
            format!(
                "Repair it in RDS until it is available. Or rename it in the console if possible, or turn its deletion protection off and delete it, and the same command resumes without it: `aws rds delete-db-{noun} --db-{noun}-identifier {name} --region {region} --skip-final-snapshot --no-delete-automated-backups` keeps the backups that RDS has of it. If neither is possible, redirect the applications to the address of `{}`.",
                request.instance
            )
        }
    };
    Some(PromoteRefusal::Stuck { name: name.to_owned(), status: production.status.clone(), way_on })
}

fn hook(command: &[String]) -> impl Iterator<Item = Vec<String>> {
    (!command.is_empty()).then(|| command.to_vec()).into_iter()
}

/// Returns whether an earlier run completed that step: a database being renamed cannot be queried for it
/// again.
fn is_kept(restored: &Database, facts: &PromotionSurvey) -> bool {
    let mut members = facts.members.restored.iter();
    restored.profile.deletion_protection == Some(true)
        && restored.tags.get(EXPIRES).is_none()
        && members.all(|member| member.tags.get(EXPIRES).is_none())
}

fn unfit(request: &PromoteRequest, restored: &Database, name: &str) -> Vec<PromoteRefusal> {
    let instance = request.instance.clone();
    let mut refusals = vec![];
    // These are cluster names, so that none of its instances takes the cluster's name.
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
    let was_begun = was(&restored.tags).is_some();
    if let Some((held, asked)) = checks(&restored.tags)
        && held < asked
        && !(request.ignore_failed_checks || was_begun)
    {
        refusals.push(PromoteRefusal::Wanting { instance: instance.clone(), held, asked });
    }
    if !restored.is_available() && !was_begun {
        refusals.push(PromoteRefusal::NotAvailable { instance, status: restored.status.clone() });
    }
    refusals
}

fn notes(request: &PromoteRequest, facts: &PromotionSurvey) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(restored) = &facts.restored {
        let tag = |key| restored.tags.get(key).unwrap_or("an unknown backup");
        notes.push(format!("it was restored from {}, with data until {}", tag(FROM), tag(DONE)));
        notes.push(match checks(&restored.tags) {
            Some((held, asked)) => {
                format!("{held} of {asked} checks of its data passed when it was restored")
            }
            None => "its data was not checked: the policy's `[[drill.checks]]` were not run".to_owned(),
        });
    }
    if let Some(production) = facts.production.as_ref().filter(|_| facts.restored.is_some())
        && !production.is_available()
    {
        let (name, status) = (production.id.identifier(), &production.status);
        notes.push(match production.takes_changes() {
            true => format!("`{name}` is `{status}`, and is renamed anyway"),
            false => format!(
                "`{name}` is `{status}`: it is renamed when that is over, and writers wait until then"
            ),
        });
    }
    if let (Some(login), Some(promoted)) = (&request.config.login, facts.promoted(request))
        && let Some(secret) =
            promoted.master_secret.as_ref().filter(|_| is_of_master(login, &promoted.profile))
    {
        notes.push(format!(
            "RDS keeps the master's password in a secret of its own: name it in the policy, `password = \"secretsmanager:{secret}#password\"`"
        ));
    }
    notes.extend([
        "take a backup of it at once: RDS starts a new series of automated backups".to_owned(),
        match request.config.database {
            RdsDatabase::Instance(_) => "read replicas stay with the old instance",
            RdsDatabase::Cluster(_) => {
                "what was attached to the old cluster stays with it: custom endpoints, scaling of its readers, a global database"
            }
        }
        .to_owned(),
    ]);
    if facts.production.is_none() && facts.restored.is_some() && request.region != request.config.place.region
    {
        notes.push(format!(
            "set the policy's `region` to {} afterwards: it is not backed up before that",
            request.region
        ));
    }
    notes
}
