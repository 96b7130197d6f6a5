//! What a store had at an earlier time, read from the versions that it keeps.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::fault::StoreFault;
use super::{
    ObjectInfo, ObjectVersion, Page, PutOptions, Store, StoreAdmin, StoreError, StoreErrorKind, Upload,
    VersionsByKey, Written, list_all,
};

/// A store as it was at a time: of each key, the newest version from then or before; nothing written or deleted since. It
/// is only read, and its store is not changed. A store that keeps no versions has what was not written since.
#[derive(Debug)]
pub struct AsOf {
    store: Arc<dyn Store>,
    time: DateTime<Utc>,
    /// What each key had then, as far as it was asked: that does not change.
    known: Mutex<BTreeMap<String, Option<ObjectVersion>>>,
}

impl AsOf {
    /// Creates a view of `store` as it was at `time`, by the store's clock.
    pub fn new(store: Arc<dyn Store>, time: DateTime<Utc>) -> Self {
        Self { store, time, known: Mutex::default() }
    }

    fn refused(&self, operation: &'static str, key: &str) -> StoreError {
        let fault = StoreFault::new(StoreErrorKind::Unsupported, "an earlier state is only read");
        fault.at(operation, key, self.location())
    }

    fn missing(&self, key: &str) -> StoreError {
        StoreFault::from(StoreErrorKind::NotFound).at("read", key, self.location())
    }

    /// Returns the version that a key had then; `None`: it had none.
    async fn version(&self, key: &str) -> Result<Option<ObjectVersion>, StoreError> {
        if let Some(known) = self.known().get(key) {
            return Ok(known.clone());
        }
        let versions = match self.store.admin() {
            Some(admin) => admin.versions(key).await,
            None => Err(self.refused("list the versions of", key)),
        };
        let versions = match versions {
            Ok(versions) => versions,
            Err(error) if error.kind == StoreErrorKind::Unsupported => {
                self.store.head(key).await?.iter().map(sole).collect()
            }
            Err(error) => return Err(error),
        };
        let version = at(versions, self.time);
        self.known().insert(key.to_owned(), version.clone());
        Ok(version)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Option<ObjectVersion>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a version's bytes; without a name it is the only one.
    async fn read(
        &self,
        key: &str,
        version: &ObjectVersion,
        range: Option<Range<u64>>,
        limit: u64,
    ) -> Result<(Bytes, ObjectInfo), StoreError> {
        match (&version.id, self.store.admin(), range) {
            (Some(id), Some(admin), range) => admin.get_version(key, id, range, limit).await,
            (_, _, None) => self.store.get(key, limit).await,
            (_, _, Some(range)) => {
                let info = self.store.head(key).await?.ok_or_else(|| self.missing(key))?;
                Ok((self.store.get_range(key, range).await?, info))
            }
        }
    }
}

/// Returns the newest version that is no newer than `time`, unless that is a delete marker.
fn at(mut versions: Vec<ObjectVersion>, time: DateTime<Utc>) -> Option<ObjectVersion> {
    // Those of one moment are told apart by their order: the newest comes first.
    versions.retain(|version| version.modified <= time);
    let newest = versions.iter().map(|version| version.modified).max()?;
    versions.into_iter().find(|version| version.modified == newest).filter(|version| version.size.is_some())
}

fn sole(info: &ObjectInfo) -> ObjectVersion {
    let (size, etag) = (Some(info.size), info.etag.clone());
    ObjectVersion { id: None, modified: info.modified, size, is_latest: true, etag }
}

/// Lists every version below a prefix, by key, the newest of each first; of a store that keeps none, its objects.
pub async fn list_versions(store: &dyn Store, prefix: &str) -> Result<VersionsByKey, StoreError> {
    let listed = match store.admin() {
        Some(admin) => every_page(admin, prefix).await,
        None => Ok(None),
    };
    if let Some(versions) = listed? {
        return Ok(versions);
    }
    let objects = list_all(store, prefix).await?;
    Ok(objects.into_iter().map(|object| (object.key.clone(), vec![sole(&object)])).collect())
}

/// Returns what all pages list; `None`: the store keeps one version of each object, or does not tell.
async fn every_page(admin: &dyn StoreAdmin, prefix: &str) -> Result<Option<VersionsByKey>, StoreError> {
    let mut found: BTreeMap<String, Vec<ObjectVersion>> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = match admin.versions_below(prefix, after).await {
            Ok(page) => page,
            Err(error) if error.kind == StoreErrorKind::Unsupported => return Ok(None),
            Err(error) => return Err(error),
        };
        for (key, version) in page.versions {
            found.entry(key).or_default().push(version);
        }
        after = page.next;
        if after.is_none() {
            return Ok(Some(found.into_iter().collect()));
        }
    }
}

#[async_trait]
impl Store for AsOf {
    fn location(&self) -> String {
        self.store.location()
    }

    async fn put(&self, key: &str, _body: Bytes, _options: &PutOptions) -> Result<Written, StoreError> {
        Err(self.refused("write", key))
    }

    async fn begin_upload(&self, key: &str, _options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        Err(self.refused("begin", key))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        let Some(version) = self.version(key).await? else { return Ok(None) };
        match (&version.id, self.store.admin()) {
            (Some(id), Some(admin)) => admin.head_version(key, id).await.map(Some),
            _ => self.store.head(key).await,
        }
    }

    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        let version = self.version(key).await?.ok_or_else(|| self.missing(key))?;
        self.read(key, &version, None, limit).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let version = self.version(key).await?.ok_or_else(|| self.missing(key))?;
        let limit = range.end.saturating_sub(range.start);
        Ok(self.read(key, &version, Some(range), limit).await?.0)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let mut objects = Vec::new();
        for (key, versions) in list_versions(&*self.store, prefix).await? {
            if after.is_some_and(|after| key.as_str() <= after) {
                continue;
            }
            let version = at(versions, self.time);
            self.known().insert(key.clone(), version.clone());
            let Some(version) = version else { continue };
            objects.push(ObjectInfo {
                key,
                size: version.size.unwrap_or_default(),
                etag: String::new(),
                modified: version.modified,
                metadata: BTreeMap::new(),
            });
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Page { objects, next: None })
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        keys.iter().map(|key| Err(self.refused("delete", key))).collect()
    }

    fn admin(&self) -> Option<&dyn StoreAdmin> {
        None
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::{StoreAdmin, UploadInfo, VersionPage};
    use super::*;
    use crate::store::directory::DirectoryStore;

    fn noon(minutes: i64) -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minutes)
    }

    /// Keys with their versions, the newest first, whose bytes are their names. Only what is read is there.
    #[derive(Debug)]
    struct Versioned(Vec<(&'static str, Vec<OneVersion>)>);

    /// Its name, when it was written in minutes after noon, and whether it is a delete marker.
    type OneVersion = (&'static str, i64, bool);

    impl Versioned {
        fn of(&self, key: &str) -> Vec<ObjectVersion> {
            let found = self.0.iter().find(|(own, _)| *own == key).map(|(_, versions)| versions);
            let version = |(n, (id, minutes, is_marker)): (usize, &(&str, i64, bool))| ObjectVersion {
                id: Some((*id).to_owned()),
                modified: noon(*minutes),
                size: (!is_marker).then_some(id.len() as u64),
                is_latest: n == 0,
                etag: String::new(),
            };
            found.into_iter().flatten().enumerate().map(version).collect()
        }
    }

    #[async_trait]
    impl Store for Versioned {
        fn location(&self) -> String {
            "versioned".to_owned()
        }
        async fn put(&self, _: &str, _: Bytes, _: &PutOptions) -> Result<Written, StoreError> {
            panic!("written to")
        }
        async fn begin_upload(&self, _: &str, _: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
            panic!("written to")
        }
        async fn head(&self, _: &str) -> Result<Option<ObjectInfo>, StoreError> {
            panic!("read as it is now")
        }
        async fn get(&self, _: &str, _: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
            panic!("read as it is now")
        }
        async fn get_range(&self, _: &str, _: Range<u64>) -> Result<Bytes, StoreError> {
            panic!("read as it is now")
        }
        async fn list(&self, _: &str, _: Option<&str>) -> Result<Page, StoreError> {
            panic!("read as it is now")
        }
        async fn delete(&self, _: &[String]) -> Vec<Result<(), StoreError>> {
            panic!("deleted from")
        }
        fn admin(&self) -> Option<&dyn StoreAdmin> {
            Some(self)
        }
    }

    #[async_trait]
    impl StoreAdmin for Versioned {
        async fn server_time(&self) -> Result<DateTime<Utc>, StoreError> {
            Ok(noon(0))
        }
        async fn pending_uploads(&self, _: &str) -> Result<Vec<UploadInfo>, StoreError> {
            Ok(vec![])
        }
        async fn abort_upload(&self, _: &UploadInfo) -> Result<(), StoreError> {
            panic!("changed")
        }
        async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
            Ok(self.of(key))
        }
        async fn versions_below(
            &self,
            prefix: &str,
            _: Option<(String, String)>,
        ) -> Result<VersionPage, StoreError> {
            let below = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
            let of =
                |key: &&str| self.of(key).into_iter().map(|version| ((*key).to_owned(), version)).collect();
            let versions = below.flat_map(|(key, _)| -> Vec<_> { of(&&**key) }).collect();
            Ok(VersionPage { versions, next: None })
        }
        async fn head_version(&self, key: &str, version: &str) -> Result<ObjectInfo, StoreError> {
            let size = version.len() as u64;
            Ok(ObjectInfo {
                key: key.to_owned(),
                size,
                etag: String::new(),
                modified: noon(0),
                metadata: BTreeMap::new(),
            })
        }
        async fn get_version(
            &self,
            key: &str,
            version: &str,
            range: Option<Range<u64>>,
            _: u64,
        ) -> Result<(Bytes, ObjectInfo), StoreError> {
            let bytes = Bytes::copy_from_slice(version.as_bytes());
            let range = range.map_or(0..bytes.len(), |range| range.start as usize..range.end as usize);
            Ok((bytes.slice(range), self.head_version(key, version).await?))
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

    #[tokio::test]
    async fn what_was_hidden_or_overwritten_since_is_there_and_what_is_newer_is_not() {
        let store = Versioned(vec![
            ("s/hidden", vec![("marker", 10, true), ("first", 0, false)]),
            ("s/overwritten", vec![("garbage", 11, false), ("good", 1, false), ("older", 0, false)]),
            ("s/deleted-before", vec![("marker", 2, true), ("was", 0, false)]),
            ("s/back", vec![("again", 12, false), ("marker", 2, true), ("was", 0, false)]),
            ("s/new", vec![("new", 9, false)]),
        ]);
        let view = AsOf::new(Arc::new(store), noon(5));
        let listed: Vec<_> = list_all(&view, "s/").await.unwrap().into_iter().map(|one| one.key).collect();
        assert_eq!(listed, ["s/hidden", "s/overwritten"]);
        for (key, bytes) in [("s/hidden", "first"), ("s/overwritten", "good")] {
            assert_eq!(view.get(key, 99).await.unwrap().0, bytes.as_bytes());
            assert_eq!(view.get_range(key, 1..3).await.unwrap(), bytes.as_bytes()[1..3]);
            assert_eq!(view.head(key).await.unwrap().unwrap().size, bytes.len() as u64);
        }
        for key in ["s/deleted-before", "s/back", "s/new", "s/none"] {
            assert_eq!(view.head(key).await.unwrap(), None, "{key}");
            assert_eq!(view.get(key, 99).await.unwrap_err().kind, StoreErrorKind::NotFound, "{key}");
        }
        // Nothing is written, whatever is asked.
        assert!(view.put("s/x", Bytes::new(), &PutOptions::absent()).await.is_err());
        assert!(view.begin_upload("s/x", &PutOptions::absent()).await.is_err());
        assert!(view.delete(&["s/hidden".to_owned()]).await[0].is_err());
        assert!(view.admin().is_none());
    }

    #[tokio::test]
    async fn a_store_without_versions_has_what_was_not_written_since() {
        let root = tempfile::tempdir().unwrap();
        let store = Arc::new(DirectoryStore::open(root.path()));
        let (written, _) = {
            store.put("s/a", Bytes::from_static(b"x"), &PutOptions::absent()).await.unwrap();
            store.get("s/a", 9).await.map(|(_, info)| (info.modified, ())).unwrap()
        };
        let then = AsOf::new(store.clone(), written);
        assert_eq!(then.get("s/a", 9).await.unwrap().0, "x");
        assert_eq!(list_all(&then, "s/").await.unwrap().len(), 1);
        let before = AsOf::new(store, written - TimeDelta::seconds(1));
        assert!(before.head("s/a").await.unwrap().is_none());
        assert!(list_all(&before, "s/").await.unwrap().is_empty());
    }
}
