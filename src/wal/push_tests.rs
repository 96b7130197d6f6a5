use super::*;
use crate::policy::{Compression, Encryption};
use crate::postgres::wal_header::segment_for_tests;
use crate::repository::NestedError;
use crate::repository::fixtures::{REPOSITORY_ID, noon, repositories, system};
use crate::store::list_all;

const SIZE: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_to_a_misplaced_repository_and_that_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["primary", "copy"];
    repositories(folder.path(), &names)
        .await
        .for_writing(&system(), Some(REPOSITORY_ID), noon())
        .await
        .unwrap();
    let path = folder.path().join("000000010000000000000003");
    std::fs::write(&path, segment_for_tests(1, 3 * SIZE, u32::try_from(SIZE).unwrap())).unwrap();
    let error = NestedError::Repository {
        path: folder.path().join("primary/copy"),
        of: "primary".parse().unwrap(),
        outer: folder.path().join("primary"),
    };
    let set = repositories(folder.path(), &names).await;
    let pusher = Pusher {
        system: system(),
        source: "database".parse().unwrap(),
        repositories: set.with_misplaced(vec![("copy".parse().unwrap(), error)]),
        options: vec![],
        optional_repositories: vec![],
        recipe: Recipe::new(Compression { level: 1, threads: 1 }, &Encryption::None).unwrap(),
        parallel: 1,
        clock: Arc::new(crate::platform::SystemClock),
        cancel: CancellationToken::new(),
        horizon: None,
        known: Arc::default(),
        memory: Arc::new(()),
    };
    for _ in 0..2 {
        let failed = pusher.push(&path).await.unwrap_err();
        let PushError::NotEverywhere { held, lost, .. } = &failed else { panic!("{failed:?}") };
        assert_eq!(held.iter().map(RepositoryName::as_str).collect::<Vec<_>>(), ["primary"]);
        assert!(lost[0].reason().contains("is inside repository"), "{}", lost[0].reason());
    }
    let stored = async |n: usize| {
        let repository = pusher.repositories.iter().nth(n).unwrap();
        let keys = list_all(&*repository.store, "").await.unwrap();
        keys.into_iter().filter(|object| object.key.contains("/wal/")).count()
    };
    assert!(stored(0).await > 0);
    assert_eq!(stored(1).await, 0);
    // Where its confirmation is optional, the file is archived.
    let optional = Pusher { optional_repositories: vec!["copy".parse().unwrap()], ..pusher };
    let pushed = optional.push(&path).await.unwrap();
    assert_eq!(pushed.behind.len(), 1);
}
