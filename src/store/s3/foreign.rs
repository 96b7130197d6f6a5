//! The objects of a bucket that is no repository: any key, with everything that a client may have given an object.

use std::collections::BTreeMap;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::{ChecksumMode, EncodingType};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::fault::StoreFault;
use super::super::{StoreError, StoreErrorKind};
use super::bucket::S3Store;
use super::error::{S3Error, words};
use super::read::time;

/// What archive classes answer: the object has to be restored in the store first.
const ARCHIVED: &str = "InvalidObjectState";

/// An object as a listing has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedObject {
    /// The whole key in the bucket.
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub etag: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

/// Where the next page of a listing begins.
#[derive(Clone, Debug)]
pub struct ListedNext {
    key: String,
    version: Option<String>,
}

/// What a client gave an object beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectHeaders {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// How far the store's own replication has come with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replication {
    Pending,
    Completed,
    Failed,
    /// It is itself a replica.
    Replica,
}

/// Which bytes of which write are read.
#[derive(Clone, Debug)]
pub struct ReadObject<'a> {
    pub key: &'a str,
    /// Reads this version.
    pub version: Option<&'a str>,
    /// Fails with [`ReadFailure::Changed`] where the object is another.
    pub etag: Option<&'a str>,
    /// Begins here.
    pub from: u64,
}

/// An object that is being read.
#[derive(Debug)]
pub struct ObjectBody {
    pub etag: String,
    pub version: Option<String>,
    pub modified: DateTime<Utc>,
    /// From where it was asked to begin.
    pub size: u64,
    pub headers: ObjectHeaders,
    pub replication: Option<Replication>,
    pub tags: bool,
    body: aws_sdk_s3::primitives::ByteStream,
}

/// Why an object was not read.
#[derive(Debug)]
pub enum ReadFailure {
    /// It is another one than was asked for.
    Changed,
    Gone,
    /// It is in an archive class.
    Archived,
    Failed(StoreError),
}

impl ObjectBody {
    /// Returns the next bytes; `None` at the end of the answer, which may be before the object's.
    pub async fn next(&mut self) -> Option<Result<Bytes, String>> {
        let next = self.body.next().await?;
        Some(next.map_err(|error| words(&error)))
    }
}

impl S3Store {
    /// Lists one page of the newest versions below a prefix, any keys. `versions`: with their ids, as far as the store keeps
    /// them; what a delete marker hides is not listed.
    pub async fn list_foreign(
        &self,
        versions: bool,
        after: Option<ListedNext>,
    ) -> Result<(Vec<ListedObject>, Option<ListedNext>), StoreError> {
        let page = match versions {
            true => self.page_of_versions(after).await,
            false => self.page_of_objects(after).await,
        };
        page.map_err(self.fault("list", &self.place.prefix))
    }

    async fn page_of_objects(
        &self,
        after: Option<ListedNext>,
    ) -> Result<(Vec<ListedObject>, Option<ListedNext>), StoreFault> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.place.bucket)
            .set_prefix(self.below())
            .encoding_type(EncodingType::Url)
            .set_continuation_token(after.map(|after| after.key));
        let answer = request.send().await.map_err(S3Error::from)?;
        let is_coded = answer.encoding_type() == Some(&EncodingType::Url);
        let mut objects = Vec::new();
        for object in answer.contents() {
            objects.push(ListedObject {
                key: plain(object.key().unwrap_or_default(), is_coded),
                version: None,
                etag: object.e_tag().unwrap_or_default().to_owned(),
                size: size(object.size())?,
                modified: time(object.last_modified()),
                class: object.storage_class().map(|class| class.as_str().to_owned()),
            });
        }
        let next = match (answer.is_truncated(), answer.next_continuation_token()) {
            (Some(true), Some(token)) => Some(ListedNext { key: token.to_owned(), version: None }),
            (Some(true), None) => return Err(unending()),
            _ => None,
        };
        Ok((objects, next))
    }

    async fn page_of_versions(
        &self,
        after: Option<ListedNext>,
    ) -> Result<(Vec<ListedObject>, Option<ListedNext>), StoreFault> {
        let (key, version) = after.map(|after| (after.key, after.version)).unzip();
        let request = self
            .client
            .list_object_versions()
            .bucket(&self.place.bucket)
            .set_prefix(self.below())
            .encoding_type(EncodingType::Url)
            .set_key_marker(key)
            .set_version_id_marker(version.flatten());
        let answer = request.send().await.map_err(S3Error::from)?;
        let is_coded = answer.encoding_type() == Some(&EncodingType::Url);
        let mut objects = Vec::new();
        for object in answer.versions().iter().filter(|object| object.is_latest().unwrap_or_default()) {
            objects.push(ListedObject {
                key: plain(object.key().unwrap_or_default(), is_coded),
                version: object.version_id().filter(|id| *id != "null").map(str::to_owned),
                etag: object.e_tag().unwrap_or_default().to_owned(),
                size: size(object.size())?,
                modified: time(object.last_modified()),
                class: object.storage_class().map(|class| class.as_str().to_owned()),
            });
        }
        let next = match (answer.is_truncated(), answer.next_key_marker()) {
            (Some(true), Some(key)) => Some(ListedNext {
                key: plain(key, is_coded),
                version: answer.next_version_id_marker().filter(|id| !id.is_empty()).map(str::to_owned),
            }),
            (Some(true), None) => return Err(unending()),
            _ => None,
        };
        Ok((objects, next))
    }

    /// Begins to read an object by its whole key. The SDK compares it with the checksum that the store sends, if any.
    pub async fn read_foreign(&self, read: &ReadObject<'_>) -> Result<ObjectBody, ReadFailure> {
        let mut request = self
            .client
            .get_object()
            .bucket(&self.place.bucket)
            .key(read.key)
            .set_version_id(read.version.map(str::to_owned))
            .set_if_match(read.etag.filter(|etag| !etag.is_empty()).map(str::to_owned));
        request = match read.from {
            0 => request.checksum_mode(ChecksumMode::Enabled),
            from => request.range(format!("bytes={from}-")),
        };
        let answer = match request.send().await.map_err(S3Error::from) {
            Ok(answer) => answer,
            Err(refusal) if refusal.is(ARCHIVED) => return Err(ReadFailure::Archived),
            Err(refusal) => {
                return Err(match refusal.kind {
                    StoreErrorKind::NotFound => ReadFailure::Gone,
                    StoreErrorKind::Changed => ReadFailure::Changed,
                    _ => ReadFailure::Failed(self.fault("read an object of", "")(refusal.into())),
                });
            }
        };
        let failed = |fault| ReadFailure::Failed(self.fault("read an object of", "")(fault));
        let size = size(answer.content_length()).map_err(failed)?;
        Ok(ObjectBody {
            etag: answer.e_tag().unwrap_or_default().to_owned(),
            version: answer.version_id().filter(|id| *id != "null").map(str::to_owned),
            modified: time(answer.last_modified()),
            size,
            headers: headers(&answer),
            replication: answer.replication_status().and_then(|status| replication(status.as_str())),
            tags: answer.tag_count().is_some_and(|count| count > 0),
            body: answer.body,
        })
    }

    /// Returns how far replication has come with an object now; `None`: no rule of the bucket is for it, or it is gone.
    pub async fn replication_of(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<Replication>, StoreError> {
        let request = self.client.head_object().bucket(&self.place.bucket).key(key);
        match request.set_version_id(version.map(str::to_owned)).send().await.map_err(S3Error::from) {
            Ok(answer) => Ok(answer.replication_status().and_then(|status| replication(status.as_str()))),
            Err(refusal) if refusal.kind == StoreErrorKind::NotFound => Ok(None),
            Err(refusal) => Err(self.fault("look at an object of", "")(refusal.into())),
        }
    }

    fn below(&self) -> Option<String> {
        let prefix = &self.place.prefix;
        (!prefix.is_empty()).then(|| format!("{prefix}/"))
    }
}

fn unending() -> StoreFault {
    StoreFault::new(StoreErrorKind::Other, "its listing does not go on")
}

fn size(size: Option<i64>) -> Result<u64, StoreFault> {
    let missing = || StoreFault::new(StoreErrorKind::Corrupt, "the answer has no size");
    size.and_then(|size| u64::try_from(size).ok()).ok_or_else(missing)
}

/// Decodes a key that was encoded since XML has no way to write some characters.
fn plain(key: &str, is_coded: bool) -> String {
    if !is_coded {
        return key.to_owned();
    }
    let pair = format!("k={}", key.replace('&', "%26").replace('=', "%3D"));
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
    decoded.map(|(_, key)| key.into_owned()).unwrap_or_default()
}

fn replication(status: &str) -> Option<Replication> {
    match status {
        "PENDING" => Some(Replication::Pending),
        "COMPLETE" | "COMPLETED" => Some(Replication::Completed),
        "FAILED" => Some(Replication::Failed),
        "REPLICA" => Some(Replication::Replica),
        _ => None,
    }
}

fn headers(answer: &GetObjectOutput) -> ObjectHeaders {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    ObjectHeaders {
        content_type: owned(answer.content_type()),
        cache_control: owned(answer.cache_control()),
        content_disposition: owned(answer.content_disposition()),
        content_encoding: owned(answer.content_encoding()),
        content_language: owned(answer.content_language()),
        redirect: owned(answer.website_redirect_location()),
        metadata: answer
            .metadata()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_as_they_were_encoded() {
        for (coded, key) in [
            ("a/b", "a/b"),
            ("a+b%2Bc%20d", "a b+c d"),
            ("%C3%BC%01%0A", "ü\u{1}\n"),
            ("a%26b%3Dc&d=e", "a&b=c&d=e"),
            ("..%2F..//", "../..//"),
        ] {
            assert_eq!(plain(coded, true), key);
        }
        assert_eq!(plain("a%20+b", false), "a%20+b");
    }
}
