use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::error::BucketError;
use super::inventory::{LeftOut, ObjectRecord};
use crate::store::s3::{ListedObject, ObjectBody, ReadFailure, ReadObject, S3Store};

/// Larger objects are not held in memory.
pub(super) const SMALL: u64 = 2 << 20;
/// How often an object is read whose answer breaks off.
pub(super) const ATTEMPTS: u32 = 4;

/// Reads the objects of a listing.
#[derive(Debug)]
pub(super) struct ObjectReader {
    pub(super) store: S3Store,
    /// The source's, with a slash at its end; or empty.
    pub(super) prefix: String,
}

/// What became of an object.
#[derive(Debug)]
pub(super) enum Fetched {
    Whole {
        record: ObjectRecord,
        bytes: Bytes,
        is_changed: bool,
    },
    /// It is too large to be held: read when its turn comes.
    Large {
        number: u64,
        listed: ListedObject,
    },
    LeftOut(ObjectRecord),
}

/// An object that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) body: ObjectBody,
    /// What is being read, which may not be what was listed.
    pub(super) record: ObjectRecord,
    pub(super) is_changed: bool,
}

impl ObjectReader {
    /// Reads an object into memory, if it is small.
    pub(super) async fn fetch(&self, number: u64, listed: ListedObject) -> Result<Fetched, BucketError> {
        if listed.size > SMALL {
            return Ok(Fetched::Large { number, listed });
        }
        let mut reason = String::new();
        for attempt in 0..ATTEMPTS {
            pause(attempt).await;
            let Opened { mut body, record, is_changed } = match self.open(number, &listed).await? {
                Ok(opened) => opened,
                Err(why) => return Ok(left_out(listed, why)),
            };
            if body.size > SMALL {
                return Ok(Fetched::Large { number, listed });
            }
            match collect(&mut body).await {
                Ok(bytes) => return Ok(Fetched::Whole { record, bytes, is_changed }),
                Err(why) => reason = why,
            }
        }
        Err(BucketError::Broken { number, reason })
    }

    /// Begins to read an object as it was listed, or as it is now.
    pub(super) async fn open(
        &self,
        number: u64,
        listed: &ListedObject,
    ) -> Result<Result<Opened, LeftOut>, BucketError> {
        let key = format!("{}{}", self.prefix, listed.key);
        let version = listed.version.as_deref();
        // A version is one write by itself.
        let mut etag = Some(listed.etag.as_str()).filter(|_| version.is_none());
        loop {
            match self.store.read_foreign(&ReadObject { key: &key, version, etag, from: 0 }).await {
                Ok(body) => return Ok(Ok(opened(body, listed))),
                Err(ReadFailure::Changed) if etag.is_some() => etag = None,
                Err(ReadFailure::Changed) => return Ok(Err(LeftOut::Changing)),
                Err(ReadFailure::Gone) => return Ok(Err(LeftOut::Gone)),
                Err(ReadFailure::Archived) => return Ok(Err(LeftOut::Archived)),
                Err(ReadFailure::Failed(source)) => return Err(BucketError::Read { number, source }),
            }
        }
    }

    /// Continues with the rest of an object, from `from` on; `None`: it is another one now.
    pub(super) async fn resume(
        &self,
        number: u64,
        record: &ObjectRecord,
        from: u64,
    ) -> Result<Option<ObjectBody>, BucketError> {
        let key = format!("{}{}", self.prefix, record.object.key);
        let version = record.object.version.as_deref();
        let read = ReadObject { key: &key, version, etag: Some(&record.object.etag), from };
        match self.store.read_foreign(&read).await {
            Ok(body) => Ok(Some(body)),
            Err(ReadFailure::Changed | ReadFailure::Gone | ReadFailure::Archived) => Ok(None),
            Err(ReadFailure::Failed(source)) => Err(BucketError::Read { number, source }),
        }
    }
}

pub(super) fn left_out(listed: ListedObject, why: LeftOut) -> Fetched {
    Fetched::LeftOut(ObjectRecord { left_out: Some(why), ..ObjectRecord::listed(listed) })
}

/// Waits before another attempt.
pub(super) async fn pause(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(attempt)).await;
    }
}

fn opened(body: ObjectBody, listed: &ListedObject) -> Opened {
    let is_changed = listed.size != body.size
        || (!listed.etag.is_empty() && !body.etag.is_empty() && listed.etag != body.etag);
    let object = match is_changed {
        false => listed.clone(),
        true => ListedObject {
            version: body.version.clone(),
            etag: body.etag.clone(),
            size: body.size,
            modified: body.modified,
            ..listed.clone()
        },
    };
    let record = ObjectRecord {
        headers: body.headers.clone(),
        replication: body.replication,
        tags: body.tags,
        ..ObjectRecord::listed(object)
    };
    Opened { body, record, is_changed }
}

/// Returns all of a body; `Err`: it broke off, or has more than it said.
async fn collect(body: &mut ObjectBody) -> Result<Bytes, String> {
    let mut bytes = BytesMut::with_capacity(usize::try_from(body.size).unwrap_or_default());
    while let Some(next) = body.next().await {
        bytes.extend_from_slice(&next?);
        if bytes.len() as u64 > body.size {
            return Err("more bytes arrived than the store said".to_owned());
        }
    }
    match bytes.len() as u64 == body.size {
        true => Ok(bytes.freeze()),
        false => Err(format!("{} bytes arrived of {}", bytes.len(), body.size)),
    }
}
