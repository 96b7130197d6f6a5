//! What a probe says of each store, and of stores that lie.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use drctl::platform::{CancellationToken, Clock as _, SystemClock};
use drctl::repository::store_probe::capability::{Capabilities, Capability, probe};
use drctl::store::directory::DirectoryStore;
use drctl::store::s3::S3Store;
use drctl::store::{
    ChecksumSupport, ObjectInfo, ObjectVersion, Page, Precondition, PutOptions, Store, StoreAdmin,
    StoreError, StoreProtection, Upload, UploadInfo, Written, list_all, require_admin,
};

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::radosgw;
use crate::support::s3::{BUCKET, Keys, S3Server};

async fn found(store: &dyn Store) -> Outcome<Capabilities> {
    let found = probe(store, || SystemClock.now(), &CancellationToken::new()).await?;
    assert_eq!(list_all(store, "").await?, [], "the probe left something");
    assert!(found.skew_seconds.abs() < 10, "{found:?}");
    Ok(found)
}

/// Which of the checksums the store takes, and which it compares.
fn sums(found: &Capabilities) -> (Vec<&'static str>, Vec<&'static str>) {
    let of = |ability: fn(&drctl::repository::store_probe::checksum::ChecksumProbe) -> &Capability| {
        found.checksums.iter().filter(|sum| ability(sum).is_yes()).map(|sum| sum.checksum).collect()
    };
    (of(|sum| &sum.taken), of(|sum| &sum.compared))
}

#[tokio::test]
async fn radosgw_can_do_everything() -> Outcome<()> {
    let keys = radosgw::bucket("probed", true).await?;
    let found = found(&S3Store::open(&keys.place).await?).await?;
    for ability in [
        &found.conditional_put,
        &found.compare_and_swap,
        &found.multipart,
        &found.conditional_multipart,
        &found.pending_uploads,
        &found.ranged_reads,
        &found.lists_at_once,
        &found.deletes,
    ] {
        assert!(ability.is_yes(), "{found:?}");
    }
    assert_eq!(found.guard, StoreProtection { keeps_versions: Some(true), locks_objects: Some(true) });
    let three = vec!["crc64nvme", "crc32c", "sha256"];
    assert_eq!(sums(&found), ([three.clone(), vec!["none"]].concat(), three));
    Ok(())
}

#[tokio::test]
async fn s3s_cannot_list_uploads() -> Outcome<()> {
    let server = S3Server::start().await?;
    let keys = server.place()?;
    let found = found(&S3Store::open(&keys.place).await?).await?;
    assert!(matches!(found.pending_uploads, Capability::No(_)), "{found:?}");
    assert!(
        found.conditional_put.is_yes() && found.compare_and_swap.is_yes() && found.multipart.is_yes(),
        "{found:?}"
    );
    assert_eq!(sums(&found).0.len(), 4, "{found:?}");
    Ok(())
}

#[tokio::test]
async fn a_directory_has_no_checksums_to_choose() -> Outcome<()> {
    let root = crate::support::scratch::folder()?;
    let found = found(&DirectoryStore::create(root.path()).await?).await?;
    assert!(found.checksums.is_empty(), "{found:?}");
    assert_eq!(found.guard, StoreProtection::default());
    Ok(())
}

#[tokio::test]
async fn a_checksum_that_is_refused_is_named_with_one_that_is_not() -> Outcome<()> {
    let server = S3Server::start().await?;
    let proxy = FaultProxy::to(server.address).await?;
    let keys = Keys::new(proxy.address, BUCKET)?;
    let refused = When::method("PUT").with_header("x-amz-checksum-crc64nvme");
    proxy.fail(refused, Fault::Status(400, "InvalidRequest"));
    let store = S3Store::open(&keys.place).await?;
    let error = probe(&store, || SystemClock.now(), &CancellationToken::new()).await.expect_err("refused");
    assert!(error.to_string().contains("with `checksum = \"crc32c\"` it is taken"), "{error}");
    assert_eq!(list_all(&S3Store::open(&server.place()?.place).await?, "").await?, []);
    Ok(())
}

/// Overwrites although asked not to, as some S3 servers do.
#[derive(Debug)]
pub(crate) struct Careless(Arc<dyn Store>);

impl Careless {
    pub(crate) fn of(store: S3Store) -> Self {
        Self(Arc::new(store))
    }
}

/// Nor does it keep what it said it locked.
fn careless(options: &PutOptions) -> PutOptions {
    PutOptions { precondition: Precondition::None, lock: None, ..options.clone() }
}

#[async_trait]
impl Store for Careless {
    fn location(&self) -> String {
        self.0.location()
    }
    async fn put(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<Written, StoreError> {
        self.0.put(key, body, &careless(options)).await
    }
    async fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        self.0.begin_upload(key, &careless(options)).await
    }
    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.0.head(key).await
    }
    async fn get(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        self.0.get(key, limit).await
    }
    async fn get_range(&self, key: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.0.get_range(key, range).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.0.list(prefix, after).await
    }
    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        self.0.delete(keys).await
    }
    fn admin(&self) -> Option<&dyn StoreAdmin> {
        Some(self)
    }
}

#[async_trait]
impl StoreAdmin for Careless {
    async fn server_time(&self) -> Result<DateTime<Utc>, StoreError> {
        require_admin(&*self.0)?.server_time().await
    }
    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<UploadInfo>, StoreError> {
        require_admin(&*self.0)?.pending_uploads(prefix).await
    }
    async fn abort_upload(&self, upload: &UploadInfo) -> Result<(), StoreError> {
        require_admin(&*self.0)?.abort_upload(upload).await
    }
    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        require_admin(&*self.0)?.versions(key).await
    }
    async fn purge(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        match require_admin(&*self.0) {
            Ok(admin) => admin.purge(keys).await,
            Err(error) => vec![Err(error)],
        }
    }
    async fn extend_lock(&self, key: &str, until: DateTime<Utc>) -> Result<(), StoreError> {
        require_admin(&*self.0)?.extend_lock(key, until).await
    }
    async fn set_legal_hold(&self, key: &str, is_held: bool) -> Result<(), StoreError> {
        require_admin(&*self.0)?.set_legal_hold(key, is_held).await
    }
    async fn delete_version(&self, key: &str, version: &str) -> Result<(), StoreError> {
        require_admin(&*self.0)?.delete_version(key, version).await
    }
    /// And compares nothing.
    fn checksums(&self) -> Vec<ChecksumSupport> {
        let checksum = drctl::policy::Checksum::Crc32c;
        vec![ChecksumSupport { checksum, right: Arc::clone(&self.0), wrong: Arc::clone(&self.0) }]
    }
}

#[tokio::test]
async fn a_store_that_ignores_what_it_is_asked_is_found_out() -> Outcome<()> {
    let root = crate::support::scratch::folder()?;
    let store = Careless(Arc::new(DirectoryStore::create(root.path()).await?));
    let found = found(&store).await?;
    for ability in [&found.conditional_put, &found.compare_and_swap, &found.conditional_multipart] {
        assert!(matches!(ability, Capability::No(_)), "{found:?}");
    }
    assert!(found.multipart.is_yes(), "{found:?}");
    assert_eq!(sums(&found), (vec!["crc32c"], vec![]), "{found:?}");
    Ok(())
}

/// What is left of uploads that were begun and neither completed nor aborted.
fn unfinished(server: &S3Server) -> Outcome<usize> {
    let bucket = server.file("");
    let mut found = 0;
    for entry in std::fs::read_dir(bucket.parent().ok_or("no root")?)? {
        found += usize::from(entry?.file_name().to_string_lossy().starts_with(".upload-"));
    }
    Ok(found)
}

#[tokio::test]
async fn a_probe_of_a_store_that_fills_up_leaves_no_unfinished_upload() -> Outcome<()> {
    let server = S3Server::start().await?;
    let proxy = FaultProxy::to(server.address).await?;
    let keys = Keys::new(proxy.address, BUCKET)?;
    proxy.fail(When::method("PUT").with("partNumber="), Fault::Status(403, "QuotaExceeded"));
    let found = found(&S3Store::open(&keys.place).await?).await?;
    assert!(
        matches!(&found.multipart, Capability::Unknown(why) if why.contains("QuotaExceeded")),
        "{found:?}"
    );
    assert_eq!(unfinished(&server)?, 0);
    // Also where the last step fails, not the first.
    proxy.heal();
    proxy.fail(When::method("POST").with("uploadId="), Fault::Status(403, "QuotaExceeded"));
    self::found(&S3Store::open(&keys.place).await?).await?;
    assert_eq!(unfinished(&server)?, 0);
    Ok(())
}

#[tokio::test]
async fn a_probe_that_is_interrupted_leaves_nothing() -> Outcome<()> {
    let root = crate::support::scratch::folder()?;
    let store = DirectoryStore::create(root.path()).await?;
    let cancel = CancellationToken::new();
    cancel.cancel();
    probe(&store, || SystemClock.now(), &cancel).await.expect_err("interrupted");
    assert_eq!(list_all(&store, "").await?, []);
    // What a killed one left is found by the next.
    store.put(".drctl-probe/0badcafe/object", Bytes::from_static(b"left"), &PutOptions::absent()).await?;
    let file = std::fs::File::open(root.path().join(".drctl-probe/0badcafe/object"))?;
    file.set_modified(file.metadata()?.modified()? - std::time::Duration::from_secs(3600))?;
    found(&store).await?;
    Ok(())
}

#[tokio::test]
async fn a_role_that_may_not_delete_leaves_the_same_few_objects_each_time() -> Outcome<()> {
    let server = S3Server::start().await?;
    let proxy = FaultProxy::to(server.address).await?;
    let keys = Keys::new(proxy.address, BUCKET)?;
    let store = S3Store::open(&keys.place).await?;
    proxy.fail(When::method("DELETE").with("x-id=DeleteObject"), Fault::Status(403, "AccessDenied"));
    let mut left = vec![];
    for _ in 0..2 {
        let found = probe(&store, || SystemClock.now(), &CancellationToken::new()).await?;
        for ability in
            [&found.conditional_put, &found.compare_and_swap, &found.multipart, &found.ranged_reads]
        {
            assert!(ability.is_yes(), "{found:?}");
        }
        assert!(matches!(found.deletes, Capability::No(_)), "{found:?}");
        let objects = list_all(&store, "").await?;
        assert_eq!(found.left_objects, objects.len());
        assert_eq!(found.left_bytes, objects.iter().map(|object| object.size).sum::<u64>());
        left.push(objects.into_iter().map(|object| (object.key, object.size)).collect::<Vec<_>>());
    }
    assert_eq!(left[0], left[1]);
    assert_eq!(left[0].len(), 3, "{left:?}");
    Ok(())
}
