use super::run::{Run, SMALL_CALL};
use crate::model::SourceName;
use crate::repository::layout;
use crate::store::{StoreError, require_admin};

impl Run<'_> {
    /// Aborts the uploads that a killed run left behind: they cost money, and no listing shows them. While
    /// the lease is held, no upload of this source is in progress.
    pub(super) async fn abort_orphaned_uploads(&self, source: &SourceName) {
        let prefix = layout::backups(&self.policy.system, source);
        for repository in self.repositories.iter() {
            let swept = tokio::time::timeout(SMALL_CALL, async {
                let admin = require_admin(&*repository.store)?;
                let uploads = admin.pending_uploads(&prefix).await?;
                for upload in &uploads {
                    admin.abort_upload(upload).await?;
                }
                Ok::<_, StoreError>(uploads.len())
            });
            match swept.await {
                Ok(Ok(0)) => {}
                Ok(Ok(count)) => self.events.notice(format!(
                    "repository {}: aborted {count} unfinished {} of an earlier run",
                    repository.name,
                    if count == 1 { "upload" } else { "uploads" }
                )),
                Ok(Err(error)) => tracing::info!("{error}"),
                Err(_) => {
                    tracing::info!("looking for unfinished uploads in {} took too long", repository.name)
                }
            }
        }
    }
}
