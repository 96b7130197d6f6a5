//! Has RDS replicate an instance's automated backups to the regions of the policy.
//!
//! *Invariants.* An existing replication is not changed, and none is ever stopped.

use futures_util::future::join_all;
use thiserror::Error;

use crate::aws::rds::{AutomatedBackup, Rds};
use crate::aws::{AwsError, AwsFailure, key};
use crate::model::{RestoreProfile, SourceName};
use crate::policy::{Policy, RdsDatabase, RdsRegion, RdsSource};
use crate::text::error_chain;

/// The default and maximum retention of replicated backups.
const USUAL_DAYS: u32 = 7;
const MOST_DAYS: u32 = 35;

#[derive(Debug, Error)]
pub enum ReplicateError {
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    #[error("no region of source `{0}` has `automated_backups = true` in the policy")]
    NotAsked(SourceName),
    #[error("RDS replicates automated backups of instances only, and `{0}` is a cluster")]
    Cluster(String),
    #[error(
        "`{identifier}` is an instance of cluster `{cluster}`, and RDS replicates no automated backups of clusters"
    )]
    Member { identifier: String, cluster: String },
    #[error("there is no instance `{identifier}` in {region}")]
    NoInstance { identifier: String, region: String },
    #[error("RDS keeps no automated backups of `{0}`: its backup retention is 0 days")]
    Off(String),
}

#[derive(Debug)]
pub struct ReplicatePlan {
    pub instance_arn: String,
    pub steps: Vec<ReplicateStep>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicateStep {
    pub region: String,
    pub what: ReplicationAction,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicationAction {
    /// RDS replicates already.
    Stands(AutomatedBackup),
    Begin {
        days: u32,
        kms_key: Option<String>,
    },
    /// The database is encrypted, and the policy names no KMS key there.
    NoKey,
    /// The region could not be queried.
    Unknown(String),
}

impl ReplicatePlan {
    pub fn to_begin(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.what, ReplicationAction::Begin { .. })).count()
    }
}

pub async fn plan(
    policy: &Policy,
    name: &SourceName,
    source: &RdsSource,
) -> Result<ReplicatePlan, ReplicateError> {
    let RdsDatabase::Instance(identifier) = &source.database else {
        return Err(ReplicateError::Cluster(source.database.identifier().to_owned()));
    };
    let wanted: Vec<_> = source.regions.iter().filter(|region| region.automated_backups).collect();
    if wanted.is_empty() {
        return Err(ReplicateError::NotAsked(name.clone()));
    }
    let home = Rds::to_look(&source.place).await?;
    let instance = home.database(&source.database).await?.ok_or_else(|| ReplicateError::NoInstance {
        identifier: identifier.clone(),
        region: source.place.region.clone(),
    })?;
    if let Some(cluster) = instance.cluster {
        return Err(ReplicateError::Member { identifier: identifier.clone(), cluster });
    }
    if instance.profile.backup_retention_days == Some(0) {
        return Err(ReplicateError::Off(identifier.clone()));
    }
    let days = days(policy, name);
    let asked = wanted.into_iter().map(async |region| {
        let what = look(source, region, &instance.resource_id, &instance.profile, days).await;
        ReplicateStep { region: region.name.clone(), what: what.unwrap_or_else(ReplicationAction::Unknown) }
    });
    let steps = join_all(asked).await;
    Ok(ReplicatePlan { instance_arn: instance.arn, steps })
}

/// Returns the number of days for which the policy wants point-in-time recovery.
fn days(policy: &Policy, source: &SourceName) -> u32 {
    let pitr = policy.retention.as_ref().and_then(|retention| retention.rules_for(source).pitr);
    let days = pitr.map(|pitr| u32::try_from(pitr.as_secs().div_ceil(86_400)).unwrap_or(MOST_DAYS));
    days.unwrap_or(USUAL_DAYS).clamp(1, MOST_DAYS)
}

async fn look(
    source: &RdsSource,
    region: &RdsRegion,
    resource_id: &str,
    profile: &RestoreProfile,
    days: u32,
) -> Result<ReplicationAction, String> {
    let rds =
        Rds::to_look(&source.place.in_region(&region.name)).await.map_err(|error| error_chain(&error))?;
    let kept = rds.automated_backups_of(&source.database).await.map_err(|error| error_chain(&error))?;
    let standing = kept.into_iter().find(|kept| kept.resource_id == resource_id && kept.status != "retained");
    Ok(match (standing, &region.kms_key) {
        (Some(standing), _) => ReplicationAction::Stands(standing),
        (None, None) if profile.encrypted => ReplicationAction::NoKey,
        (None, Some(named)) if profile.encrypted => {
            ReplicationAction::Begin { days, kms_key: Some(arn(source, region, named).await?) }
        }
        (None, _) => ReplicationAction::Begin { days, kms_key: None },
    })
}

/// Returns the ARN of a KMS key, since RDS takes no alias or id for this; or why it is unknown, as text.
async fn arn(source: &RdsSource, region: &RdsRegion, named: &str) -> Result<String, String> {
    if named.starts_with("arn:") && named.contains(":key/") {
        return Ok(named.to_owned());
    }
    let place = source.place.in_region(&region.name);
    let why = match key(&place, named).await {
        Ok(Some(key)) => return Ok(key.arn),
        Ok(None) => format!("there is no key `{named}`"),
        Err(error) => error_chain(&error),
    };
    Err(format!(
        "RDS requires the ARN of a key here, which `{named}` is not, and KMS did not resolve it ({why}); write that of `aws kms describe-key --key-id {named} --region {}` as `kms_key`",
        region.name
    ))
}

/// Starts the replication.
pub async fn begin(
    source: &RdsSource,
    plan: &ReplicatePlan,
    region: &str,
    days: u32,
    kms_key: Option<&str>,
) -> Result<(), ReplicateError> {
    let rds = Rds::connect(&source.place.in_region(region)).await?;
    Ok(rds.replicate_automated_backups(&plan.instance_arn, days, kms_key).await?)
}
