use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::completeness::{Completeness, DatabaseFiles, databases, throughout};
use super::copied::BaseBackupCopy;
use super::error::BaseError;
use super::prepare::{BaseBackupCapture, SettingsReader};
use super::query::ask;
use super::replication::Expected;
use super::{checkpoint, data_directory, increment, manual_restore, relations, replication, settings};
use crate::event::{Phase, PhaseTimer};
use crate::model::{Details, Manifest, Physical};
use crate::pipeline::MemoryProducer;
use crate::platform::CancellationToken;
use crate::postgres::close;
use crate::source::capture::{
    ArtifactSink, Capture, CaptureContext, Captured, DETAILS, Requirements, SourceError,
};
use crate::source::incremental::IncrementalSupport;

/// Names of tables with missing files that are reported; the manifest has the paths of all.
const MISSING_TOLD: usize = 20;
/// The archive may be of a copy of the server that is run beside it.
const NO_CHECKPOINT: &str =
    "whether the archived WAL is of this server is not known: its checkpoint could not be queried";
/// A database's files are removed a moment before it disappears from the catalog.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

#[async_trait(?Send)]
impl Capture for BaseBackupCapture {
    fn requirements(&self) -> Requirements {
        Requirements {
            wal: self.server.system_identifier.as_deref().and_then(|identifier| identifier.parse().ok()),
            segment_size: Some(self.segment_size),
            server: Some(self.server.clone()),
            timeline: self.timeline,
            incremental: Some(IncrementalSupport {
                name: self.parameters.to_string(),
                server: self.server.clone(),
                summarizes: self.summarizes,
                from_files: matches!(self.reader, SettingsReader::DataDirectory(_)),
            }),
            content: None,
        }
    }

    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        let captured = capture(*self, context, sink).await;
        captured.map_err(SourceError::new)
    }
}

/// Copies the cluster into `sink`: completely, or its changes since an earlier copy.
async fn capture(
    prepared: BaseBackupCapture,
    context: &CaptureContext<'_>,
    sink: &mut dyn ArtifactSink,
) -> Result<Captured, BaseError> {
    let cancel = context.cancel;
    let server = prepared.parameters.to_string();
    // Dropping this ends the child processes, too.
    let stop = cancel.child_token();
    let _stop_on_return = stop.clone().drop_guard();
    let outcome = run(prepared, context, sink, &stop).await;
    // An error of a cancelled run during its shutdown is not the cause.
    if cancel.is_cancelled() { Err(BaseError::Interrupted { server }) } else { outcome }
}

async fn run(
    mut prepared: BaseBackupCapture,
    context: &CaptureContext<'_>,
    sink: &mut dyn ArtifactSink,
    stop: &CancellationToken,
) -> Result<Captured, BaseError> {
    let (plan, events) = (context.base, context.events);
    let server = prepared.parameters.to_string();
    let mut phases = PhaseTimer::new(events);
    phases.begin(Phase::Inspect);
    let local = match &prepared.reader {
        SettingsReader::DataDirectory(root) => Some(root.as_path()),
        SettingsReader::Replication(_) => None,
    };
    let (major, connection) = (prepared.server.major, &mut prepared.connection);
    let (mut facts, configuration) = settings::read(connection, &server, major, local).await?;
    let expected =
        relations::expected(&prepared.parameters, &mut prepared.connection, &server, events).await?;
    let presence = Completeness::wanting(configuration.inside()).expecting(expected);
    let before = databases(&mut prepared.connection, &server).await?;
    let estimate = ask(&server, expected_bytes(&mut prepared.connection)).await?;

    phases.begin(Phase::BaseBackup);
    let mut chain: &[Manifest] = &[];
    let checkpoint;
    let copied = match prepared.reader.clone() {
        SettingsReader::Replication(tools) => {
            let begun;
            if let Some(why) = context.archiving_fails {
                prepared.archiving_fails.get_or_insert_with(|| why.to_owned());
            }
            if let Some(why) = &prepared.archiving_fails {
                events.warning(format!(
                    "the server cannot archive its WAL everywhere now, and is not waited for: {why}"
                ));
                replication::retain_wal(&mut prepared.connection, &server, events).await;
            }
            (begun, chain) = increment::begin(&prepared, &tools, plan, events, stop).await?;
            // The number of changed bytes is unknown.
            let estimate = Some(estimate).filter(|_| chain.is_empty());
            let expected = Expected { presence, estimate, keep: plan.keep.as_deref() };
            let name = begun.name();
            checkpoint = checkpoint::read(&mut prepared.connection, &server, events).await;
            let copied = replication::copy(&prepared, begun, expected, sink, events, stop).await;
            if copied.is_err() {
                replication::release(&mut prepared.connection, &server, &name, events).await;
            }
            copied?
        }
        SettingsReader::DataDirectory(root) => {
            let copied;
            (copied, checkpoint) =
                data_directory::copy(&mut prepared, &root, presence, Some(estimate), sink, (events, stop))
                    .await?;
            copied
        }
    };
    refuse_incomplete(&mut prepared, &copied, &before).await?;
    let (missing, undetermined) =
        relations::missing(copied.presence.relations(), &prepared.parameters, &server).await;
    for relation in missing.iter().take(MISSING_TOLD) {
        // Names of tables are shown on this host only, and are not in the manifest.
        events.warning(format!(
            "the file of `{}` in database `{}`, `{}`, is missing on the server",
            relation.name, relation.database, relation.path
        ));
    }
    // Queried after the copy was ended on the server, so that it is never before its end.
    let moment = sqlx::query_as(MOMENT).fetch_one(&mut prepared.connection);
    let (time, next_transaction, open): (i64, i64, Option<Vec<i64>>) = ask(&server, moment).await?;
    facts.stop_time = DateTime::<Utc>::from_timestamp_micros(time).unwrap_or_default();
    phases.end();
    close(prepared.connection).await;

    phases.begin(Phase::Details);
    let recovery_point = facts.stop_time;
    let mut artifacts = copied.artifacts;
    let (files, unread) = configuration.kept(&copied.presence);
    let mut left_out = copied.left_out;
    left_out.retain(|left| !configuration.covers(&left.path));
    left_out.extend(unread);
    for left in &left_out {
        events.warning(format!("the copy does not hold {left}"));
    }
    facts.files = files;
    let details = Details { cluster: Some(facts), ..Details::default() };
    let json = serde_json::to_vec_pretty(&details)
        .map_err(|source| BaseError::Details { server: server.clone(), source })?;
    // One that was made since the copy ended is not in the WAL that is waited for.
    let range = &copied.range;
    let checkpoint = checkpoint.filter(|known| range.start <= known.redo && known.at < range.stop);
    let mut warnings = undetermined;
    if checkpoint.is_none() {
        warnings.push(NO_CHECKPOINT.to_owned());
    }
    let physical = Physical {
        timeline: copied.range.timeline,
        start: copied.range.start,
        stop: copied.range.stop,
        segment_size: prepared.segment_size,
        next_transaction: u64::try_from(next_transaction).unwrap_or_default(),
        open_transactions: open
            .map(|open| open.into_iter().filter_map(|number| u64::try_from(number).ok()).collect()),
        checkpoint,
        page_checksums: prepared.page_checksums,
        damaged: copied.damaged,
        missing_files: missing.into_iter().map(|relation| relation.path).collect(),
        tablespaces: prepared.tablespaces,
        left_out,
        parent: chain.last().map(|parent| parent.id.clone()),
        backup_manifest: copied.kept,
    };
    let excluded = physical.left_out.iter().map(ToString::to_string).collect();
    let commands = manual_restore::commands(&artifacts, &physical, &prepared.server, chain);
    let stored = sink.store(DETAILS, Box::new(MemoryProducer::new(json)), None).await;
    artifacts.push(stored.map_err(|source| BaseError::Store { server, source })?);
    phases.end();
    Ok(Captured {
        recovery_point,
        server: Some(prepared.server),
        physical: Some(physical),
        parent: None,
        managed: None,
        missing_copies: vec![],
        warnings,
        producer: copied.producer,
        artifacts,
        manual_restore: commands,
        excluded,
    })
}

/// Compares the copy with the server's catalog. A dropped database may still be in removal: that is waited
/// for briefly.
async fn refuse_incomplete(
    prepared: &mut BaseBackupCapture,
    copied: &BaseBackupCopy,
    before: &[DatabaseFiles],
) -> Result<(), BaseError> {
    let server = prepared.parameters.to_string();
    let over_replication = matches!(prepared.reader, SettingsReader::Replication(_));
    for is_last in [false, true] {
        let after = databases(&mut prepared.connection, &server).await?;
        let mut lacking = copied.presence.lacking(&throughout(before, &after));
        let others =
            copied.lacking.iter().filter(|other| !lacking.iter().any(|known| known.path == other.path));
        let others: Vec<_> = others.cloned().collect();
        lacking.extend(others);
        if lacking.is_empty() {
            return Ok(());
        }
        if is_last {
            return Err(BaseError::Incomplete { server, lacking, over_replication });
        }
        tokio::time::sleep(SETTLED_WITHIN).await;
    }
    Ok(())
}

// All from one snapshot. A standby does not report open transactions.
const MOMENT: &str = "
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8,
       pg_snapshot_xmax(pg_current_snapshot())::text::int8,
       CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE ARRAY(SELECT open::text::int8 FROM pg_snapshot_xip(pg_current_snapshot()) open ORDER BY 1) END";

/// Estimates the size of the copy. Databases that the role may not connect to are not included.
async fn expected_bytes(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let bytes: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(pg_database_size(oid)), 0)::int8 FROM pg_database
          WHERE has_database_privilege(oid, 'CONNECT')",
    )
    .fetch_one(connection)
    .await?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}
