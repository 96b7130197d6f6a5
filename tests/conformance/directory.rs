//! A directory.

use std::process::Command;

use bytes::Bytes;
use drctl::store::directory::DirectoryStore;
use drctl::store::{PutOptions, Store, StoreAdmin as _, StoreErrorKind, list_all};
use tempfile::TempDir;

use crate::suite::{self, conforms};
use crate::support::Outcome;

struct Stage {
    store: DirectoryStore,
    _root: TempDir,
}

async fn open(_case: &str) -> Outcome<Stage> {
    let root = crate::support::scratch::folder()?;
    Ok(Stage { store: DirectoryStore::create(root.path()).await?, _root: root })
}

conforms! { open:
    what_is_written_is_read_back,
    metadata_comes_back_as_given,
    what_is_not_there_is_said_to_be_not_there,
    an_object_is_not_overwritten,
    one_of_many_writers_at_once_succeeds,
    a_change_by_someone_else_is_noticed,
    parts_may_come_in_any_order,
    an_aborted_upload_leaves_nothing,
    uploads_on_their_way_can_be_found_and_ended,
    an_object_may_be_empty,
    a_short_answer_is_an_error,
    a_long_listing_is_whole_and_sorted,
    keys_may_have_any_letters,
    what_is_no_key_is_refused,
    many_objects_are_deleted_at_once,
    an_object_has_one_version,
    what_is_not_locked_cannot_be_locked_longer,
}

#[tokio::test]
async fn a_missing_directory_has_its_own_name() -> Outcome<()> {
    let root = crate::support::scratch::folder()?;
    let missing = root.path().join("unmounted");
    suite::a_missing_bucket_has_its_own_name(&DirectoryStore::open(&missing)).await?;
    assert!(!missing.exists());
    Ok(())
}

/// Runs itself again in a mount namespace of its own, on a file system of one megabyte.
#[test]
fn a_full_disk_says_so_and_keeps_what_was_there() -> Outcome<()> {
    let root = crate::support::scratch::folder()?;
    let script = "mount -t tmpfs -o size=1m tmpfs \"$0\" && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .arg(root.path())
        .arg(std::env::current_exe()?)
        .args(["--exact", "directory::inside_a_full_disk", "--ignored", "--nocapture"])
        .env("DRCTL_TEST_FULL_DISK", root.path())
        .output()?;
    let words =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && words.contains("1 passed"), "{words}");
    Ok(())
}

#[tokio::test]
#[ignore = "run by `a_full_disk_says_so_and_keeps_what_was_there`"]
async fn inside_a_full_disk() -> Outcome<()> {
    let store = DirectoryStore::open(std::env::var("DRCTL_TEST_FULL_DISK")?);
    store.put("s/before", suite::noise(100_000, 1), &PutOptions::absent()).await?;
    let error =
        store.put("s/put", suite::noise(2 << 20, 2), &PutOptions::absent()).await.expect_err("no space");
    assert_eq!(error.kind, StoreErrorKind::Full, "{error}");
    let upload = store.begin_upload("s/upload", &PutOptions::absent()).await?;
    upload.part(1, suite::noise(512 << 10, 3)).await?;
    let error = upload.part(2, suite::noise(512 << 10, 4)).await.expect_err("no space");
    assert_eq!(error.kind, StoreErrorKind::Full, "{error}");
    upload.complete().await.expect_err("a part is missing");
    upload.abort().await?;
    let keys: Vec<_> = list_all(&store, "").await?.into_iter().map(|object| object.key).collect();
    assert_eq!(keys, ["s/before"]);
    assert_eq!(store.pending_uploads("").await?, []);
    // Nothing half-made holds the space.
    store.put("s/after", suite::noise(600_000, 5), &PutOptions::absent()).await?;
    store.put("s/small", Bytes::from_static(b"x"), &PutOptions::absent()).await?;
    Ok(())
}
