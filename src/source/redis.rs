//! A Redis server, as the dump that it sends to a new replica.

use async_trait::async_trait;
use chrono::TimeDelta;
use thiserror::Error;

use super::capture::{ArtifactSink, Capture, CaptureContext, Captured, SinkError, Source, SourceError};
use super::details::store_details;
use super::manual_restore::{IN_DIRECTORY, plain};
use crate::event::{Phase, PhaseTimer};
use crate::model::{Artifact, BackupKind, Details, RedisFacts};
use crate::policy::RedisSource;
use crate::redis::{DumpReport, RedisConnection, RedisError, RedisInfo, RedisTarget, Reply, transfer_dump};
use crate::text::count;

/// The artifact, without the endings of its encoding.
pub const REDIS_DUMP: &str = "dump.rdb";

/// How many databases are named.
const NAMED: usize = 8;

/// A source that is a Redis server.
#[derive(Debug)]
pub(super) struct RedisBackups {
    pub(super) kinds: Vec<BackupKind>,
    pub(super) config: RedisSource,
}

/// Why a Redis server could not be captured.
#[derive(Debug, Error)]
pub enum RedisCaptureError {
    #[error(transparent)]
    Server(#[from] RedisError),
    #[error("failed to store `{artifact}`")]
    Store { artifact: &'static str, source: SinkError },
    #[error("the dump was stored, and nothing is known of it")]
    NoReport,
}

#[async_trait(?Send)]
impl Source for RedisBackups {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn prepare(&self, _kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        let target = RedisTarget::of_source(&self.config).await.map_err(SourceError::new)?;
        reject(&target).await.map_err(SourceError::new)?;
        Ok(Box::new(RedisCapture { target, config: &self.config }))
    }
}

/// Fails where no complete dump can be had.
async fn reject(target: &RedisTarget) -> Result<(), RedisError> {
    let mut connection = RedisConnection::open(target).await?;
    let info = connection.info().await?;
    let address = connection.address().to_owned();
    if info.is_cluster() {
        return Err(RedisError::Cluster { address });
    }
    if info.is_replica() && info.get("master_link_status") != Some("up") {
        return Err(RedisError::MasterDown { address });
    }
    Ok(())
}

struct RedisCapture<'c> {
    target: RedisTarget,
    config: &'c RedisSource,
}

#[async_trait(?Send)]
impl Capture for RedisCapture<'_> {
    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        self.capture(context, sink).await.map_err(SourceError::new)
    }
}

impl RedisCapture<'_> {
    async fn capture(
        &self,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, RedisCaptureError> {
        let mut phases = PhaseTimer::new(context.events);
        phases.begin(Phase::Capture);
        let mut connection = RedisConnection::open(&self.target).await?;
        let info = connection.info().await?;
        let settings = settings(&mut connection).await;
        let excluded = users(&mut connection).await.into_iter().collect();
        let store = |artifact| move |source| RedisCaptureError::Store { artifact, source };
        // Everything that the server had confirmed by now is in the dump.
        let recovery_point = context.clock.now() - behind_master(&info);
        let (producer, report) =
            transfer_dump(connection, self.config.deadline, context.cancel.clone()).await?;
        let estimate = info.number("used_memory_dataset");
        let dump = sink.store(REDIS_DUMP, Box::new(producer), estimate).await;
        let dump = dump.map_err(store(REDIS_DUMP))?;
        phases.begin(Phase::Details);
        let taken = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let DumpReport { footer, contents } = taken.ok_or(RedisCaptureError::NoReport)?;
        let functions = contents.as_ref().map_or(0, |contents| contents.functions);
        let facts = RedisFacts {
            version: info.version().to_owned(),
            rdb_version: footer.version,
            databases: contents.map(|contents| contents.databases),
            memory: info.number("used_memory").unwrap_or_default(),
            functions,
            settings,
        };
        let source = context.naming.source;
        for notice in notices(&facts, footer.is_checksummed) {
            context.events.notice(format!("`{source}`: {notice}"));
        }
        let details = Details { redis: Some(facts), ..Details::default() };
        let details = store_details(sink, &details).await.map_err(store("details.json"))?;
        phases.end();
        let manual_restore = manual_restore(&dump);
        let producer = format!("Redis {} (SYNC)", info.version());
        let captured = Captured::of_content(recovery_point, producer, vec![dump, details]);
        Ok(Captured { manual_restore, excluded, ..captured })
    }
}

fn notices(facts: &RedisFacts, is_checksummed: bool) -> Vec<String> {
    let mut notices = vec![];
    match &facts.databases {
        Some(databases) => {
            let each = databases
                .iter()
                .map(|database| format!("{} in database {}", count(database.keys, "key"), database.number));
            let each: Vec<_> = each.collect();
            let more = each.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(", and {more} more databases") } else { String::new() };
            let told = match &each[..] {
                [] => "no keys".to_owned(),
                each => format!("{}{more}", each[..each.len().min(NAMED)].join(", ")),
            };
            let checked = if is_checksummed { ": checksum verified" } else { "" };
            notices.push(format!("{told}{checked}"));
        }
        None => notices.push(
            "its keys were not counted: the dump has a type of value that this version of drctl does not know"
                .to_owned(),
        ),
    }
    if !is_checksummed {
        notices.push("the dump has no checksum of its own (`rdbchecksum no`): damage in the server's memory or on the way does not show".to_owned());
    }
    notices
}

/// A replica has what its master had when they last spoke.
fn behind_master(info: &RedisInfo) -> TimeDelta {
    let seconds = info.number("master_last_io_seconds_ago").filter(|_| info.is_replica());
    TimeDelta::seconds(seconds.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or_default())
}

/// Returns the server's settings without passwords; none where the user may not read them.
async fn settings(connection: &mut RedisConnection) -> Vec<(String, String)> {
    let settings = connection.config("*").await.unwrap_or_default();
    let is_secret = |name: &str| ["pass", "auth", "user"].iter().any(|word| name.contains(word));
    settings.into_iter().filter(|(name, value)| !is_secret(name) && !value.is_empty()).collect()
}

/// Returns what no dump holds, where the server has users of its own.
async fn users(connection: &mut RedisConnection) -> Option<String> {
    match connection.call(&["ACL", "USERS"]).await {
        Ok(Reply::Array(users)) if users.len() > 1 => Some(format!(
            "the server's {} and their permissions (`ACL LIST`): keep them with its configuration",
            count(users.len() as u64, "user")
        )),
        _ => None,
    }
}

fn manual_restore(dump: &Artifact) -> Vec<String> {
    vec![
        IN_DIRECTORY.to_owned(),
        "mkdir restored".to_owned(),
        format!("{} > restored/{REDIS_DUMP}", plain(dump)),
        format!("echo '{}  restored/{REDIS_DUMP}' | sha256sum --check", dump.plain.sha256),
        format!("redis-check-rdb restored/{REDIS_DUMP}"),
        "# with `appendonly yes` a server ignores a dump, starts empty, and overwrites it: start without".to_owned(),
        format!("redis-server --dir \"$PWD/restored\" --dbfilename {REDIS_DUMP} --appendonly no"),
        "# then, where it is wanted: redis-cli config set appendonly yes, and wait for aof_rewrite_in_progress:0 in `redis-cli info persistence` before a restart".to_owned(),
    ]
}
