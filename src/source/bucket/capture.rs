use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use globset::{Glob, GlobSet, GlobSetBuilder};

use super::archive::{ArchiveStream, Archived, Batch};
use super::compare::{Comparison, Planned};
use super::error::BucketError;
use super::facts::{add, warnings};
use super::inventory::{INVENTORY, InventoryHeader, ObjectRecord};
use super::read::ObjectReader;
use super::spool::Spool;
use super::{location, manual_restore};
use crate::event::{Phase, PhaseTimer};
use crate::model::{BackupId, BackupKind, BucketFacts, Details, Manifest};
use crate::pipeline::MemoryProducer;
use crate::platform::state_directory;
use crate::policy::BucketSource;
use crate::source::capture::{
    ArtifactSink, Capture, CaptureContext, Captured, DETAILS, Requirements, Source, SourceError,
};
use crate::source::content_state::{StateWriter, announce, read_state};
use crate::source::incremental::{BaseScope, ContentSupport, IncrementalSupport};
use crate::store::s3::{ListedObject, Replication, S3Store};
use crate::text::count;

/// One object comes back by reading one archive, which is no larger than this, or than the object.
const ARCHIVE_BYTES: u64 = 1 << 30;
const ARCHIVE_OBJECTS: usize = 10_000;
/// Of how many objects it is asked again whether they were replicated.
const REPLICATIONS: u64 = 1_000;

/// A source that is a bucket.
#[derive(Debug)]
pub(crate) struct BucketBackups {
    pub(crate) kinds: Vec<BackupKind>,
    pub(crate) config: BucketSource,
}

#[async_trait(?Send)]
impl Source for BucketBackups {
    fn kinds(&self) -> Result<&[BackupKind], SourceError> {
        Ok(&self.kinds)
    }

    async fn prepare(&self, _kind: BackupKind) -> Result<Box<dyn Capture + '_>, SourceError> {
        let exclude = globs(&self.config.exclude).map_err(SourceError::new)?;
        let store = S3Store::open(&location(&self.config)).await;
        let store = store.map_err(|error| SourceError::new(BucketError::Open(error)))?;
        let listed = |error| SourceError::new(BucketError::List(error));
        // A server without versions says so, or does not know the question.
        let versions = store.keeps_versions().await.map_err(listed)?.unwrap_or_default();
        store.list_foreign(versions, None).await.map_err(listed)?;
        Ok(Box::new(BucketCapture { config: &self.config, store, versions, exclude }))
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, BucketError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(|_| BucketError::Glob(pattern.clone()))?);
    }
    set.build().map_err(|error| BucketError::Glob(error.to_string()))
}

struct BucketCapture<'c> {
    config: &'c BucketSource,
    store: S3Store,
    versions: bool,
    exclude: GlobSet,
}

#[async_trait(?Send)]
impl Capture for BucketCapture<'_> {
    fn requirements(&self) -> Requirements {
        Requirements {
            incremental: Some(IncrementalSupport::Content(ContentSupport {
                kind: BackupKind::Bucket,
                most: self.config.incrementals,
                fingerprint: self.settings(),
                check,
                weigh: Manifest::plain_size,
            })),
            ..Requirements::default()
        }
    }

    async fn run(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, SourceError> {
        match self.capture(context, sink).await {
            Ok(captured) => Ok(captured),
            Err(_) if context.cancel.is_cancelled() => Err(SourceError::new(BucketError::Interrupted)),
            Err(error) => Err(SourceError::new(error)),
        }
    }
}

/// Returns why the state that is kept of a backup cannot be used.
fn check(state: &Path, backup: &BackupId, settings: &str) -> Result<(), String> {
    read_state(state, backup, settings, |line| record(line).map(drop))
}

fn record(line: &[u8]) -> Result<ObjectRecord, String> {
    serde_json::from_slice(line).map_err(|error| format!("a line of its state is not readable: {error}"))
}

impl BucketCapture<'_> {
    /// Returns what makes two listings comparable.
    fn settings(&self) -> String {
        let BucketSource { bucket, prefix, endpoint, exclude, .. } = self.config;
        let endpoint = endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{endpoint} {bucket} {prefix} {} {exclude:?}", self.versions)
    }

    async fn capture(
        self: Box<Self>,
        context: &CaptureContext<'_>,
        sink: &mut dyn ArtifactSink,
    ) -> Result<Captured, BucketError> {
        let mut phases = PhaseTimer::new(context.events);
        phases.begin(Phase::Inspect);
        announce(context.base, context.events);
        let naming = context.naming;
        let folder =
            state_directory().join("bucket").join(naming.system.as_str()).join(naming.source.as_str());
        let begun = context.clock.now();
        let mut listing = self.list(&folder, context).await?;
        let mut planned = self.compare(&folder, &mut listing, context)?;
        drop(listing);

        phases.begin(Phase::Capture);
        let prefix =
            if self.config.prefix.is_empty() { String::new() } else { format!("{}/", self.config.prefix) };
        let reader = Arc::new(ObjectReader { store: self.store.clone(), prefix });
        let mut artifacts = vec![];
        let mut read = Spool::new(&folder).map_err(BucketError::Spool)?;
        let mut facts = BucketFacts::default();
        let mut plan = planned.read().map_err(BucketError::Spool)?.zip(1..);
        loop {
            let name = format!("objects-{:03}.tar", artifacts.len() + 1);
            let batch = batch(&mut plan, naming.backup, name).map_err(BucketError::Spool)?;
            if batch.objects.is_empty() {
                break;
            }
            let name = batch.name.clone();
            let bytes = batch.objects.iter().map(|(_, listed)| listed.size).sum();
            let (stream, outcomes) = ArchiveStream::begin(&reader, batch, context.cancel);
            let stored = sink.store(&name, Box::new(stream), Some(bytes)).await;
            artifacts.push(stored.map_err(BucketError::Store)?);
            let outcomes = std::mem::take(&mut *outcomes.lock().unwrap_or_else(PoisonError::into_inner));
            for Archived { record, is_changed } in outcomes {
                facts.changed += u64::from(is_changed);
                read.push(&record).map_err(BucketError::Spool)?;
            }
        }

        phases.begin(Phase::Details);
        let header = InventoryHeader {
            format: InventoryHeader::FORMAT.to_owned(),
            bucket: self.config.bucket.clone(),
            prefix: self.config.prefix.clone(),
            versions: self.versions,
            listed: begun,
        };
        let inventory =
            self.inventory(&folder, &header, (&mut planned, &mut read), &mut facts, context).await?;
        let lines = Box::new(inventory.into_lines().map_err(BucketError::Spool)?);
        artifacts.push(sink.store(INVENTORY, lines, None).await.map_err(BucketError::Store)?);
        let details = Details { bucket: Some(facts.clone()), ..Details::default() };
        let text = serde_json::to_vec(&details).map_err(|error| BucketError::Store(error.into()))?;
        let details = sink.store(DETAILS, Box::new(MemoryProducer::new(text)), None).await;
        artifacts.push(details.map_err(BucketError::Store)?);
        phases.end();

        let (since, chain) = match &context.base.scope {
            BaseScope::Incremental { since, .. } => {
                (Some(since.manifest.id.clone()), since.chain.as_deref().unwrap_or_default())
            }
            BaseScope::Full(_) => (None, &[][..]),
        };
        if facts.replication_pending > 0 {
            let number = count(facts.replication_pending, "object");
            context.events.notice(format!("the store's replication has not copied {number} yet"));
        }
        let manual_restore = manual_restore::commands(chain, naming.backup, &artifacts);
        let captured = Captured::of_content(begun, "S3 API".to_owned(), artifacts);
        Ok(Captured {
            warnings: warnings(&facts),
            excluded: self.excluded(&facts),
            parent: since,
            manual_restore,
            ..captured
        })
    }

    /// Spools the listing, with keys below the prefix and in their order.
    async fn list(
        &self,
        folder: &Path,
        context: &CaptureContext<'_>,
    ) -> Result<Spool<ListedObject>, BucketError> {
        let mut listing = Spool::new(folder).map_err(BucketError::Spool)?;
        let prefix =
            if self.config.prefix.is_empty() { String::new() } else { format!("{}/", self.config.prefix) };
        let (mut after, mut last, mut is_sorted) = (None, None::<String>, true);
        loop {
            let page = tokio::select! {
                page = self.store.list_foreign(self.versions, after) => page,
                () = context.cancel.cancelled() => return Err(BucketError::Interrupted),
            };
            let (objects, next) = page.map_err(BucketError::List)?;
            for object in objects {
                // A folder that some console made of the prefix itself has no key below it.
                let Some(key) = object.key.strip_prefix(&prefix).filter(|key| !key.is_empty()) else {
                    continue;
                };
                let key = key.to_owned();
                if self.exclude.is_match(&key) {
                    continue;
                }
                is_sorted &= last.as_ref().is_none_or(|last| *last < key);
                last = Some(key.clone());
                listing.push(&ListedObject { key, ..object }).map_err(BucketError::Spool)?;
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        if is_sorted {
            return Ok(listing);
        }
        // S3 lists in order. A server that does not is small.
        let mut all: Vec<_> = listing.read().and_then(Iterator::collect).map_err(BucketError::Spool)?;
        all.sort_by(|one, other| one.key.cmp(&other.key));
        let mut sorted = Spool::new(folder).map_err(BucketError::Spool)?;
        all.iter().try_for_each(|object| sorted.push(object)).map_err(BucketError::Spool)?;
        Ok(sorted)
    }

    fn compare(
        &self,
        folder: &Path,
        listing: &mut Spool<ListedObject>,
        context: &CaptureContext<'_>,
    ) -> Result<Spool<Planned>, BucketError> {
        let mut planned = Spool::new(folder).map_err(BucketError::Spool)?;
        let listed = listing.read().map_err(BucketError::Spool)?;
        let mut comparison = Comparison::begin(listed).map_err(BucketError::Spool)?;
        if let Some(since) = context.base.since() {
            let id = &since.manifest.id;
            let read = read_state(&since.list, id, &self.settings(), |line| {
                let failed = |error: std::io::Error| error.to_string();
                comparison.before(record(line)?, |one| planned.push(&one)).map_err(failed)
            });
            read.map_err(|why| BucketError::State(format!("{id} cannot be built on any more: {why}")))?;
        }
        comparison.rest(|one| planned.push(&one)).map_err(BucketError::Spool)?;
        Ok(planned)
    }

    /// Joins what was kept and what was read, in the order of keys, and keeps it for the next backup.
    async fn inventory(
        &self,
        folder: &Path,
        header: &InventoryHeader,
        (planned, read): (&mut Spool<Planned>, &mut Spool<ObjectRecord>),
        facts: &mut BucketFacts,
        context: &CaptureContext<'_>,
    ) -> Result<Spool<serde_json::Value>, BucketError> {
        let mut inventory = Spool::new(folder).map_err(BucketError::Spool)?;
        inventory.push(&line(header)?).map_err(BucketError::Spool)?;
        // Where the state cannot be kept, the commit says so, and the next backup is a full one.
        let keep: Option<&PathBuf> = context.base.keep.as_ref();
        let mut state =
            keep.and_then(|path| StateWriter::begin(path, context.naming.backup, &self.settings()).ok());
        let mut read = read.read().map_err(BucketError::Spool)?;
        let mut asked = 0;
        for one in planned.read().map_err(BucketError::Spool)? {
            let (mut record, is_new) = match one.map_err(BucketError::Spool)? {
                Planned::Keep(record) => (*record, false),
                Planned::Read(_) => match read.next() {
                    Some(record) => (record.map_err(BucketError::Spool)?, true),
                    None => return Err(BucketError::Ended),
                },
            };
            let is_open = matches!(record.replication, Some(Replication::Pending | Replication::Failed));
            if !is_new && is_open && record.left_out.is_none() && asked < REPLICATIONS {
                asked += 1;
                let key = &record.object.key;
                let key = match header.prefix.as_str() {
                    "" => key.clone(),
                    prefix => format!("{prefix}/{key}"),
                };
                let now = self.store.replication_of(&key, record.object.version.as_deref()).await;
                record.replication = now.map_err(BucketError::List)?;
            }
            add(facts, &record, is_new);
            let line = line(&record)?;
            inventory.push(&line).map_err(BucketError::Spool)?;
            if record.stored.is_some()
                && record.left_out.is_none()
                && state.as_mut().is_some_and(|state| state.line(line.to_string().as_bytes()).is_err())
            {
                state = None;
            }
        }
        let _kept = state.map(StateWriter::end);
        Ok(inventory)
    }

    fn excluded(&self, facts: &BucketFacts) -> Vec<String> {
        let mut excluded = vec![];
        if self.versions {
            excluded.push(
                "older versions of objects, and what delete markers hide: the bucket keeps them".to_owned(),
            );
        }
        if facts.archived > 0 {
            excluded.push(format!("{} in archive classes", count(facts.archived, "object")));
        }
        if facts.tagged > 0 {
            excluded.push(format!("the tags of {}", count(facts.tagged, "object")));
        }
        excluded
    }
}

/// Returns a line of the inventory.
fn line(item: &impl serde::Serialize) -> Result<serde_json::Value, BucketError> {
    serde_json::to_value(item).map_err(|error| BucketError::Spool(error.into()))
}

/// Takes the next objects that are to be read, as many as an archive holds.
fn batch(
    plan: &mut impl Iterator<Item = (std::io::Result<Planned>, u64)>,
    backup: &BackupId,
    name: String,
) -> std::io::Result<Batch> {
    let (mut objects, mut bytes) = (vec![], 0_u64);
    while objects.len() < ARCHIVE_OBJECTS && bytes < ARCHIVE_BYTES {
        let Some((next, number)) = plan.next() else { break };
        if let Planned::Read(listed) = next? {
            bytes = bytes.saturating_add(listed.size);
            objects.push((number, listed));
        }
    }
    Ok(Batch { backup: backup.clone(), name, objects })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_ends_by_its_bytes_or_by_its_objects() {
        let backup = BackupId::new(
            "2026-11-20T12:00:00Z".parse().unwrap(),
            &"media".parse().unwrap(),
            BackupKind::Bucket,
            1,
        );
        let listed = |size| ListedObject {
            key: "k".to_owned(),
            version: None,
            etag: String::new(),
            size,
            modified: Default::default(),
            class: None,
        };
        let sizes = |all: Vec<u64>| {
            let mut plan = all.into_iter().map(|size| Ok(Planned::Read(listed(size)))).zip(1..);
            let mut found = vec![];
            loop {
                let batch = batch(&mut plan, &backup, String::new()).unwrap();
                if batch.objects.is_empty() {
                    return found;
                }
                found.push(batch.objects.len());
            }
        };
        assert_eq!(sizes(vec![]), [0_usize; 0]);
        assert_eq!(sizes(vec![1; ARCHIVE_OBJECTS + 1]), [ARCHIVE_OBJECTS, 1]);
        assert_eq!(sizes(vec![ARCHIVE_BYTES, 1, 1]), [1, 2]);
        assert_eq!(sizes(vec![1, 10 * ARCHIVE_BYTES, 1]), [2, 1]);
    }
}
