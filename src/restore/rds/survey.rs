//! Collects everything a plan needs, and changes nothing.

use futures_util::future::{join, join_all};

use super::cluster_survey::{Members, date_copies, live, with_retained};
use super::parameter_groups::{MissingSettings, is_default, lacks};
use super::recorded_settings::{RecordedSettings, recorded_settings};
use super::restore_source::SelectedBackup;
use super::select::{AutomatedBackups, Lineage, ManualSnapshot, RegionBackups, choose};
use super::{RdsRestoreRequest, RdsTarget};
use crate::aws::rds::{AutomatedBackup, Database, Origin, Rds, RestoreMoment, Snapshot};
use crate::aws::{AwsFailure, while_asked};
use crate::model::{BackupId, BackupKind, RegionNames, RestoreProfile};
use crate::policy::{RdsDatabase, RdsSource};
use crate::repository::{BackupRecord, Inventory, Listing, RejectedManifest};
use crate::restore::{AwsRestoreError, Refusal};
use crate::run::RunContext;
use crate::source::rds_snapshot::{backup_of, is_recorded};
use crate::text::error_chain;

/// All facts that the decision needs.
#[derive(Clone, Debug)]
pub struct RdsSurvey {
    pub(super) chosen: SelectedBackup,
    /// Which database's data it is, as text, where several had the name one after the other.
    pub(super) other_database: Option<String>,
    pub(super) profile: RestoreProfile,
    /// The backup with the recorded settings; `None`: those of the live database.
    pub(super) profile_of: Option<BackupId>,
    /// Why they are not the record of the very backup that is restored, as text.
    pub(super) profile_notes: Vec<String>,
    /// With the overrides, and without.
    pub(super) names: RegionNames,
    pub(super) policy_names: RegionNames,
    pub(super) is_home: bool,
    /// An existing database with the new identifier.
    pub(super) existing: Option<Database>,
    /// Whether the region has the groups that would be used; `None` where there is no name.
    pub(super) has_subnet_group: Option<bool>,
    pub(super) has_parameter_group: Option<bool>,
    /// The region has a group of the recorded name, without some recorded settings.
    pub(super) group_lacks: Option<MissingSettings>,
    /// The state of a cluster's instances.
    pub(super) members: Members,
    /// Regions that could not be queried, and why: they may have more.
    pub(super) not_asked: Vec<(String, String)>,
}

pub(super) async fn survey(
    run: &RunContext,
    request: &RdsRestoreRequest,
) -> Result<RdsSurvey, AwsRestoreError> {
    // A region that does not answer is waited for only while the others and the repositories are read.
    let (stored, asked) = join(stored(run, request), ask(run, request)).await;
    let live = asked.live.as_ref();
    let lineage = lineage(run, request, live, &stored).await;
    let mut not_asked = Vec::new();
    let mut regions = Vec::new();
    for (name, answer) in asked.regions {
        match answer {
            Ok(answer) => regions.push(region(request, name, answer, (live, stored.as_slice(), &lineage))),
            Err(reason) => not_asked.push((name, reason)),
        }
    }
    date_copies(&mut regions, &stored);
    if regions.is_empty() {
        let reasons: String =
            not_asked.iter().map(|(region, reason)| format!("; {region}: {reason}")).collect();
        let message = format!("failed to query any region of the policy{reasons}");
        return Err(AwsRestoreError::Refused(vec![Refusal::not_ready("no-region", message)]));
    }
    let chosen = choose(request, &regions, &stored, &lineage);
    let chosen = chosen.map_err(|refusal| AwsRestoreError::Refused(vec![refusal]))?;
    let is_home = chosen.region == request.config.place.region;
    let RecordedSettings { profile, of: profile_of, notes } =
        recorded_settings(run, request, &chosen, &stored, live).await?;
    let policy_names = names(request, &chosen.region, &profile);
    let names = request.overrides.names(policy_names.clone());

    let rds = Rds::connect(&request.config.place.in_region(&chosen.region)).await?;
    let existing = rds.database(&request.config.database.called(&request.to)).await?;
    let subnet_group = names.subnet_group.as_ref().or(profile.subnet_group.as_ref().filter(|_| is_home));
    let has_subnet_group = match subnet_group {
        Some(name) => Some(rds.has_subnet_group(name).await?),
        None => None,
    };
    let recorded = profile.parameter_group.as_ref().map(|group| &group.name);
    let parameter_group = names.parameter_group.as_ref().or(recorded);
    let is_cluster = matches!(request.config.database, RdsDatabase::Cluster(_));
    let has_parameter_group = match parameter_group.filter(|name| !is_default(name)) {
        Some(name) if is_cluster => Some(rds.has_cluster_parameter_group(name).await?),
        Some(name) => Some(rds.has_parameter_group(name).await?),
        None => None,
    };
    let group_lacks = match &profile.parameter_group {
        // The policy's own choice is not a copy, and in the original region it is the group itself.
        Some(group) if has_parameter_group == Some(true) && !is_home && names.parameter_group.is_none() => {
            lacks(&rds, group, is_cluster).await?
        }
        _ => None,
    };
    let members = match is_cluster {
        true => Members::survey(&rds, &request.to, &profile, is_home).await?,
        false => Members::default(),
    };
    Ok(RdsSurvey {
        other_database: lineage.note(request, &chosen.via, &regions),
        profile_notes: notes,
        chosen,
        profile,
        profile_of,
        names,
        policy_names,
        is_home,
        existing,
        has_subnet_group,
        has_parameter_group,
        group_lacks,
        members,
        not_asked,
    })
}

/// Returns the backups of the source whose manifests can be read, the newest first.
async fn stored(run: &RunContext, request: &RdsRestoreRequest) -> Vec<ManualSnapshot> {
    let listing = Listing::of_source(&run.repositories, &run.system, &request.source).await;
    for lost in &listing.unlisted {
        run.events.warning(format!("repository {}: {}", lost.name, lost.reason()));
    }
    let inventory = Inventory::load(&listing, &run.system, &[BackupKind::Snapshot]).await;
    for RejectedManifest { repository, error, .. } in &inventory.rejected {
        run.events.warning(format!("repository {repository}: {}", error_chain(error)));
    }
    let stored = inventory.backups.into_iter();
    stored.map(|BackupRecord { manifest, holders }| ManualSnapshot { manifest, holders }).collect()
}

/// Queries each region of the policy, the database's own first, and the database itself: all concurrently,
/// each once, without waiting for one that does not answer.
async fn ask(run: &RunContext, request: &RdsRestoreRequest) -> SurveyResults {
    let config = &request.config;
    let all = std::iter::once(&config.place.region).chain(config.regions.iter().map(|region| &region.name));
    let wanted = |name: &&String| request.region.as_ref().is_none_or(|only| only == *name);
    let names: Vec<&String> = all.filter(wanted).collect();
    let regions = join_all(names.iter().map(|name| ask_region(run, request, name)));
    let is_home_wanted = names.contains(&&config.place.region);
    let home = async {
        let rds = Rds::to_look(&config.place).await?;
        let asking = rds.database(&config.database);
        // The query of the home region already reports that it is being waited for.
        match is_home_wanted {
            true => Ok::<_, AwsRestoreError>(asking.await?),
            false => Ok(while_asked(&config.place, &run.events, asking).await?),
        }
    };
    let (home, regions) = join(home, regions).await;
    for (name, answer) in names.iter().zip(&regions) {
        if let Err(reason) = answer {
            run.events.warning(format!("failed to query {name}: {reason}"));
        }
    }
    let live = home.unwrap_or_else(|error| {
        let (name, reason) = (config.database.identifier(), error_chain(&error));
        run.events.warning(format!("which database has the name `{name}` now is not known: {reason}"));
        None
    });
    SurveyResults { live, regions: names.into_iter().cloned().zip(regions).collect() }
}

/// Determines which databases had the name: from the manifests, and from its region.
async fn lineage(
    run: &RunContext,
    request: &RdsRestoreRequest,
    live: Option<&Database>,
    stored: &[ManualSnapshot],
) -> Lineage {
    let mut backed_up: Vec<String> = Vec::new();
    for id in stored.iter().filter_map(|stored| stored.manifest.managed.as_ref()?.resource_id.clone()) {
        if !backed_up.contains(&id) {
            backed_up.push(id);
        }
    }
    let mut switched = Vec::new();
    if let Some(live) = live.filter(|live| !backed_up.contains(&live.resource_id)) {
        let asked = async {
            let rds = Rds::to_look(&request.config.place).await?;
            Ok::<_, AwsRestoreError>(rds.predecessors(&live.id).await?)
        };
        switched = asked.await.unwrap_or_else(|error| {
            run.events.warning(error_chain(&error));
            vec![]
        });
        switched.retain(|before| backed_up.contains(&before.resource_id));
    }
    Lineage { live: live.map(|database| database.resource_id.clone()), backed_up, switched }
}

/// Queries one region; `Err`: why that failed.
async fn ask_region(
    run: &RunContext,
    request: &RdsRestoreRequest,
    name: &str,
) -> Result<RegionReply, String> {
    let place = request.config.place.in_region(name);
    let rds = Rds::to_look(&place).await.map_err(|error| error_chain(&error))?;
    let database = &request.config.database;
    let automated = async {
        match (&request.target, database) {
            (RdsTarget::Backup(_), _) => Ok(vec![]),
            (_, RdsDatabase::Instance(_)) => rds.automated_backups(database).await,
            (_, RdsDatabase::Cluster(_)) => {
                // The live one can be restored nevertheless.
                Ok(rds.automated_backups(database).await.unwrap_or_else(|failure| {
                    run.events.warning(format!(
                        "it is not known which backups of deleted clusters {name} has: {}",
                        error_chain(&failure)
                    ));
                    vec![]
                }))
            }
        }
    };
    let asking = join(rds.manual_snapshots(database), automated);
    let (snapshots, automated) = while_asked(&place, &run.events, asking).await;
    let failed = |failure: AwsFailure| error_chain(&failure);
    Ok(RegionReply { snapshots: snapshots.map_err(failed)?, automated: automated.map_err(failed)? })
}

/// AWS's answers before anything is selected.
struct SurveyResults {
    /// The database that has the name in its own region now; `None`: none, or the query failed.
    live: Option<Database>,
    /// The regions to restore from, in the order of the policy; or why one could not be queried, as text.
    regions: Vec<(String, Result<RegionReply, String>)>,
}

struct RegionReply {
    snapshots: Vec<Snapshot>,
    automated: Vec<AutomatedBackup>,
}

/// Returns the backups in a region that belong to this source.
fn region(
    request: &RdsRestoreRequest,
    name: String,
    answer: RegionReply,
    (live_now, stored, lineage): (Option<&Database>, &[ManualSnapshot], &Lineage),
) -> RegionBackups {
    let config = &request.config;
    let own = answer.snapshots.into_iter().filter(Snapshot::is_available).filter_map(|snapshot| {
        let backup = backup_of(&snapshot, &request.system, &request.source)?;
        let recorded = stored.iter().find(|stored| stored.manifest.id == backup);
        let managed = recorded.and_then(|stored| stored.manifest.managed.as_ref());
        managed.is_none_or(|managed| is_recorded(&snapshot, managed)).then_some((backup, snapshot))
    });
    let snapshots = own.collect();
    let retained = automated(answer.automated, &name, config, lineage);
    let is_home = name == config.place.region;
    let automated = match (&request.target, &config.database) {
        (RdsTarget::Backup(_), _) => vec![],
        (_, RdsDatabase::Instance(_)) => retained,
        (_, RdsDatabase::Cluster(_)) => with_retained(live(live_now.filter(|_| is_home).cloned()), retained),
    };
    RegionBackups { name, snapshots, automated }
}

/// Returns the automated backups in a region of every database that is or was this source's.
fn automated(
    known: Vec<AutomatedBackup>,
    region: &str,
    config: &RdsSource,
    lineage: &Lineage,
) -> Vec<AutomatedBackups> {
    let (name, home) = (config.database.identifier(), config.place.region.as_str());
    let automated = known.into_iter().filter_map(|backup| {
        let of_region = backup.database_region.as_deref().unwrap_or(region);
        lineage.holds(&backup.resource_id, backup.of == name, of_region == home).then_some(())?;
        let (resource_id, moment) = (backup.resource_id, RestoreMoment::Latest);
        let origin = if of_region == region {
            Origin::Automated { resource_id: resource_id.clone(), moment }
        } else {
            Origin::Replicated { arn: backup.arn, moment }
        };
        Some(AutomatedBackups {
            identifier: backup.of,
            resource_id,
            origin,
            window: backup.window?,
            encrypted: backup.encrypted,
        })
    });
    automated.collect()
}

/// Returns the names of the policy, or else the recorded ones.
fn names(request: &RdsRestoreRequest, region: &str, profile: &RestoreProfile) -> RegionNames {
    let recorded = profile.regions.get(region).cloned().unwrap_or_default();
    let Some(now) = request.config.region(region).map(|region| region.names.clone()) else { return recorded };
    RegionNames {
        kms_key: recorded.kms_key,
        subnet_group: now.subnet_group.or(recorded.subnet_group),
        security_groups: now.security_groups.or(recorded.security_groups),
        parameter_group: now.parameter_group.or(recorded.parameter_group),
        option_group: now.option_group.or(recorded.option_group),
    }
}
