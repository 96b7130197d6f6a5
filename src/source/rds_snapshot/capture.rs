use async_trait::async_trait;

use super::await_snapshot::{wait, warn_of_quota};
use super::error::SnapshotError;
use super::name::identifier;
use super::prepare::SnapshotCapture;
use super::{copies, manual_restore};
use crate::aws::AwsTags;
use crate::aws::rds::{Database, Snapshot, SnapshotId};
use crate::aws::{FailureKind, PolledState, key};
use crate::event::{Events, Phase, PhaseTimer};
use crate::model::{Artifact, CloudBackup, CloudBackupCopy, Details, ServerFacts};
use crate::pipeline::MemoryProducer;
use crate::platform::CancellationToken;
use crate::source::capture::{
    ArtifactSink, Capture, CaptureContext, Captured, DETAILS, MissingCopy, Naming, SinkError, SourceError,
};
use crate::text::error_chain;

/// An instance that is being changed or backed up becomes available between its steps.
const BEGINNINGS: u32 = 5;

#[async_trait(?Send)]
impl Capture for SnapshotCapture<'_> {
    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        let captured = capture(*self, context.naming, sink, context.events, context.cancel).await;
        captured.map_err(SourceError::new)
    }
}

/// Takes the snapshot, or resumes the one that an earlier run began for this backup, and copies it.
async fn capture(
    prepared: SnapshotCapture<'_>,
    naming: Naming<'_>,
    sink: &mut dyn ArtifactSink,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Captured, SnapshotError> {
    let id = identifier(&prepared.source.database, naming.system, naming.backup);
    let tags = AwsTags::of_backup(naming.system, naming.source, naming.backup, naming.run);

    for words in &prepared.profile.not_recorded {
        events.warning(format!(
            "not recorded with this backup: {words}; `drctl iam show writer` prints what the role should have"
        ));
    }
    let mut phases = PhaseTimer::new(events);
    phases.begin(Phase::Snapshot);
    begin(&prepared, &id, &tags, naming, events, cancel).await?;
    let snapshot = wait(&prepared.rds, &id, &prepared, events, cancel).await?;
    is_ours(&snapshot, &prepared, naming)?;
    phases.end();
    let recovery_point = snapshot.recovery_point().ok_or(SnapshotError::NoTime)?;
    warn_of_quota(&prepared.rds, &id, events).await;

    let copied = copies::copy(&prepared, &snapshot, &tags, events, cancel).await?;
    let mut missing_copies = copied.failed;
    if let Err(reason) = share(&prepared, &snapshot).await {
        let place = format!("account {}", prepared.source.share_with.join(", "));
        missing_copies.push(MissingCopy { place, reason });
    }
    let held = |region: &str, snapshot: &Snapshot| CloudBackupCopy {
        region: region.to_owned(),
        arn: snapshot.arn.clone(),
        vault: None,
        kms_key: snapshot.kms_key.clone(),
    };
    let mut everywhere = vec![held(prepared.rds.region(), &snapshot)];
    everywhere.extend(copied.made.iter().map(|(region, copy)| held(region, copy)));

    let details = store_details(&prepared, sink, events).await?;
    let commands = manual_restore::lines(&details, &prepared.source.database, id.as_str(), &everywhere);
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
        managed: Some(CloudBackup {
            resource: prepared.database.arn.clone(),
            resource_id: Some(prepared.database.resource_id.clone()),
            encrypted: snapshot.encrypted,
            plan: None,
            allocated_gib: snapshot.allocated_gib,
            held: everywhere,
        }),
        missing_copies,
        warnings: vec![],
        producer: format!("Amazon RDS ({})", snapshot.engine.as_deref().unwrap_or("engine unknown")),
        artifacts: vec![details],
        manual_restore: commands,
        excluded: prepared.profile.not_recorded.clone(),
    })
}

/// `16.4`: 16.
fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

async fn begin(
    prepared: &SnapshotCapture<'_>,
    id: &SnapshotId,
    tags: &AwsTags,
    naming: Naming<'_>,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<(), SnapshotError> {
    if let Some(snapshot) = prepared.rds.snapshot(id).await? {
        events.notice(format!("going on with snapshot `{}`, which an earlier run began", id.as_str()));
        return is_ours(&snapshot, prepared, naming);
    }
    for left in (0..BEGINNINGS).rev() {
        available(prepared, events, cancel).await?;
        let begun = prepared.rds.create_snapshot(&prepared.source.database, id, tags).await;
        match begun {
            Ok(()) => return Ok(()),
            // The answer to an earlier attempt was lost. Whose it is, is seen when it can be seen.
            Err(failure) if failure.kind == FailureKind::Exists => return Ok(()),
            Err(failure) if failure.kind == FailureKind::State && left > 0 => {
                tracing::info!("{}", error_chain(&failure));
                tokio::time::sleep(prepared.poll.every).await;
            }
            // Where no answer came, it may have been begun all the same.
            Err(failure) => match prepared.rds.snapshot(id).await {
                Ok(Some(snapshot)) => return is_ours(&snapshot, prepared, naming),
                _ => return Err(failure.into()),
            },
        }
    }
    Ok(())
}

fn is_ours(
    snapshot: &Snapshot,
    prepared: &SnapshotCapture<'_>,
    naming: Naming<'_>,
) -> Result<(), SnapshotError> {
    let what = match () {
        () if snapshot.tags.backup(naming.system, naming.source).as_ref() != Some(naming.backup) => {
            "it does not have drctl's tags"
        }
        () if snapshot.resource_id.as_ref() != Some(&prepared.database.resource_id) => {
            "it is of another database, of the same name"
        }
        () => return Ok(()),
    };
    Err(SnapshotError::Taken {
        identifier: snapshot.id.as_str().to_owned(),
        region: prepared.rds.region().to_owned(),
        what,
    })
}

/// RDS takes snapshots of a database only between its other work.
async fn available(
    prepared: &SnapshotCapture<'_>,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<(), SnapshotError> {
    let database = &prepared.source.database;
    let subject = format!("{} in {}", database.identifier(), prepared.rds.region());
    let ask = async || Ok(prepared.rds.database(database).await?.map_or(PolledState::Absent, seen));
    prepared.poll.wait(&subject, events, cancel, ask).await?;
    Ok(())
}

fn seen(database: Database) -> PolledState<Database> {
    // RDS takes one of what is full all the same.
    if database.takes_changes() { PolledState::Done(database) } else { database.seen() }
}

/// In words, why it is not shared. What can never be is not tried.
async fn share(prepared: &SnapshotCapture<'_>, snapshot: &Snapshot) -> Result<(), String> {
    let source = prepared.source;
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
            // RDS says it then.
            Err(error) => tracing::info!("{}", error_chain(&error)),
        }
    }
    prepared
        .rds
        .share_snapshot(&snapshot.id, &source.share_with)
        .await
        .map_err(|failure| error_chain(&failure))
}

async fn store_details(
    prepared: &SnapshotCapture<'_>,
    sink: &mut dyn ArtifactSink,
    events: &Events,
) -> Result<Artifact, SnapshotError> {
    let mut phases = PhaseTimer::new(events);
    phases.begin(Phase::Details);
    let details = Details { profile: Some(prepared.profile.clone()), ..Details::default() };
    let json = serde_json::to_vec_pretty(&details).map_err(SnapshotError::Details)?;
    let size = json.len() as u64;
    let stored: Result<_, SinkError> =
        sink.store(DETAILS, Box::new(MemoryProducer::new(json)), Some(size)).await;
    phases.end();
    stored.map_err(SnapshotError::Sink)
}
