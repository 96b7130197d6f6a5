use super::RecoveryPointError;
use crate::aws::Poll;
use crate::aws::backup::{AwsBackup, Vault};
use crate::policy::AwsBackupSource;

/// A resource whose vault is there.
#[derive(Debug)]
pub struct Prepared<'p> {
    pub(super) aws: AwsBackup,
    pub(super) source: &'p AwsBackupSource,
    pub(super) vault: Vault,
    pub(super) poll: Poll,
}

pub async fn prepare(source: &AwsBackupSource) -> Result<Prepared<'_>, RecoveryPointError> {
    let aws = AwsBackup::of(&source.place).await?;
    let vault = vault(&aws, &source.vault, "vault").await?;
    Ok(Prepared { aws, source, vault, poll: poll(source) })
}

/// `setting`: where the policy names it.
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

/// A job may wait for its whole start window, and takes its time after that.
pub(super) fn poll(source: &AwsBackupSource) -> Poll {
    Poll { every: source.place.poll, deadline: source.place.deadline + source.start_window }
}
