use async_trait::async_trait;

use super::{prepare, resume};
use crate::model::{BackupId, BackupKind};
use crate::policy::AwsBackupSource;
use crate::source::capture::{Capture, Source, SourceContext, SourceError};

/// A resource that AWS Backup protects.
#[derive(Debug)]
pub(in crate::source) struct RecoveryPointSource {
    pub(in crate::source) kinds: Vec<BackupKind>,
    pub(in crate::source) config: AwsBackupSource,
}

#[async_trait(?Send)]
impl Source for RecoveryPointSource {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn in_flight(
        &self,
        kind: BackupKind,
        context: &SourceContext<'_>,
    ) -> Result<Vec<BackupId>, SourceError> {
        match kind {
            BackupKind::RecoveryPoint => {
                let SourceContext { system, source, events, cancel } = *context;
                let found = resume::in_flight(&self.config, system, source, events, cancel).await;
                found.map_err(SourceError::new)
            }
            _ => Ok(vec![]),
        }
    }

    async fn prepare(&self, kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        match kind {
            BackupKind::RecoveryPoint => {
                Ok(Box::new(prepare::prepare(&self.config).await.map_err(SourceError::new)?))
            }
            _ => Err(SourceError::NotAsked(kind)),
        }
    }
}
