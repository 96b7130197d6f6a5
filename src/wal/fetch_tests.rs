use super::*;
use crate::model::{Digest, Timeline};
use crate::postgres::wal_header::segment_for_tests;
use crate::repository::fixtures::{noon, repositories, system};
use crate::store::PutOptions;

const SIZE: u64 = 1 << 20;

/// A segment in each of two repositories; damaged there or not.
struct Kept {
    folder: tempfile::TempDir,
    fetcher: Fetcher,
    archive: Archive,
    segment: Segment,
}

impl Kept {
    async fn new(damaged: [bool; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let set = repositories(folder.path(), &["primary", "west"]).await;
        let size = SegmentSize::new(SIZE).unwrap();
        let cluster = SystemIdentifier(7_300_000_000_000_000_001);
        let archive = Archive { system: system(), source: "database".parse().unwrap(), cluster };
        let segment = Segment::new(Timeline::FIRST, 3, size);
        for (repository, is_damaged) in set.iter().zip(damaged) {
            cluster::record(repository, &archive, size, "id", noon(), false).await.unwrap();
            let mut plain = segment_for_tests(1, 3 * SIZE, u32::try_from(SIZE).unwrap());
            plain[9000] = u8::from(is_damaged);
            let tags = SegmentTags {
                plain: Digest::compute(&plain),
                stored: None,
                completed: noon(),
                witnessed: true,
                known_until: None,
                newest_commit: None,
                notable: None,
                damaged: is_damaged.then_some(Lsn(3 * SIZE + 9000)),
                minimal: None,
                checkpoints: None,
                parent: None,
            };
            let options = PutOptions { metadata: tags.to_metadata(), ..PutOptions::absent() };
            let stored = zstd::encode_all(&plain[..], 1).unwrap().into();
            let key = archive.key(WalName::Segment(segment), ".zst");
            repository.store.put(&key, stored, &options).await.unwrap();
        }
        let fetcher = Fetcher {
            system: archive.system.clone(),
            source: archive.source.clone(),
            repositories: set,
            identities: Identities::default(),
            until: None,
            mapped_tablespaces: None,
            prefetch: 0,
            parallel: 1,
            cancel: CancellationToken::new(),
        };
        Self { folder, fetcher, archive, segment }
    }

    /// Returns the repository it came from, and whether it is intact.
    async fn fetched(&self) -> (String, bool) {
        let target = self.folder.path().join("RECOVERYXLOG");
        let name = WalName::Segment(self.segment);
        let fetched = self.fetcher.fetch(Some(self.archive.cluster), name, &target).await.unwrap();
        let Fetched::Placed { from: Some(from), .. } = fetched else { panic!("{fetched:?}") };
        let left = std::fs::read_dir(self.folder.path()).unwrap().count();
        assert_eq!(left, 3, "two repositories and the segment");
        (from.to_string(), std::fs::read(target).unwrap()[9000] == 0)
    }
}

#[tokio::test]
async fn an_intact_segment_is_taken_before_one_that_was_damaged_when_it_was_archived() {
    assert_eq!(Kept::new([true, false]).await.fetched().await, ("west".to_owned(), true));
    assert_eq!(Kept::new([false, true]).await.fetched().await, ("primary".to_owned(), true));
}

#[tokio::test]
async fn a_damaged_segment_is_taken_where_no_repository_has_another() {
    assert_eq!(Kept::new([true, true]).await.fetched().await, ("primary".to_owned(), false));
}

#[tokio::test]
async fn a_relay_hands_over_what_was_fetched_and_tells_an_absent_file_from_a_failure() {
    use crate::wal::relay::{RelayError, RelayRequest, WalRelay, fetch_by};
    let kept = Kept::new([false, false]).await;
    let apart = tempfile::tempdir().unwrap();
    let (socket, target) = (apart.path().join("relay"), apart.path().join("RECOVERYXLOG"));
    let spool = apart.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let relay = WalRelay::start(kept.fetcher.clone(), &socket, &spool, None).unwrap();
    let request = |file: &str| RelayRequest {
        file: file.to_owned(),
        cluster: Some(kept.archive.cluster),
        from: vec![],
        until: None,
        mapped_tablespaces: None,
    };
    let name = kept.segment.to_string();
    assert!(fetch_by(&socket, &request(&name), &target).await.unwrap());
    let plain = segment_for_tests(1, 3 * SIZE, u32::try_from(SIZE).unwrap());
    assert!(std::fs::read(&target).unwrap() == plain && relay.served() == SIZE);
    std::fs::remove_file(&target).unwrap();
    assert!(!fetch_by(&socket, &request("00000002.history"), &target).await.unwrap());
    // A repository that cannot be read may have it: that is no absence.
    let elsewhere = RelayRequest { from: vec!["east".parse().unwrap()], ..request(&name) };
    let error = fetch_by(&socket, &elsewhere, &target).await.unwrap_err();
    assert!(matches!(&error, RelayError::Failed(_)), "{error}");
    let cut = RelayRequest { until: Some(Lsn(3 * SIZE)), ..request(&name) };
    assert!(!fetch_by(&socket, &cut, &target).await.unwrap() && !target.exists());
    drop(relay);
}
