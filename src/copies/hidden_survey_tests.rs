use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use super::hidden::{HiddenHow, HiddenPart, Undeletion};
use super::hidden_survey::survey_hidden;
use crate::model::{Digest, Manifest, SystemName};
use crate::platform::CancellationToken;
use crate::repository::fixtures::{backup, system};
use crate::repository::journal::Tombstones;
use crate::repository::{Repositories, Repository, layout, manifest};
use crate::store::{
    ObjectInfo, ObjectVersion, Page, PutOptions, Store, StoreAdmin, StoreError, StoreErrorKind,
    StoreProtection, Upload, UploadInfo, VersionPage, Written,
};

/// A version: its ETag, which no two share, is its place; `None`: a delete marker.
type Versions = Vec<Option<Bytes>>;

/// A bucket of a store that names what it keeps otherwise each time, as with KMS, or for copies of what came in parts.
#[derive(Debug, Default)]
struct Bucket(BTreeMap<String, Versions>);

fn at(place: usize) -> DateTime<Utc> {
    let begin: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
    begin + TimeDelta::minutes(i64::try_from(place).unwrap())
}

impl Bucket {
    /// The oldest first.
    fn with(mut self, key: &str, versions: &[Option<&[u8]>]) -> Self {
        let versions = versions.iter().map(|bytes| bytes.map(Bytes::copy_from_slice)).collect();
        self.0.insert(key.to_owned(), versions);
        self
    }

    fn read(&self, key: &str, version: &str) -> Result<(Bytes, ObjectInfo), StoreError> {
        let place: usize = version.parse().unwrap();
        let bytes = self.0[key][place].clone().unwrap();
        let info = ObjectInfo {
            key: key.to_owned(),
            size: bytes.len() as u64,
            etag: format!("etag-{place}"),
            modified: at(place),
            metadata: BTreeMap::new(),
        };
        Ok((bytes, info))
    }
}

#[async_trait]
impl Store for Bucket {
    fn location(&self) -> String {
        "bucket".to_owned()
    }
    async fn put(&self, _: &str, _: Bytes, _: &PutOptions) -> Result<Written, StoreError> {
        panic!("written to")
    }
    async fn begin_upload(&self, _: &str, _: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        panic!("written to")
    }
    async fn head(&self, _: &str) -> Result<Option<ObjectInfo>, StoreError> {
        panic!("not asked")
    }
    async fn get(&self, key: &str, _: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        let newest =
            self.0.get(key).and_then(|versions| Some((versions.len() - 1, versions.last()?.as_ref()?)));
        match newest {
            Some((place, _)) => self.read(key, &place.to_string()),
            None => Err(StoreError {
                operation: "read",
                key: key.to_owned(),
                location: self.location(),
                kind: StoreErrorKind::NotFound,
                detail: None,
            }),
        }
    }
    async fn get_range(&self, _: &str, _: Range<u64>) -> Result<Bytes, StoreError> {
        panic!("not asked")
    }
    async fn list(&self, _: &str, _: Option<&str>) -> Result<Page, StoreError> {
        panic!("not asked")
    }
    async fn delete(&self, _: &[String]) -> Vec<Result<(), StoreError>> {
        panic!("deleted from")
    }
    fn admin(&self) -> Option<&dyn StoreAdmin> {
        Some(self)
    }
}

#[async_trait]
impl StoreAdmin for Bucket {
    async fn server_time(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(at(99))
    }
    async fn pending_uploads(&self, _: &str) -> Result<Vec<UploadInfo>, StoreError> {
        Ok(vec![])
    }
    async fn abort_upload(&self, _: &UploadInfo) -> Result<(), StoreError> {
        panic!("changed")
    }
    async fn protection(&self) -> Result<StoreProtection, StoreError> {
        Ok(StoreProtection { keeps_versions: Some(true), locks_objects: Some(false) })
    }
    async fn versions(&self, _: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        panic!("not asked")
    }
    async fn versions_below(
        &self,
        prefix: &str,
        _: Option<(String, String)>,
    ) -> Result<VersionPage, StoreError> {
        let mut page = VersionPage::default();
        for (key, versions) in self.0.iter().filter(|(key, _)| key.starts_with(prefix)) {
            for (place, bytes) in versions.iter().enumerate().rev() {
                let version = ObjectVersion {
                    id: Some(place.to_string()),
                    modified: at(place),
                    size: bytes.as_ref().map(|bytes| bytes.len() as u64),
                    is_latest: place + 1 == versions.len(),
                    etag: bytes.as_ref().map(|_| format!("etag-{place}")).unwrap_or_default(),
                };
                page.versions.push((key.clone(), version));
            }
        }
        Ok(page)
    }
    async fn get_version(
        &self,
        key: &str,
        version: &str,
        range: Option<Range<u64>>,
        _: u64,
    ) -> Result<(Bytes, ObjectInfo), StoreError> {
        let (bytes, info) = self.read(key, version)?;
        let range = range.map_or(0..bytes.len(), |range| range.start as usize..range.end as usize);
        Ok((bytes.slice(range), info))
    }
    async fn purge(&self, _: &[String]) -> Vec<Result<(), StoreError>> {
        panic!("deleted from")
    }
    async fn extend_lock(&self, _: &str, _: DateTime<Utc>) -> Result<(), StoreError> {
        panic!("changed")
    }
    async fn set_legal_hold(&self, _: &str, _: bool) -> Result<(), StoreError> {
        panic!("changed")
    }
}

/// Part, how the first object differs, and what brings it back.
async fn found(bucket: Bucket) -> Vec<(HiddenPart, HiddenHow, Undeletion)> {
    let repository = Repository { name: "primary".parse().unwrap(), store: Arc::new(bucket) };
    let repositories = Repositories::new(vec![repository]);
    let cancel = CancellationToken::new();
    let survey = survey_hidden(&repositories, &system(), &Tombstones::default(), &cancel).await;
    assert_eq!(survey.unknown, []);
    let first = |item: &super::HiddenItem| {
        (item.part.clone(), item.objects[0].how, item.objects[0].undeletion.clone())
    };
    survey.items.iter().map(first).collect()
}

/// A backup of one object, its key, its bytes and the manifest's.
fn taken() -> (Manifest, String, Vec<u8>, Vec<u8>) {
    let system: SystemName = system();
    let mut taken = backup(0).0;
    let object = &mut taken.artifacts[0].objects[0];
    let bytes = b"what was stored".to_vec();
    object.stored = Digest::compute(&bytes);
    let key = layout::object(&system, &taken.id, &object.name);
    taken.artifacts.truncate(1);
    taken.artifacts[0].objects.truncate(1);
    let manifest = manifest::serialise(&taken).unwrap();
    (taken, key, bytes, manifest.to_vec())
}

#[tokio::test]
async fn data_that_is_hidden_under_an_intact_manifest_is_found() {
    let (taken, key, bytes, manifest) = taken();
    let bucket = Bucket::default()
        .with(&layout::manifest(&system(), &taken.id), &[Some(&manifest)])
        .with(&key, &[Some(&bytes), None]);
    let markers = Undeletion::RemoveMarkers(vec!["1".to_owned()]);
    assert_eq!(found(bucket).await, [(HiddenPart::Backup(taken.id), HiddenHow::Hidden, markers)]);
}

#[tokio::test]
async fn what_was_brought_back_by_a_copy_is_intact_whatever_the_store_calls_it() {
    let (taken, key, bytes, manifest) = taken();
    let of_manifest = layout::manifest(&system(), &taken.id);
    let cluster = layout::wal_cluster(&system(), taken.id.source());
    let garbage: Option<&[u8]> = Some(b"of someone else");
    let bucket = |is_back: bool| {
        let versions = |own: &[u8]| -> Vec<Option<Vec<u8>>> {
            let all = [Some(own.to_vec()), garbage.map(<[u8]>::to_vec), Some(own.to_vec())];
            all[..if is_back { 3 } else { 2 }].to_vec()
        };
        let mut bucket = Bucket::default();
        for (key, own) in [
            (&of_manifest, &manifest[..]),
            (&key, &bytes[..]),
            (&cluster, b"{}"),
            (&layout::MARKER.to_owned(), b"{\"format\": \"1.0\"}"),
        ] {
            let versions = versions(own);
            let versions: Vec<Option<&[u8]>> = versions.iter().map(Option::as_deref).collect();
            bucket = bucket.with(key, &versions);
        }
        bucket
    };
    let first = || Undeletion::CopyVersion { version: "0".to_owned(), size: 0 };
    let overwritten = found(bucket(false)).await;
    assert_eq!(overwritten.len(), 3, "{overwritten:?}");
    for (part, how, undeletion) in overwritten {
        let undeletion = match undeletion {
            Undeletion::CopyVersion { version, .. } => Undeletion::CopyVersion { version, size: 0 },
            other => other,
        };
        assert_eq!((how, undeletion), (HiddenHow::Overwritten, first()), "{part:?}");
    }
    assert_eq!(found(bucket(true)).await, []);
}
