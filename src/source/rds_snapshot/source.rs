use async_trait::async_trait;

use super::prepare;
use crate::model::{BackupId, BackupKind};
use crate::policy::RdsSource;
use crate::source::capture::{Capture, Source, SourceContext, SourceError};
use crate::source::postgres;

/// A database of RDS: snapshots that RDS keeps, and dumps where the policy has a login.
#[derive(Debug)]
pub(in crate::source) struct RdsBackups {
    pub(in crate::source) kinds: Vec<BackupKind>,
    pub(in crate::source) config: RdsSource,
}

#[async_trait(?Send)]
impl Source for RdsBackups {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn in_flight(
        &self,
        kind: BackupKind,
        context: &SourceContext<'_>,
    ) -> Result<Vec<BackupId>, SourceError> {
        match kind {
            BackupKind::Snapshot => {
                let found = prepare::in_flight(&self.config, context.system, context.source).await;
                found.map_err(SourceError::new)
            }
            _ => Ok(vec![]),
        }
    }

    async fn prepare(&self, kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        match (kind, &self.config.login) {
            (BackupKind::Snapshot, _) if self.config.snapshots => {
                Ok(Box::new(prepare::prepare(&self.config).await.map_err(SourceError::new)?))
            }
            (kind, Some(login)) => postgres::prepare(login, kind).await,
            (kind, None) => Err(SourceError::NotAsked(kind)),
        }
    }
}
