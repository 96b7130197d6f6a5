use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::super::fault::StoreFault;
use super::super::{
    DetachedMetadata, ObjectInfo, ObjectVersion, Page, PutOptions, Store, StoreAdmin, StoreError,
    StoreErrorKind, Upload, UploadInfo, Written,
};
use super::folder::{BODY, DirectoryStore, QUICK};
use super::object_file::bare_info;
use super::upload::DirectoryUpload;
use crate::platform::{Clock as _, SystemClock};

/// How many files are deleted within one deadline.
const DELETED_AT_ONCE: usize = 100;

#[async_trait]
impl Store for DirectoryStore {
    fn location(&self) -> String {
        self.path()
    }

    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError> {
        let (owned, options) = (key.to_owned(), options.clone());
        self.run("write", key, BODY, move |files| {
            let draft = files.begin(&owned, &options)?;
            if let Err(error) = draft.file.write_all_at(&body, 0) {
                let _left_for_the_sweep = fs::remove_dir_all(&draft.folder);
                return Err(error.into());
            }
            files.publish(&owned, &draft, &options)
        })
        .await
    }

    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        let (owned, begun_with) = (key.to_owned(), options.clone());
        let draft = self.run("begin", key, QUICK, move |files| files.begin(&owned, &begun_with)).await?;
        Ok(Box::new(DirectoryUpload::new(self.clone(), key, options, draft)))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        let owned = key.to_owned();
        self.run("look at", key, QUICK, move |files| files.head(&owned)).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        let owned = key.to_owned();
        self.run("read", key, BODY, move |files| files.get(&owned, limit)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let owned = key.to_owned();
        self.run("read", key, BODY, move |files| files.get_range(&owned, range)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let (owned, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.run("list", prefix, QUICK, move |files| files.list(&owned, after.as_deref())).await
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for batch in keys.chunks(DELETED_AT_ONCE) {
            let owned = batch.to_vec();
            let deleted = self.run("delete", &batch[0], QUICK, move |files| {
                Ok(owned.iter().map(|key| files.delete(key)).collect::<Vec<_>>())
            });
            match deleted.await {
                Ok(deleted) => {
                    outcomes.extend(batch.iter().zip(deleted).map(|(key, outcome)| {
                        outcome.map_err(|fault| fault.at("delete", key, self.location()))
                    }))
                }
                Err(error) => outcomes
                    .extend(batch.iter().map(|key| Err(StoreError { key: key.clone(), ..error.clone() }))),
            }
        }
        outcomes
    }

    fn admin(&self) -> Option<&dyn StoreAdmin> {
        Some(self)
    }
}

#[async_trait]
impl StoreAdmin for DirectoryStore {
    /// It keeps no versions.
    async fn purge(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        self.delete(keys).await
    }

    /// Inode, size and time of the file: one that is reached by two paths has the same.
    async fn write_id(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(self.head(key).await?.map(|info| format!("file {}", info.etag)))
    }

    async fn detached_metadata(&self, key: &str) -> Result<Vec<DetachedMetadata>, StoreError> {
        let owned = key.to_owned();
        self.run("read the metadata of", key, QUICK, move |files| files.detached_metadata(&owned)).await
    }

    /// Returns the current file: a directory keeps no older versions.
    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        let version = |info: ObjectInfo| ObjectVersion {
            id: None,
            modified: info.modified,
            size: Some(info.size),
            is_latest: true,
            etag: info.etag,
        };
        Ok(self.head(key).await?.map(version).into_iter().collect())
    }

    async fn extend_lock(&self, key: &str, _until: DateTime<Utc>) -> Result<(), StoreError> {
        Err(self.no_lock("extend the lock of", key))
    }

    async fn set_legal_hold(&self, key: &str, _is_held: bool) -> Result<(), StoreError> {
        Err(self.no_lock("hold", key))
    }

    fn keeps_metadata_apart(&self) -> bool {
        true
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError> {
        let owned = prefix.to_owned();
        self.run("list the uploads below", prefix, QUICK, move |files| files.pending(&owned)).await
    }

    async fn abort_upload(&self, upload: &UploadInfo) -> Result<(), StoreError> {
        let id = upload.id.clone();
        self.run("abort the upload of", &upload.key, QUICK, move |files| files.abort(&id)).await
    }

    /// Returns the time that a new file gets: over a network file system that of the server, as in
    /// [`ObjectInfo::modified`]. Falls back to this host's clock if the directory is read-only.
    async fn server_time(&self) -> Result<DateTime<Utc>, StoreError> {
        self.run("read the time of", "", QUICK, |files| {
            files.check_root()?;
            // Unnamed, so that it leaves nothing behind: the directory may turn out not to be the repository.
            match tempfile::tempfile_in(&files.root) {
                Ok(file) => Ok(bare_info("", &file.metadata()?).modified),
                Err(error) => match StoreFault::from(error) {
                    fault if fault.kind == StoreErrorKind::Forbidden => Ok(SystemClock.now()),
                    fault => Err(fault),
                },
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::{Lock, delete_object, list_all};

    async fn store() -> (tempfile::TempDir, DirectoryStore) {
        let root = tempfile::tempdir().unwrap();
        let store = DirectoryStore::create(root.path()).await.unwrap();
        (root, store)
    }

    #[tokio::test]
    async fn a_disk_that_is_not_there_is_never_replaced_by_a_folder() {
        let (root, store) = store().await;
        let upload = store.begin_upload("s/a", &PutOptions::absent()).await.unwrap();
        fs::remove_dir_all(root.path()).unwrap();
        let body = Bytes::from_static(b"x");
        let faults = [
            store.put("s/b", body.clone(), &PutOptions::absent()).await.map(drop),
            store.head("s/b").await.map(drop),
            store.get("s/b", 9).await.map(drop),
            store.list("", None).await.map(drop),
            delete_object(&store, "s/b").await,
            store.server_time().await.map(drop),
            upload.complete().await.map(drop),
        ];
        for fault in faults {
            assert_eq!(fault.unwrap_err().kind, StoreErrorKind::NoBucket);
        }
        assert!(!root.path().exists());
        let below = DirectoryStore::create(root.path().join("deep")).await.unwrap_err();
        assert_eq!(below.kind, StoreErrorKind::NoBucket);
    }

    #[tokio::test]
    async fn no_key_leads_out_of_the_root_or_into_the_stores_own_folder() {
        let (_root, store) = store().await;
        for key in ["", "/etc/passwd", "../a", "a/../../b", "a//b", "a/", ".", ".drctl/lock", "a\0b"] {
            let error = store.put(key, Bytes::new(), &PutOptions::default()).await.unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Unsupported, "{key}");
            assert!(store.get(key, 1).await.is_err(), "{key}");
        }
    }

    #[tokio::test]
    async fn a_part_that_comes_before_the_first_finds_its_place() {
        let (_root, store) = store().await;
        let upload = store.begin_upload("s/a", &PutOptions::absent()).await.unwrap();
        for (number, body) in [(3, "c"), (2, "bb"), (1, "aa")] {
            upload.part(number, Bytes::from_static(body.as_bytes())).await.unwrap();
        }
        upload.complete().await.unwrap();
        assert_eq!(store.get("s/a", 9).await.unwrap().0, "aabbc");
    }

    #[tokio::test]
    async fn parts_that_make_no_whole_are_refused() {
        for parts in [vec![(1, "aa"), (3, "cc")], vec![(1, "aa"), (2, "b"), (3, "c")], vec![(2, "bb")]] {
            let (_root, store) = store().await;
            let upload = store.begin_upload("s/a", &PutOptions::absent()).await.unwrap();
            for (number, body) in parts {
                upload.part(number, Bytes::from_static(body.as_bytes())).await.unwrap();
            }
            upload.complete().await.unwrap_err();
            assert_eq!(store.head("s/a").await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_shows_as_pending_only_and_can_be_freed() {
        let (root, store) = store().await;
        drop(store.begin_upload("s/a", &PutOptions::absent()).await.unwrap());
        assert_eq!(list_all(&store, "").await.unwrap(), []);
        let pending = store.pending_uploads("s/").await.unwrap();
        assert_eq!(pending.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["s/a"]);
        store.abort_upload(&pending[0]).await.unwrap();
        store.abort_upload(&pending[0]).await.unwrap();
        assert_eq!(store.pending_uploads("").await.unwrap(), []);
        assert_eq!(fs::read_dir(root.path().join(".drctl/uploads")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn metadata_goes_with_the_object_it_was_given_with() {
        let (root, store) = store().await;
        let with = |value: &str| PutOptions {
            metadata: [("word".to_owned(), value.to_owned())].into(),
            ..PutOptions::default()
        };
        for value in ["one", "two"] {
            store.put("s/a", Bytes::from_static(b"x"), &with(value)).await.unwrap();
            assert_eq!(store.head("s/a").await.unwrap().unwrap().metadata["word"], value);
        }
        let refused = PutOptions { precondition: crate::store::Precondition::Absent, ..with("three") };
        store.put("s/a", Bytes::from_static(b"x"), &refused).await.unwrap_err();
        assert_eq!(store.get("s/a", 9).await.unwrap().1.metadata["word"], "two");
        let sidecars = || fs::read_dir(root.path().join(".drctl/metadata")).unwrap().count();
        assert_eq!(sidecars(), 1);
        store.put("s/a", Bytes::from_static(b"x"), &PutOptions::default()).await.unwrap();
        assert!(store.head("s/a").await.unwrap().unwrap().metadata.is_empty());
        assert_eq!(sidecars(), 0);
    }

    #[tokio::test]
    async fn metadata_of_a_file_that_was_changed_from_outside_is_still_found() {
        let (root, store) = store().await;
        let metadata = BTreeMap::from([("word".to_owned(), "one".to_owned())]);
        let options = PutOptions { metadata: metadata.clone(), ..PutOptions::absent() };
        for key in ["s/a", "s/b"] {
            store.put(key, Bytes::from_static(b"four"), &options).await.unwrap();
        }
        fs::write(root.path().join("s/a"), "").unwrap();
        assert!(store.head("s/a").await.unwrap().unwrap().metadata.is_empty());
        assert_eq!(store.detached_metadata("s/a").await.unwrap(), [DetachedMetadata { size: 4, metadata }]);
        assert_eq!(store.detached_metadata("s/c").await.unwrap(), []);
    }

    #[tokio::test]
    async fn an_etag_never_comes_back() {
        let (_root, store) = store().await;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let written = store.put("s/a", Bytes::from_static(b"x"), &PutOptions::default()).await.unwrap();
            assert_eq!(store.head("s/a").await.unwrap().unwrap().etag, written.etag);
            assert!(seen.insert(written.etag));
            delete_object(&store, "s/a").await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_lock_that_a_directory_cannot_keep_is_refused() {
        let (_root, store) = store().await;
        let lock = Lock { mode: crate::policy::LockMode::Governance, until: SystemClock.now() };
        let options = PutOptions { lock: Some(lock), ..PutOptions::absent() };
        let error = store.put("s/a", Bytes::new(), &options).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unsupported);
        assert!(error.to_string().contains("a directory has no object lock"), "{error}");
    }

    #[test]
    fn a_full_disk_has_a_name() {
        for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT, rustix::io::Errno::FBIG] {
            assert_eq!(StoreFault::from(errno).kind, StoreErrorKind::Full);
        }
    }
}
