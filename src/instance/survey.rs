//! Finds out everything a plan needs, and changes nothing anywhere.

use std::collections::BTreeMap;

use futures_util::future::{join_all, ready};
use futures_util::stream::{self, StreamExt as _};

use super::choice::{Automated, Chosen, Lineage, Region, Stored, Via, choose};
use super::cluster::{Members, date_copies, live, with_retained};
use super::settings::is_default;
use super::{InstanceError, Refusal, Request, Run, Target};
use crate::aws::AwsFailure;
use crate::aws::rds::{Database, Moment, Origin, Rds, Snapshot};
use crate::event::told;
use crate::model::{
    BackupId, BackupKind, Details, Parameter, ParameterGroup, RegionNames, RepositoryName, RestoreProfile,
};
use crate::policy::{RdsDatabase, RdsSource};
use crate::repository::{SmallReader, layout, list_all, manifest};
use crate::source::logical::DETAILS;
use crate::source::snapshot::{backup_of, is_recorded};

/// Requests to a repository at a time.
const MANIFESTS_AT_ONCE: usize = 8;

/// Everything that was found out before deciding.
#[derive(Clone, Debug)]
pub struct Situation {
    pub(super) chosen: Chosen,
    /// Where databases that had the name one after the other may be confused: whose it is, in words.
    pub(super) other_database: Option<String>,
    pub(super) profile: RestoreProfile,
    /// The backup it was recorded with; `None`: the database was asked now.
    pub(super) profile_of: Option<BackupId>,
    /// With what somebody wants otherwise, and without.
    pub(super) names: RegionNames,
    pub(super) policy_names: RegionNames,
    pub(super) is_home: bool,
    /// What has the new identifier already.
    pub(super) existing: Option<Database>,
    /// Whether the region has the groups that would be used; of no name, nothing is known.
    pub(super) has_subnet_group: Option<bool>,
    pub(super) has_parameter_group: Option<bool>,
    /// The region has a group of the recorded name, and it does not set what was recorded.
    pub(super) group_lacks: Option<Lacks>,
    /// Of a cluster.
    pub(super) members: Members,
    /// Regions that could not be asked, and why: they may have more.
    pub(super) not_asked: Vec<(String, String)>,
}

/// A parameter group that is not as it was recorded.
#[derive(Clone, Debug)]
pub(super) struct Lacks {
    /// drctl made it, and an earlier run may have come no further.
    pub(super) is_ours: bool,
    pub(super) parameters: Vec<String>,
}

impl Run {
    pub async fn survey(&self, request: &Request) -> Result<Situation, InstanceError> {
        let stored = self.stored(request).await;
        let lineage = lineage(request, &stored).await;
        let (mut regions, not_asked) = self.regions(request, &stored, &lineage).await?;
        date_copies(&mut regions, &stored);
        if regions.is_empty() {
            return Err(InstanceError::Refused(vec![Refusal::NobodyAsked(not_asked)]));
        }
        let chosen = choose(request, &regions, &stored, &lineage);
        let chosen = chosen.map_err(|refusal| InstanceError::Refused(vec![refusal]))?;
        let is_home = chosen.region == request.config.place.region;
        let (profile, profile_of) = self.profile(request, &chosen, &stored).await?;
        let policy_names = names(request, &chosen.region, &profile);
        let names = request.overrides.names(policy_names.clone());

        let rds = Rds::of(&request.config.place.in_region(&chosen.region)).await?;
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
            // The policy's own choice is nobody's copy, and at home it is the group itself.
            Some(group)
                if has_parameter_group == Some(true) && !is_home && names.parameter_group.is_none() =>
            {
                lacks(&rds, group, is_cluster).await?
            }
            _ => None,
        };
        let members = match is_cluster {
            true => Members::survey(&rds, &request.to, &profile, is_home).await?,
            false => Members::default(),
        };
        Ok(Situation {
            other_database: lineage.note(request, &chosen.via, &regions),
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

    /// The backups of the source whose manifests can be read, the newest first.
    async fn stored(&self, request: &Request) -> Vec<Stored> {
        let prefix = layout::backups(&self.system, &request.source);
        let listed =
            self.repositories.iter().map(async |repository| list_all(&*repository.store, &prefix).await);
        let mut holders: BTreeMap<BackupId, Vec<RepositoryName>> = BTreeMap::new();
        for (repository, listed) in self.repositories.iter().zip(join_all(listed).await) {
            match listed {
                Ok(objects) => {
                    let ids = objects.iter().filter_map(|object| layout::parse_manifest(&object.key));
                    for id in ids.filter(|id| id.kind() == BackupKind::Snapshot) {
                        holders.entry(id).or_default().push(repository.name.clone());
                    }
                }
                Err(error) => {
                    self.events.warning(format!("repository {}: {}", repository.name, told(&error)))
                }
            }
        }
        let read = holders.into_iter().rev().map(|(id, holders)| self.read(id, holders));
        stream::iter(read).buffered(MANIFESTS_AT_ONCE).filter_map(ready).collect().await
    }

    /// From the first repository where it can be read.
    async fn read(&self, id: BackupId, holders: Vec<RepositoryName>) -> Option<Stored> {
        for name in &holders {
            let Some(repository) = self.repositories.find(name) else { continue };
            match manifest::read(&*repository.store, &self.system, &id).await {
                Ok((manifest, _)) => return Some(Stored { manifest, holders }),
                Err(error) => self.events.warning(format!("repository {name}: {}", told(&error))),
            }
        }
        None
    }

    /// What each region of the policy has, the database's own first; and those that could not be asked.
    async fn regions(
        &self,
        request: &Request,
        stored: &[Stored],
        lineage: &Lineage,
    ) -> Result<(Vec<Region>, Vec<(String, String)>), InstanceError> {
        let config = &request.config;
        let all =
            std::iter::once(&config.place.region).chain(config.regions.iter().map(|region| &region.name));
        let wanted = |name: &&String| request.region.as_ref().is_none_or(|only| only == *name);
        let names: Vec<&String> = all.filter(wanted).collect();
        let asked = join_all(names.iter().map(|name| self.region(request, name, stored, lineage))).await;
        let (mut regions, mut not_asked) = (Vec::new(), Vec::new());
        for (name, answer) in names.into_iter().zip(asked) {
            match answer {
                Ok(region) => regions.push(region),
                Err(error) => {
                    let reason = told(&error);
                    self.events.warning(format!("{name} cannot be asked what it has: {reason}"));
                    not_asked.push((name.clone(), reason));
                }
            }
        }
        Ok((regions, not_asked))
    }

    async fn region(
        &self,
        request: &Request,
        name: &str,
        stored: &[Stored],
        lineage: &Lineage,
    ) -> Result<Region, InstanceError> {
        let config = &request.config;
        let rds = Rds::of(&config.place.in_region(name)).await?;
        let known = rds.manual_snapshots(&config.database).await?;
        let own = known.into_iter().filter(Snapshot::is_available).filter_map(|snapshot| {
            let backup = backup_of(&snapshot, &request.system, &request.source)?;
            let recorded = stored.iter().find(|stored| stored.manifest.id == backup);
            let managed = recorded.and_then(|stored| stored.manifest.managed.as_ref());
            managed.is_none_or(|managed| is_recorded(&snapshot, managed)).then_some((backup, snapshot))
        });
        let snapshots = own.collect();
        let automated = match (&request.target, &config.database) {
            (Target::Backup(_), _) => vec![],
            (_, RdsDatabase::Instance(_)) => automated(&rds, config, lineage).await?,
            (_, RdsDatabase::Cluster(_)) => self.of_cluster(&rds, config, lineage).await?,
        };
        Ok(Region { name: name.to_owned(), snapshots, automated })
    }

    /// What a cluster that is there can be restored to, and those that are gone.
    async fn of_cluster(
        &self,
        rds: &Rds,
        config: &RdsSource,
        lineage: &Lineage,
    ) -> Result<Vec<Automated>, InstanceError> {
        let is_home = rds.region() == config.place.region;
        let live = if is_home { live(rds.database(&config.database).await?) } else { vec![] };
        match automated(rds, config, lineage).await {
            Ok(retained) => Ok(with_retained(live, retained)),
            // The one that is there is restored all the same.
            Err(failure) => {
                self.events.warning(format!(
                    "it is not known which backups of deleted clusters {} has: {}",
                    rds.region(),
                    told(&failure)
                ));
                Ok(live)
            }
        }
    }

    /// As it was recorded with the backup that is restored; to a moment, with the newest one before it.
    async fn profile(
        &self,
        request: &Request,
        chosen: &Chosen,
        stored: &[Stored],
    ) -> Result<(RestoreProfile, Option<BackupId>), InstanceError> {
        let backup = match &chosen.via {
            Via::Snapshot { backup, .. } => stored.iter().find(|stored| stored.manifest.id == *backup),
            Via::Automated { until, .. } => {
                let before = stored.iter().find(|stored| stored.manifest.recovery_point <= *until);
                before.or(stored.last())
            }
        };
        let refused = |why: String| InstanceError::Refused(vec![Refusal::NoProfile(why)]);
        let read = match backup {
            Some(backup) => {
                self.recorded(backup).await.map(|profile| (profile, Some(backup.manifest.id.clone())))
            }
            None => Err(refused("no manifest of a snapshot could be read".to_owned())),
        };
        let why = match read {
            Ok(read) => return Ok(read),
            Err(error) if error.is_interruption() => return Err(error),
            Err(error) => error,
        };
        // The next best is how it is set up now, where its region lives.
        let now = async {
            let rds = Rds::of(&request.config.place).await?;
            let Some(database) = rds.database(&request.config.database).await? else {
                return Ok::<_, InstanceError>(None);
            };
            let mut profile = database.profile;
            if let Some(group) = &profile.parameter_group {
                let of_cluster = profile.cluster.is_some();
                profile.parameter_group = Some(rds.parameters(&group.name, of_cluster).await?);
            }
            if let Some(cluster) = &mut profile.cluster {
                cluster.parameter_groups = rds.parameters_of(&cluster.members).await?;
            }
            Ok(Some(profile))
        };
        match now.await {
            Ok(Some(profile)) => {
                self.events.warning(format!("it is set up as the database is now, since {}", told(&why)));
                Ok((profile, None))
            }
            _ => Err(refused(told(&why))),
        }
    }

    async fn recorded(&self, stored: &Stored) -> Result<RestoreProfile, InstanceError> {
        let artifact = stored.manifest.artifact_of(DETAILS);
        let artifact =
            artifact.ok_or_else(|| InstanceError::NotUnderstood(stored.manifest.id.to_string()))?;
        let reader = SmallReader {
            repositories: &self.repositories,
            identities: &self.identities,
            events: &self.events,
            cancel: &self.cancel,
        };
        let bytes = reader.read(&stored.manifest, artifact, &stored.holders).await?;
        let details: Option<Details> = serde_json::from_slice(&bytes).ok();
        let profile = details.and_then(|details| details.profile);
        profile.ok_or_else(|| InstanceError::NotUnderstood(artifact.name.clone()))
    }
}

/// Which databases had the name: by the manifests, and by the region where it is.
async fn lineage(request: &Request, stored: &[Stored]) -> Lineage {
    let live = async {
        let rds = Rds::of(&request.config.place).await.ok()?;
        rds.database(&request.config.database).await.ok()?.map(|database| database.resource_id)
    };
    let mut backed_up: Vec<String> = Vec::new();
    for id in stored.iter().filter_map(|stored| stored.manifest.managed.as_ref()?.resource_id.clone()) {
        if !backed_up.contains(&id) {
            backed_up.push(id);
        }
    }
    Lineage { live: live.await, backed_up }
}

/// The automated backups in the region of every database that is or was this source's.
async fn automated(rds: &Rds, config: &RdsSource, lineage: &Lineage) -> Result<Vec<Automated>, AwsFailure> {
    let (name, home) = (config.database.identifier(), config.place.region.as_str());
    let known = rds.automated_backups(&config.database).await?;
    let automated = known.into_iter().filter_map(|backup| {
        let of_region = backup.database_region.as_deref().unwrap_or(rds.region());
        lineage.holds(&backup.resource_id, backup.of == name, of_region == home).then_some(())?;
        let (resource_id, moment) = (backup.resource_id, Moment::Latest);
        let origin = if of_region == rds.region() {
            Origin::Automated { resource_id: resource_id.clone(), moment }
        } else {
            Origin::Replicated { arn: backup.arn, moment }
        };
        Some(Automated {
            identifier: backup.of,
            resource_id,
            origin,
            window: backup.window?,
            encrypted: backup.encrypted,
        })
    });
    Ok(automated.collect())
}

pub(super) async fn lacks(
    rds: &Rds,
    recorded: &ParameterGroup,
    of_cluster: bool,
) -> Result<Option<Lacks>, AwsFailure> {
    let there = rds.parameters(&recorded.name, of_cluster).await?.parameters;
    let is_there = |parameter: &&Parameter| {
        there.iter().any(|known| known.name == parameter.name && known.value == parameter.value)
    };
    let missing = recorded.parameters.iter().filter(|parameter| !is_there(parameter));
    let parameters: Vec<String> = missing.map(|parameter| parameter.name.clone()).collect();
    if parameters.is_empty() {
        return Ok(None);
    }
    let is_ours = rds.made_parameter_group(&recorded.name, of_cluster).await?;
    Ok(Some(Lacks { is_ours, parameters }))
}

/// What the policy says now, and where it says nothing, what it said then.
fn names(request: &Request, region: &str, profile: &RestoreProfile) -> RegionNames {
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
