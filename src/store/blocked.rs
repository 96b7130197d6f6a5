use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use super::fault::StoreFault;
use super::{ObjectInfo, Page, PutOptions, Store, StoreError, StoreErrorKind, Upload, Written};

/// A location treated as unavailable: every call fails, and no request reaches the store. Replaces the stores
/// of a region when its loss is rehearsed.
#[derive(Debug)]
pub struct Blocked {
    location: String,
}

impl Blocked {
    /// Creates a stand-in for `store` that reports the same location.
    pub fn new(store: &dyn Store) -> Self {
        Self { location: store.location() }
    }

    fn lost(&self, operation: &'static str, key: &str) -> StoreError {
        let fault = StoreFault::new(StoreErrorKind::Unreachable, "location is lost");
        fault.at(operation, key, self.location.clone())
    }
}

#[async_trait]
impl Store for Blocked {
    fn location(&self) -> String {
        self.location.clone()
    }

    async fn put(&self, key: &str, _body: Bytes, _options: &PutOptions) -> Result<Written, StoreError> {
        Err(self.lost("write", key))
    }

    async fn begin_upload(&self, key: &str, _options: &PutOptions) -> Result<Box<dyn Upload>, StoreError> {
        Err(self.lost("begin", key))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        Err(self.lost("look at", key))
    }

    async fn get(&self, key: &str, _limit: u64) -> Result<(Bytes, ObjectInfo), StoreError> {
        Err(self.lost("read", key))
    }

    async fn get_range(&self, key: &str, _range: Range<u64>) -> Result<Bytes, StoreError> {
        Err(self.lost("read", key))
    }

    async fn list(&self, prefix: &str, _after: Option<&str>) -> Result<Page, StoreError> {
        Err(self.lost("list", prefix))
    }

    async fn delete(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        keys.iter().map(|key| Err(self.lost("delete", key))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::directory::DirectoryStore;
    use crate::store::{delete_object, list_all, require_admin};

    #[tokio::test]
    async fn nothing_reaches_a_location_that_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(root.path());
        store.put("s/a", Bytes::from_static(b"x"), &PutOptions::absent()).await.unwrap();
        let blocked = Blocked::new(&store);
        assert_eq!(blocked.location(), store.location());
        let outcomes = [
            blocked.put("s/b", Bytes::new(), &PutOptions::absent()).await.map(drop),
            blocked.begin_upload("s/b", &PutOptions::absent()).await.map(drop),
            blocked.head("s/a").await.map(drop),
            blocked.get("s/a", 9).await.map(drop),
            blocked.get_range("s/a", 0..1).await.map(drop),
            list_all(&blocked, "").await.map(drop),
            delete_object(&blocked, "s/a").await,
        ];
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Unreachable);
            assert!(error.to_string().contains("location is lost"), "{error}");
        }
        assert!(require_admin(&blocked).is_err());
        let keys: Vec<_> = list_all(&store, "").await.unwrap().into_iter().map(|one| one.key).collect();
        assert_eq!(keys, ["s/a"]);
    }
}
