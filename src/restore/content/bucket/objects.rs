use std::io::Read;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::apply::Placed;
use super::{ObjectSink, ObjectTarget, target_failed, target_url};
use crate::policy::SourceConfig;
use crate::restore::Refusal;
use crate::restore::content::fetch::ConsumeError;
use crate::restore::content::{ContentRestoreError, ContentRestoreRequest};
use crate::source::bucket::{ObjectRecord, location};
use crate::store::StoreError;
use crate::store::s3::S3Store;
use crate::text::{error_chain, format_size};

/// Larger objects are written in parts of at least this.
const PART: u64 = 8 << 20;
/// S3 takes 10,000.
const PARTS: u64 = 9_000;
/// Objects on their way at a time: of those that are larger than [`SMALL`], and of all.
const PARALLEL: [usize; 2] = [4, 16];
const SMALL: usize = 1 << 20;

/// A bucket, or what is below a prefix of one.
pub(super) struct BucketTarget {
    store: S3Store,
    prefix: String,
    url: String,
}

impl BucketTarget {
    /// Opens what `--to` names, with the endpoint and the credentials of the source.
    pub(super) async fn open(request: &ContentRestoreRequest) -> Result<Self, Refusal> {
        let to = &request.target.to;
        let not_url = || Refusal::usage("invalid-bucket", format!("`{to}` is not like `s3://bucket/prefix`"));
        let (bucket, prefix) = target_url::parse(to).ok_or_else(not_url)?;
        let Some(SourceConfig::Bucket(config)) = &request.config else {
            let message = format!(
                "the policy has no bucket `{}`, whose endpoint and credentials would be used",
                request.source
            );
            return Err(Refusal::usage("no-source", message));
        };
        let mut place = location(config);
        (place.bucket, place.prefix) = (bucket, prefix.clone());
        let opened = S3Store::open(&place).await;
        let failed = |error| {
            Refusal::not_ready("target-bucket", format!("`{to}` cannot be opened: {}", error_chain(&error)))
        };
        let prefix = if prefix.is_empty() { prefix } else { format!("{prefix}/") };
        Ok(Self { store: opened.map_err(failed)?, prefix, url: to.clone() })
    }

    /// Returns why nothing can be restored there.
    pub(super) async fn conflicts(&self) -> Option<Refusal> {
        match self.store.list_foreign(false, None).await {
            Ok((objects, None)) if objects.is_empty() => None,
            Ok(_) => Some(Refusal::usage(
                "target-not-empty",
                format!("`{}` has objects, and nothing in a bucket is overwritten", self.url),
            )),
            Err(error) => Some(Refusal::not_ready(
                "target-bucket",
                format!("`{}` cannot be listed: {}", self.url, error_chain(&error)),
            )),
        }
    }

    /// Compares what is there with what was written.
    pub(super) async fn compare(&self, objects: u64, bytes: u64) -> Result<(), ContentRestoreError> {
        let (mut found, mut size, mut after) = (0, 0, None);
        loop {
            let (page, next) =
                self.store.list_foreign(false, after).await.map_err(|error| target_failed(&error))?;
            found += page.len() as u64;
            size += page.iter().map(|object| object.size).sum::<u64>();
            after = next;
            if after.is_none() {
                break;
            }
        }
        if (found, size) == (objects, bytes) {
            return Ok(());
        }
        Err(ContentRestoreError::Target(format!(
            "`{}` has {found} objects ({}) afterwards, and {objects} ({}) were written",
            self.url,
            format_size(size),
            format_size(bytes)
        )))
    }
}

impl ObjectTarget for BucketTarget {
    fn takes(&self, _key: &str) -> bool {
        true
    }

    fn begin(&self) -> Box<dyn ObjectSink + '_> {
        Box::new(BucketSink { target: self, runtime: Handle::current(), writing: JoinSet::new() })
    }
}

struct BucketSink<'t> {
    target: &'t BucketTarget,
    runtime: Handle,
    writing: JoinSet<Result<(), StoreError>>,
}

impl BucketSink<'_> {
    /// Waits until fewer than `most` are on their way.
    fn wait(&mut self, most: usize) -> Result<(), ConsumeError> {
        while self.writing.len() > most {
            match self.runtime.block_on(self.writing.join_next()) {
                Some(Ok(Ok(()))) | None => {}
                Some(Ok(Err(error))) => return Err(ConsumeError::Target(target_failed(&error))),
                Some(Err(error)) => return Err(ConsumeError::Target(target_failed(&error))),
            }
        }
        Ok(())
    }

    fn large(&self, record: &ObjectRecord, key: &str, bytes: &mut dyn Read) -> Result<u64, ConsumeError> {
        let (store, runtime) = (&self.target.store, &self.runtime);
        let failed = |error: StoreError| ConsumeError::Target(target_failed(&error));
        let part = PART.max(record.object.size.div_ceil(PARTS));
        let upload = runtime.block_on(store.begin_foreign(key, &record.headers)).map_err(failed)?;
        let mut write = || {
            let (mut etags, mut written) = (vec![], 0);
            for number in 1.. {
                let piece = piece(bytes, part)?;
                if piece.is_empty() {
                    break;
                }
                written += piece.len() as u64;
                etags.push(
                    runtime
                        .block_on(store.write_foreign_part((key, &upload), number, piece))
                        .map_err(failed)?,
                );
            }
            runtime.block_on(store.end_foreign((key, &upload), Some(etags))).map_err(failed)?;
            Ok(written)
        };
        let written = write();
        if written.is_err() {
            let _left_to_the_store = runtime.block_on(store.end_foreign((key, &upload), None));
        }
        written
    }
}

impl ObjectSink for BucketSink<'_> {
    fn take(&mut self, record: &ObjectRecord, bytes: &mut dyn Read) -> Result<Placed, ConsumeError> {
        let key = format!("{}{}", self.target.prefix, record.object.key);
        if record.object.size > PART {
            let bytes = self.large(record, &key, bytes)?;
            return Ok(Placed { objects: 1, bytes, unfit: vec![] });
        }
        // One more byte than it has: what follows is not of it.
        let body = piece(bytes, record.object.size + 1)?;
        let size = body.len() as u64;
        self.wait(PARALLEL[usize::from(body.len() <= SMALL)] - 1)?;
        let (store, headers) = (self.target.store.clone(), record.headers.clone());
        let write = async move { store.write_foreign(&key, body, &headers).await };
        self.writing.spawn_on(write, &self.runtime);
        Ok(Placed { objects: 1, bytes: size, unfit: vec![] })
    }

    fn end(&mut self) -> Result<(), ConsumeError> {
        self.wait(0)
    }
}

/// Returns the next bytes, fewer than `most` only at the end.
fn piece(bytes: &mut dyn Read, most: u64) -> Result<Bytes, ConsumeError> {
    let mut piece = Vec::new();
    bytes.take(most).read_to_end(&mut piece).map_err(ConsumeError::Read)?;
    Ok(piece.into())
}
