use chrono::{DateTime, Utc};

use super::run::{Run, SMALL_CALL};
use crate::catalog::{BackupEntry, CopyEntry, Filter};
use crate::repository::layout;
use crate::text::error_chain;

impl Run<'_> {
    /// Reports repositories that were created, and those that lost contents; and has the catalog record the
    /// existing ones.
    pub(super) async fn report_changes(&self, now: DateTime<Utc>) {
        let (repositories, events) = (&self.repositories, self.events);
        let others = &repositories.remembered().others;
        for repository in repositories.created() {
            let also = if repositories.remembered().id.is_none() && !others.is_empty() {
                format!("; this host also knows another repository of the system, in {}", others.join(", "))
            } else {
                String::new()
            };
            events.notice(format!(
                "created repository {} in {}{also}",
                repository.name,
                repository.store.location()
            ));
        }
        let Some(catalog) = &self.catalog else { return };
        if let Err(error) = catalog.record_marked(repositories, now).await {
            events
                .warning(format!("the catalog does not know the repositories yet: {}", error_chain(&error)));
            return;
        }
        let Ok(entries) = catalog.backups(&Filter::default()).await else { return };
        for repository in repositories.marked() {
            let held = |entry: &&BackupEntry| entry.copy(&repository.name).is_some_and(CopyEntry::is_held);
            let Some(newest) = entries.iter().find(held).map(BackupEntry::id) else { continue };
            let key = layout::manifest(catalog.system_name(), newest);
            let found = tokio::time::timeout(SMALL_CALL, repository.store.head(&key)).await;
            if matches!(found, Ok(Ok(None))) {
                events.warning(format!(
                    "repository {} does not hold {newest} any more: was an older state of it restored, or was it emptied? `drctl list` shows what is missing, `drctl copies sync` completes it",
                    repository.name
                ));
            }
        }
    }
}
