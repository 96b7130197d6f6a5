use chrono::{DateTime, Utc};
use serde::Serialize;

use super::cluster_plan::ClusterPart;
use super::identifier::{invalid, is_identifier, taken};
use super::login::is_of_master;
use super::overrides::settings_drift;
use super::parameter_groups::NewGroup;
use super::settings::{DONE, FROM, Settings, checks, is_own, settings, tags};
use super::survey::RdsSurvey;
use super::{Changed, OverrideKey, PlannedSetting, RdsRestoreRequest, RestoreSource, SelectedBackup};
use crate::aws::AwsTags;
use crate::event::Phase;
use crate::iam::{may_be_restored_as, restored_names};
use crate::model::{BackupId, RestoreProfile, SourceName};
use crate::policy::{AwsLocation, PostgresSource, Prices, RdsDatabase};
use crate::restore::{PlanSummary, Refusal, RestorePlan};

/// What will be done.
#[derive(Clone, Debug)]
pub struct RdsRestorePlan {
    pub source: SourceName,
    pub place: AwsLocation,
    pub chosen: SelectedBackup,
    /// The backup with its settings; `None`: those of the database as it is now.
    pub profile_of: Option<BackupId>,
    /// What is created.
    pub id: RdsDatabase,
    pub(super) settings: Settings,
    pub(super) cluster: Option<ClusterPart>,
    /// The steps to execute, in order.
    pub steps: Vec<RdsRestoreStep>,
    /// What an earlier run of the same restore created is resumed.
    pub resumed: bool,
    pub login: Option<Box<PostgresSource>>,
    pub hydrate: bool,
    pub backups: Backups,
    /// Whether the policy's login is that of a master for whom RDS creates a new password during
    /// configuration.
    pub(super) makes_new_password: bool,
    pub until: DateTime<Utc>,
    /// As text, for a person.
    pub cost: String,
    pub not_asked: Vec<(String, String)>,
    /// What differs from what was recorded, by request.
    pub changed: Vec<Changed>,
    /// How what an earlier run created differs from this plan, as text.
    pub settings_drift: Vec<String>,
    /// Which database's data it is, as text, where several had the name one after the other.
    pub(super) other_database: Option<String>,
    /// The same, and possible obstacles, as text.
    pub notes: Vec<String>,
    /// The engine, and its version where it is known.
    pub engine: (String, Option<String>),
    /// Other regions of the policy that may have backups of it.
    pub elsewhere: Vec<String>,
}

/// A step of the restore. What RDS shows to be done already is not done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RdsRestoreStep {
    /// As recorded: the region has none of that name.
    CreateParameterGroup(NewGroup),
    Create,
    AwaitAvailable,
    /// Settings that creation does not take. Where RDS accepts no changes yet, they are deferred.
    ApplySettings,
    /// The missing instances of a cluster.
    CreateMembers,
    /// Precedes the login, since RDS restarts it for that.
    TurnOnBackups {
        days: u32,
    },
    LogIn,
    /// Runs the policy's checks.
    Validate,
    /// The instances of a cluster after the first.
    AwaitMembers,
    ApplyDeferredSettings,
    Hydrate,
    AwaitFirstBackup,
    /// Reports that it has no automated backups, or none yet.
    NoteMissingBackups,
    /// Tags it as complete.
    MarkRestored,
}

impl RdsRestoreStep {
    /// Returns the phase it is timed as, where it takes time.
    pub(super) fn phase(&self) -> Option<Phase> {
        Some(match self {
            Self::CreateParameterGroup(_) | Self::Create => Phase::CreateInstance,
            Self::AwaitAvailable => Phase::Available,
            Self::ApplySettings | Self::ApplyDeferredSettings => Phase::Settings,
            Self::CreateMembers | Self::AwaitMembers => Phase::Members,
            Self::TurnOnBackups { .. } => Phase::TurnOnBackups,
            Self::LogIn => Phase::LogIn,
            Self::Validate => Phase::Validate,
            Self::Hydrate => Phase::Hydrate,
            Self::AwaitFirstBackup => Phase::FirstBackup,
            Self::NoteMissingBackups | Self::MarkRestored => return None,
        })
    }

    fn all(groups: impl Iterator<Item = NewGroup>, is_cluster: bool, backups: Backups) -> Vec<Self> {
        let mut steps: Vec<Self> = groups.map(Self::CreateParameterGroup).collect();
        steps.extend([Self::Create, Self::AwaitAvailable, Self::ApplySettings]);
        steps.extend(is_cluster.then_some(Self::CreateMembers));
        if let Backups::TurnedOn(days) = backups {
            steps.push(Self::TurnOnBackups { days });
        }
        steps.extend([Self::LogIn, Self::Validate]);
        steps.extend(is_cluster.then_some(Self::AwaitMembers));
        steps.extend([Self::ApplyDeferredSettings, Self::Hydrate]);
        steps.push(match backups {
            Backups::None | Backups::Later(_) => Self::NoteMissingBackups,
            Backups::Kept | Backups::TurnedOn(_) => Self::AwaitFirstBackup,
        });
        steps.push(Self::MarkRestored);
        steps
    }
}

/// RDS's automated backups of the new database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backups {
    /// Set on creation, as for every cluster, or the original setting is unknown.
    Kept,
    /// The retention in days, set after configuration: the first one is full, and may take RDS hours.
    TurnedOn(u32),
    /// The retention in days, set when it replaces production.
    Later(u32),
    /// The original had none, or the new one is temporary.
    None,
}

impl Backups {
    fn for_request(request: &RdsRestoreRequest, profile: &RestoreProfile) -> Self {
        match (&profile.cluster, profile.backup_retention_days) {
            (Some(_), _) => Self::Kept,
            _ if request.lifetime.is_some() => Self::None,
            (None, None) => Self::Kept,
            (None, Some(0)) => Self::None,
            (None, Some(days)) if request.backups_later => Self::Later(days),
            (None, Some(days)) => Self::TurnedOn(days),
        }
    }

    fn told(self) -> Option<String> {
        match self {
            Self::Kept => None,
            Self::TurnedOn(days) => Some(format!("{days} days, turned on once it is set up")),
            Self::Later(days) => Some(format!("{days} days, turned on when it is promoted")),
            Self::None => Some("none".to_owned()),
        }
    }
}

/// The machine-readable fields.
#[derive(Serialize)]
struct PlanFields<'a> {
    source: &'a SourceName,
    region: &'a str,
    instance: &'a str,
    via: &'static str,
    from: String,
    until: DateTime<Utc>,
    resumed: bool,
    cost: &'a str,
    settings: Vec<PlannedSetting>,
    changed: &'a [Changed],
    settings_drift: &'a [String],
    notes: &'a [String],
    not_reproduced: &'a [String],
}

impl Serialize for RdsRestorePlan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = PlanFields {
            source: &self.source,
            region: &self.chosen.region,
            instance: self.to(),
            via: match self.chosen.via {
                RestoreSource::Snapshot { .. } => "snapshot",
                RestoreSource::Automated { .. } => "automated-backups",
            },
            from: self.chosen.via.tag(),
            until: self.until,
            resumed: self.resumed,
            cost: &self.cost,
            settings: self.shown(),
            changed: &self.changed,
            settings_drift: &self.settings_drift,
            notes: &self.notes,
            not_reproduced: self.not_reproduced(),
        };
        fields.serialize(serializer)
    }
}

impl RestorePlan for RdsRestorePlan {
    fn summary(&self) -> PlanSummary {
        let backup = match &self.chosen.via {
            RestoreSource::Snapshot { backup, .. } => Some(backup.clone()),
            RestoreSource::Automated { .. } => None,
        };
        let to = format!("`{}` in {}", self.to(), self.chosen.region);
        PlanSummary {
            source: self.source.clone(),
            backup,
            subject: format!("into {to}"),
            to,
            changed: self.changed.iter().map(ToString::to_string).collect(),
        }
    }

    fn phases(&self, validates: bool) -> Vec<Phase> {
        let mut phases = Vec::new();
        for phase in self.steps.iter().filter_map(RdsRestoreStep::phase) {
            if (validates || phase != Phase::Validate) && !phases.contains(&phase) {
                phases.push(phase);
            }
        }
        phases
    }

    fn without_checks(&self) -> Option<&'static str> {
        self.login.is_none().then_some("the policy has no `url` for the source")
    }
}

impl RdsRestorePlan {
    pub fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    pub fn is_multi_az(&self) -> bool {
        self.settings.new.multi_az == Some(true)
    }

    pub fn to(&self) -> &str {
        &self.settings.new.identifier
    }

    /// Returns what the new database will lack of the original, as text.
    pub fn not_reproduced(&self) -> &[String] {
        &self.settings.not_reproduced
    }

    /// Returns the parameter groups that are created first.
    pub fn parameter_groups(&self) -> impl Iterator<Item = &NewGroup> {
        self.steps.iter().filter_map(|step| match step {
            RdsRestoreStep::CreateParameterGroup(group) => Some(group),
            _ => None,
        })
    }

    /// Returns the settings to review before it is created.
    pub fn shown(&self) -> Vec<PlannedSetting> {
        let new = &self.settings.new;
        let word = |value: &Option<String>| value.clone();
        let yes = |value: Option<bool>| value.map(|value| if value { "yes" } else { "no" }.to_owned());
        let some: [(&'static str, Option<String>); 11] = [
            ("class", word(&new.class)),
            ("subnet group", word(&new.subnet_group)),
            ("security groups", (!new.security_groups.is_empty()).then(|| new.security_groups.join(", "))),
            ("parameter group", word(&new.parameter_group)),
            ("option group", word(&new.option_group)),
            ("storage", word(&new.storage_kind)),
            ("certificate", word(&new.ca_certificate)),
            ("Multi-AZ", yes(new.multi_az)),
            ("zone", word(&new.zone)),
            ("public", yes(new.publicly_accessible)),
            ("deletion protection", yes(new.deletion_protection)),
        ];
        let some = some.into_iter().filter_map(|(name, value)| Some(PlannedSetting { name, value: value? }));
        let backups = self.backups.told().map(|value| PlannedSetting { name: "automated backups", value });
        let some = some.chain(backups);
        some.chain(self.cluster.iter().flat_map(ClusterPart::shown)).collect()
    }
}

/// Makes the plan, or returns every reason against it at once.
pub fn plan(request: &RdsRestoreRequest, mut found: RdsSurvey) -> Result<RdsRestorePlan, Vec<Refusal>> {
    let overrides = &request.overrides;
    let changed = overrides.changed(&found.profile, &found.policy_names, found.is_home);
    found.profile = overrides.onto(found.profile);
    let lifetime = request.lifetime.as_ref();
    let tags = tags(&found.profile, &request.system, &request.source, &request.to, &found.chosen, lifetime);
    let mut settings = settings(
        &found.profile,
        &found.chosen,
        &found.names,
        found.is_home,
        &request.to,
        tags.clone(),
        lifetime,
    );
    settings.new.zone = overrides.get(OverrideKey::Zone).map(str::to_owned);
    let cluster = match request.config.database {
        RdsDatabase::Cluster(_) => Some(ClusterPart::plan(request, &found, &mut settings)),
        RdsDatabase::Instance(_) => None,
    };
    let mut refusals = objections(request, &found, &settings, &tags);
    refusals.extend(overrides.objections(&found.profile, &found.chosen.via, &found.chosen.region));
    refusals.extend(cluster.iter().flat_map(|cluster| cluster.objections(&found, &tags)));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let own = missing_group(&found, &settings);
    let groups: Vec<_> = own.into_iter().chain(found.members.missing_groups(&found.profile)).collect();
    if let Some(lacks) = found.group_lacks.as_ref().filter(|lacks| !lacks.is_ours) {
        settings.not_reproduced.push(format!(
            "the parameter group of that name there does not set what was recorded: {}",
            lacks.parameters.join(", ")
        ));
    }
    let mut until = found.chosen.via.until();
    // It gets the data that was the latest when it was started.
    if let Some(tag) = found.existing.as_ref().and_then(|existing| existing.tags.get(FROM)) {
        settings.new.tags = settings.new.tags.with(FROM, tag);
        let begun = tag.rsplit_once(" latest ").and_then(|(_, time)| time.parse().ok());
        until = begun.unwrap_or(until);
    }
    let other_database = found.other_database.take();
    let beyond_role = beyond_role(request, &found.chosen.region);
    let new_secret = new_secret(request, &found.profile);
    let makes_new_password = new_secret.is_some();
    let notes = other_database.iter().cloned().chain(found.profile_notes.clone());
    let notes = notes.chain(beyond_role).chain(new_secret).collect();
    let settings_drift = begun(&found, &settings, cluster.as_ref(), request);
    let backups = Backups::for_request(request, &found.profile);
    let config = &request.config;
    let all = std::iter::once(&config.place.region).chain(config.regions.iter().map(|region| &region.name));
    let elsewhere = all.filter(|region| **region != found.chosen.region).cloned().collect();
    Ok(RdsRestorePlan {
        changed,
        settings_drift,
        other_database,
        notes,
        engine: (found.profile.engine.clone(), found.profile.engine_version.clone()),
        elsewhere,
        source: request.source.clone(),
        place: request.config.place.in_region(&found.chosen.region),
        until,
        chosen: found.chosen,
        profile_of: found.profile_of,
        cost: cost(request, &found.profile, cluster.as_ref()),
        id: request.config.database.called(&request.to),
        settings,
        steps: RdsRestoreStep::all(groups.into_iter(), cluster.is_some(), backups),
        cluster,
        resumed: found.existing.is_some(),
        login: request.config.login.clone(),
        backups,
        makes_new_password,
        hydrate: request.hydrate,
        not_asked: found.not_asked,
    })
}

/// Warns that drctl's role does not suffice. Which names may be created is decided by AWS; the role generated
/// by drctl allows only names of this form.
fn beyond_role(request: &RdsRestoreRequest, region: &str) -> Option<String> {
    if may_be_restored_as(&request.config, region, &request.to) {
        return None;
    }
    let names =
        restored_names(&request.config, region).iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    Some(format!(
        "the role of `drctl iam show restorer` may make only {} in {region}: where that role restores, AWS refuses `{}`; choose such a name with `--to-instance`, or restore with credentials that may make it",
        names.join(" or "),
        request.to
    ))
}

/// Warns that the policy's password is not that of a master for whom RDS creates a new one.
fn new_secret(request: &RdsRestoreRequest, profile: &RestoreProfile) -> Option<String> {
    let login = request.config.login.as_ref()?;
    (profile.password_is_managed && is_of_master(login, profile)).then(|| {
        "drctl logs in as the master with the password that RDS creates for the new one and keeps in Secrets Manager, not with the policy's: the restoring role needs to read that secret (`drctl iam show restorer`); when it takes production's place, `password` in the policy has to name it"
            .to_owned()
    })
}

/// Returns how the leftovers of an earlier run differ from the plan.
fn begun(
    found: &RdsSurvey,
    settings: &Settings,
    cluster: Option<&ClusterPart>,
    request: &RdsRestoreRequest,
) -> Vec<String> {
    let new = &settings.new;
    let mut wanted = vec![
        ("class", new.class.clone()),
        ("certificate", new.ca_certificate.clone()),
        ("subnet group", new.subnet_group.clone()),
        ("parameter group", new.parameter_group.clone()),
        ("option group", new.option_group.clone()),
        ("storage", new.storage_kind.clone()),
    ];
    if let Some(cluster) = cluster {
        wanted.push(("key", cluster.new.kms_key.clone()));
        wanted.push(("engine version", cluster.new.engine_version.clone()));
    }
    let database = found.existing.iter();
    let mut words: Vec<String> =
        database.flat_map(|existing| settings_drift(existing, &wanted, &request.overrides)).collect();
    words.extend(cluster.iter().flat_map(|cluster| cluster.begun(found, &request.overrides)));
    words
}

/// Estimates the cost of the instance for as long as it exists, by the policy's prices.
fn cost(request: &RdsRestoreRequest, profile: &RestoreProfile, cluster: Option<&ClusterPart>) -> String {
    let Some(prices) = &request.prices else {
        return "not estimated: the policy has no `[prices]`".to_owned();
    };
    if let Some(cluster) = cluster {
        return cluster.cost(prices);
    }
    let class = profile.class.as_deref().unwrap_or_default();
    let two_zones = profile.multi_az.unwrap_or(false);
    let Some(estimate) = prices.instance(class, profile.storage.allocated_gib, two_zones) else {
        return format!("not estimated: `[prices]` has no price for {class}");
    };
    let Prices { currency, as_of, .. } = prices;
    let storage = match estimate.month {
        Some(month) => format!(" and {month:.2} {currency} a month for its storage"),
        None => ", without its storage".to_owned(),
    };
    format!("about {:.2} {currency} an hour{storage}, by prices of {as_of}", estimate.hour)
}

/// Returns the recorded parameter group where the region has none of its name, or one that an earlier run
/// began to create.
fn missing_group(found: &RdsSurvey, settings: &Settings) -> Option<NewGroup> {
    let is_half_made = found.group_lacks.as_ref().is_some_and(|lacks| lacks.is_ours);
    let is_missing = found.has_parameter_group == Some(false) || is_half_made;
    if !is_missing || found.names.parameter_group.is_some() {
        return None;
    }
    let group = found.profile.parameter_group.as_ref()?;
    let is_used = settings.new.parameter_group.as_ref() == Some(&group.name);
    NewGroup::from_group(group, found.profile.cluster.is_some()).filter(|_| is_used)
}

fn objections(
    request: &RdsRestoreRequest,
    found: &RdsSurvey,
    settings: &Settings,
    tags: &AwsTags,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let region = &found.chosen.region;
    if !is_identifier(&request.to) {
        refusals.push(invalid(&request.to));
    }
    let is_production = found.is_home && request.to == request.config.database.identifier();
    let (what, to) = (request.config.database.kind(), &request.to);
    match &found.existing {
        _ if is_production => refusals.push(taken(what, to, region)),
        None => {}
        Some(existing) if !is_own(&existing.tags, &found.chosen, tags) => {
            refusals.push(taken(what, to, region))
        }
        Some(existing) => {
            // Checks that failed, or could not run, are run again.
            let is_wanting = checks(&existing.tags).is_some_and(|(held, asked)| held < asked);
            if let Some(until) = existing.tags.get(DONE).filter(|_| !is_wanting) {
                let message = format!("`{to}` in {region} was restored already, with the data until {until}");
                refusals.push(Refusal::not_ready("already-restored", message));
            }
        }
    }
    if settings.new.subnet_group.is_none() && !found.is_home {
        refusals.push(no_names("`subnet_group`", region));
    }
    if settings.new.security_groups.is_empty() && !found.is_home {
        refusals.push(no_names("`security_groups`", region));
    }
    if let (Some(false), Some(name)) = (found.has_subnet_group, &settings.new.subnet_group) {
        refusals.push(no_group("subnet group", name, region));
    }
    if let (Some(false), None, Some(name)) =
        (found.has_parameter_group, missing_group(found, settings), &settings.new.parameter_group)
    {
        refusals.push(no_group("parameter group", name, region));
    }
    refusals
}

fn no_names(what: &str, region: &str) -> Refusal {
    let message = format!(
        "the policy names no {what} for {region}, where the names of the other region mean nothing: the instance could not be reached"
    );
    Refusal::not_ready("no-group", message)
}

fn no_group(what: &str, name: &str, region: &str) -> Refusal {
    Refusal::not_ready("no-group", format!("{region} has no {what} `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(is_cluster: bool, backups: Backups) -> String {
        let steps = RdsRestoreStep::all(std::iter::empty(), is_cluster, backups);
        steps.iter().map(|step| format!("{step:?}")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_login_comes_before_whatever_may_take_hours_and_after_every_restart() {
        assert_eq!(
            words(false, Backups::TurnedOn(7)),
            "Create, AwaitAvailable, ApplySettings, TurnOnBackups { days: 7 }, LogIn, Validate, ApplyDeferredSettings, Hydrate, AwaitFirstBackup, MarkRestored"
        );
        assert_eq!(
            words(true, Backups::Kept),
            "Create, AwaitAvailable, ApplySettings, CreateMembers, LogIn, Validate, AwaitMembers, ApplyDeferredSettings, Hydrate, AwaitFirstBackup, MarkRestored"
        );
        assert!(words(false, Backups::None).ends_with("Hydrate, NoteMissingBackups, MarkRestored"));
    }
}
