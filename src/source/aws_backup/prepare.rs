use super::error::RecoveryPointError;
use crate::aws::Poll;
use crate::aws::backup::{AwsBackup, Vault};
use crate::policy::AwsBackupSource;
use crate::text::error_chain;

/// A resource whose vault exists.
#[derive(Debug)]
pub(super) struct RecoveryPointCapture<'p> {
    pub(super) aws: AwsBackup,
    pub(super) source: &'p AwsBackupSource,
    pub(super) vault: Vault,
    pub(super) poll: Poll,
}

pub(super) async fn prepare(
    source: &AwsBackupSource,
) -> Result<RecoveryPointCapture<'_>, RecoveryPointError> {
    let aws = AwsBackup::connect(&source.place).await?;
    if let Some(kind) = unrestored(&aws, source).await {
        return Err(RecoveryPointError::NotRestored { kind, resource: source.resource.clone() });
    }
    let vault = vault(&aws, &source.vault, "vault").await?;
    Ok(RecoveryPointCapture { aws, source, vault, poll: poll(source) })
}

/// Returns the resource type, where drctl would not restore it and the policy does not leave that to AWS's
/// own tools. The ARN of an RDS cluster may be one of DocumentDB or Neptune: RDS reports it, where the role
/// may query it.
async fn unrestored(aws: &AwsBackup, source: &AwsBackupSource) -> Option<String> {
    if source.restored_by_aws {
        return None;
    }
    if let Some(kind) = source.unrestorable() {
        return Some(kind.to_owned());
    }
    match aws.engine(&source.resource).await {
        Ok(Some(engine)) => other_engine(&engine).map(str::to_owned),
        Ok(None) => None,
        // It is reported by the recovery point.
        Err(failure) => {
            tracing::info!("{}", error_chain(&failure));
            None
        }
    }
}

fn other_engine(engine: &str) -> Option<&'static str> {
    match engine {
        "docdb" => Some("DocumentDB"),
        "neptune" => Some("Neptune"),
        _ => None,
    }
}

/// Returns whether drctl restores a resource type of AWS Backup.
pub(super) fn is_restored(resource_type: &str) -> bool {
    ["RDS", "Aurora", "EFS", "S3", "DynamoDB"].iter().any(|known| known.eq_ignore_ascii_case(resource_type))
}

/// Returns the vault. `setting`: the setting of the policy that names it.
pub(super) async fn vault(
    aws: &AwsBackup,
    name: &str,
    setting: &'static str,
) -> Result<Vault, RecoveryPointError> {
    let (vault, region) = (name.to_owned(), aws.region().to_owned());
    match aws.vault(name).await {
        Ok(Some(vault)) => Ok(vault),
        Ok(None) => Err(RecoveryPointError::NoVault { vault, region, setting }),
        Err(source) => Err(RecoveryPointError::Vault { vault, source }),
    }
}

/// Returns how to poll for a job: it may wait for its whole start window, and takes its time after that.
pub(super) fn poll(source: &AwsBackupSource) -> Poll {
    Poll { every: source.place.poll, deadline: source.place.deadline + source.start_window }
}
