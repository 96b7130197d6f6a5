use async_trait::async_trait;

use super::await_snapshot::warn_of_quota;
use super::error::SnapshotError;
use super::name::identifier;
use super::prepare::SnapshotCapture;
use super::{copies, manual_restore};
use crate::aws::rds::{Database, Snapshot, SnapshotId};
use crate::aws::{AwsTags, PolledState, Start, key, start_or_adopt};
use crate::event::{Phase, PhaseTimer};
use crate::model::{CloudBackup, CloudBackupCopy, Details, ServerFacts};
use crate::source::aws::store_details;
use crate::source::capture::{
    ArtifactSink, Capture, CaptureContext, Captured, MissingCopy, Naming, SourceError,
};
use crate::text::error_chain;

/// An instance that is being changed or backed up becomes available between the steps.
const BEGINNINGS: u32 = 5;

#[async_trait(?Send)]
impl Capture for SnapshotCapture<'_> {
    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        self.capture(context, sink).await.map_err(SourceError::new)
    }
}

impl SnapshotCapture<'_> {
    /// Takes the snapshot, or resumes the one that an earlier run started for this backup, and copies it.
    async fn capture(
        &self,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SnapshotError> {
        let CaptureContext { naming, events, .. } = *context;
        let id = identifier(&self.source.database, naming.system, naming.backup);
        let tags = AwsTags::of_backup(naming.system, naming.source, naming.backup, naming.run);
        for words in &self.profile.not_recorded {
            events.warning(format!(
                "not recorded with this backup: {words}; `drctl iam show writer` prints what the role should have"
            ));
        }
        let mut phases = PhaseTimer::new(events);
        phases.begin(Phase::Snapshot);
        self.begin(&id, &tags, context).await?;
        let snapshot = self.wait(&self.rds, &id, context).await?;
        self.is_ours(&snapshot, naming)?;
        phases.end();
        let recovery_point = snapshot.recovery_point().ok_or(SnapshotError::NoTime)?;
        warn_of_quota(&self.rds, &id, events).await;

        let (copies, mut missing_copies) = copies::copy(self, &snapshot, &tags, context).await?;
        if let Err(reason) = self.share(&snapshot).await {
            let place = format!("account {}", self.source.share_with.join(", "));
            missing_copies.push(MissingCopy { place, reason });
        }
        let own = (self.rds.region().to_owned(), snapshot.clone());
        let held = std::iter::once(own).chain(copies).map(|(region, snapshot)| CloudBackupCopy {
            region,
            arn: snapshot.arn,
            vault: None,
            kms_key: snapshot.kms_key,
        });
        let held: Vec<_> = held.collect();

        let details = Details { profile: Some(self.profile.clone()), ..Details::default() };
        let details = store_details(&details, sink, context).await?;
        let commands = manual_restore::lines(&details, &self.source.database, id.as_str(), &held);
        let version = snapshot.engine_version.clone().unwrap_or_default();
        Ok(Captured {
            recovery_point,
            server: major(&version).map(|major| ServerFacts {
                version,
                major,
                system_identifier: None,
                address: None,
                replaces: None,
            }),
            physical: None,
            parent: None,
            managed: Some(CloudBackup {
                resource: self.database.arn.clone(),
                resource_id: Some(self.database.resource_id.clone()),
                encrypted: snapshot.encrypted,
                plan: None,
                allocated_gib: snapshot.allocated_gib,
                held,
            }),
            missing_copies,
            warnings: vec![],
            producer: format!("Amazon RDS ({})", snapshot.engine.as_deref().unwrap_or("engine unknown")),
            artifacts: vec![details],
            manual_restore: commands,
            excluded: self.profile.not_recorded.clone(),
        })
    }

    async fn begin(
        &self,
        id: &SnapshotId,
        tags: &AwsTags,
        context: &CaptureContext<'_>,
    ) -> Result<(), SnapshotError> {
        if let Some(snapshot) = self.rds.snapshot(id).await? {
            context.events.notice(format!("resuming snapshot `{}` of an earlier run", id.as_str()));
            return self.is_ours(&snapshot, context.naming);
        }
        let create = async || {
            let create = self.rds.create_snapshot(&self.source.database, id, tags);
            match start_or_adopt(create, self.rds.snapshot(id)).await {
                Start::Failed { failure, .. } => Err(failure),
                // Its ownership is checked when it is complete.
                Start::Begun | Start::Found(_) => Ok(()),
            }
        };
        self.available(context).await?;
        let ready = async || self.available(context).await;
        self.waiter(context).repeat(BEGINNINGS, ready, create).await
    }

    fn is_ours(&self, snapshot: &Snapshot, naming: Naming<'_>) -> Result<(), SnapshotError> {
        let what = match () {
            () if snapshot.tags.backup(naming.system, naming.source).as_ref() != Some(naming.backup) => {
                "it does not have drctl's tags"
            }
            () if snapshot.resource_id.as_ref() != Some(&self.database.resource_id) => {
                "it is of another database, of the same name"
            }
            () => return Ok(()),
        };
        Err(SnapshotError::Taken {
            identifier: snapshot.id.as_str().to_owned(),
            region: self.rds.region().to_owned(),
            what,
        })
    }

    /// Waits until RDS accepts a snapshot, which it does only between its other work.
    async fn available(&self, context: &CaptureContext<'_>) -> Result<(), SnapshotError> {
        // A database whose storage is full can be backed up, too.
        let sees = |database: Database| match database.takes_changes() {
            true => PolledState::Done(database),
            false => database.seen(),
        };
        let database = &self.source.database;
        let subject = format!("{} in {}", database.identifier(), self.rds.region());
        self.waiter(context).until(&subject, async || self.rds.database(database).await, sees).await?;
        Ok(())
    }

    /// Shares the snapshot, or returns why it is not shared. What can never be shared is not tried.
    async fn share(&self, snapshot: &Snapshot) -> Result<(), String> {
        let source = self.source;
        if source.share_with.is_empty() {
            return Ok(());
        }
        if let Some(named) = &snapshot.kms_key {
            match key(&source.place, named).await {
                Ok(Some(key)) if key.is_of_aws => {
                    return Err(format!(
                        "it is encrypted with the AWS-managed key {}, and what is can never be shared: `drctl doctor` says the way",
                        key.arn
                    ));
                }
                Ok(_) => {}
                // RDS reports it then.
                Err(error) => tracing::info!("{}", error_chain(&error)),
            }
        }
        let shared = self.rds.share_snapshot(&snapshot.id, &source.share_with).await;
        shared.map_err(|failure| error_chain(&failure))
    }
}

/// Returns the major version: `16.4` is 16.
fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}
