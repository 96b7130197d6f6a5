//! A backup in a bucket and its copy in a directory, looked after as a user would.

use std::sync::Arc;
use std::time::Duration;

use drctl::event::Events;
use drctl::model::{BackupId, BackupKind, Manifest, Protection, RunId, SourceName, ToolFacts};
use drctl::pipeline::{MemoryProducer, NewIdentity, Recipe};
use drctl::platform::{CancellationToken, Clock as _, ExposeSecret as _, SystemClock, seed};
use drctl::repository::{BackupWriter, Repositories, Repository};
use drctl::store::directory::DirectoryStore;

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::support::system::{Place, System};
use crate::support::usage::measure;

struct Bench {
    _cluster: Cluster,
    server: S3Server,
    system: System,
}

impl Bench {
    async fn new() -> Outcome<Self> {
        let cluster = Cluster::start(15).await?;
        // More than one part of five MiB, after compression.
        let noise =
            "CREATE TABLE noise AS SELECT n, sha512(n::text::bytea) AS a, sha512((-n)::text::bytea) AS b
                     FROM generate_series(1, 60000) n;";
        cluster.psql("postgres", noise).await?;
        let server = S3Server::start().await?;
        let bucket = Place::S3 {
            endpoint: format!("http://{}", server.address),
            bucket: BUCKET.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        };
        let system = System::new(&cluster.url("postgres"), &[bucket, Place::Directory])?;
        system.append("[transfer]\npart_size = \"5MiB\"")?;
        Ok(Self { _cluster: cluster, server, system })
    }

    /// Flips a byte of the dump in the bucket.
    fn spoil_bucket(&self) -> Outcome<()> {
        let ids = self.system.backups_in("west");
        let id = ids.first().ok_or("no backup")?;
        let key = format!("backups/shop/database/backups/{id}/database.dump.zst.age");
        let path = self.server.file(&key);
        let mut bytes = std::fs::read(&path)?;
        assert!(bytes.len() > 6 << 20, "{} bytes are one part", bytes.len());
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Ok(std::fs::write(path, bytes)?)
    }

    fn copies(document: &str) -> Outcome<Vec<(String, String, String)>> {
        let last: serde_json::Value = serde_json::from_str(document.lines().last().ok_or("no document")?)?;
        let copies = last["copies"].as_array().ok_or("no copies")?;
        let word = |value: &serde_json::Value| value.as_str().unwrap_or("none").to_owned();
        let row = |copy| -> (String, String, String) {
            let copy: &serde_json::Value = copy;
            (word(&copy["repository"]), word(&copy["verdict"]), word(&copy["depth"]))
        };
        Ok(copies.iter().map(row).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_identity_proves_the_data_and_a_strange_one_says_so() -> Outcome<()> {
    let bench = Bench::new().await?;
    let system = &bench.system;
    system.expect(0, &["backup"]).await?;
    for key in [&system.operational, &system.escrow] {
        let key = key.display().to_string();
        let run = system.expect(0, &["verify", "--identity", &key, "--output", "json"]).await?;
        let good = |name: &str| (name.to_owned(), "good".to_owned(), "plain".to_owned());
        assert_eq!(Bench::copies(&run.stdout)?, [good("primary"), good("west")]);
    }
    let strange = system.path().join("strange.key");
    std::fs::copy(&system.escrow, &strange)?;
    std::fs::write(&strange, NewIdentity::generate().file("strange").expose_secret())?;
    let run = system.expect(12, &["verify", "--identity", &strange.display().to_string()]).await?;
    assert!(run.stdout.contains("no identity given opens it"), "{run:?}");

    bench.spoil_bucket()?;
    for identity in [vec![], vec!["--identity".to_owned(), system.operational.display().to_string()]] {
        let arguments = ["verify", "--output", "json"].map(str::to_owned);
        let arguments: Vec<_> = arguments.iter().chain(&identity).map(String::as_str).collect();
        let run = system.expect(1, &arguments).await?;
        let copies = Bench::copies(&run.stdout)?;
        assert_eq!((&*copies[0].1, &*copies[1].1), ("bad", "good"), "{run:?}");
        assert!(run.stdout.contains(r#""fault":"altered""#), "{run:?}");
    }
    // What is known to be bad is not the newest restorable one.
    system.expect(21, &["status"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_completed_from_the_bucket_and_back() -> Outcome<()> {
    let bench = Bench::new().await?;
    let system = &bench.system;
    system.expect(0, &["backup"]).await?;
    let west = system.repository("west");
    let id = system.backups_in("west").pop().ok_or("no backup")?;

    // The copy is lost, and created again from the bucket, in several parts, once that is said to be meant.
    std::fs::remove_dir_all(&west)?;
    std::fs::create_dir(&west)?;
    system.expect(3, &["status"]).await?.says("drctl repository create west")?;
    system.expect(3, &["copies", "sync"]).await?;
    system.expect(0, &["repository", "create", "west"]).await?;
    system.expect(0, &["copies", "sync"]).await?;
    assert_eq!(system.backups_in("west"), std::slice::from_ref(&id));

    // The bucket is emptied, and filled again from the copy.
    let prefix = bench.server.file("backups");
    std::fs::remove_dir_all(&prefix)?;
    system.expect(0, &["repository", "create", "primary"]).await?;
    system.expect(0, &["copies", "sync"]).await?;
    let key = system.escrow.display().to_string();
    system.expect(0, &["verify", "--identity", &key]).await?;
    let text = std::fs::read_to_string(prefix.join("RESTORE-BY-HAND.txt"))?;
    assert_eq!(text, std::fs::read_to_string(west.join("RESTORE-BY-HAND.txt"))?);

    // Without the catalog everything is found again.
    let before = system.expect(0, &["list", "--output", "json"]).await?.stdout;
    std::fs::remove_dir_all(system.path().join("state"))?;
    system.expect(0, &["catalog", "rebuild"]).await?;
    assert_eq!(system.expect(0, &["list", "--output", "json"]).await?.stdout, before);
    assert!(before.contains(&id), "{before}");
    Ok(())
}

/// More than a run may have in memory, several times.
const LARGE: usize = 400 << 20;
const PEAK_AT_MOST: u64 = 128 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_whatever_the_size_of_a_backup() -> Outcome<()> {
    let server = S3Server::start().await?;
    let bucket = Place::S3 {
        endpoint: format!("http://{}", server.address),
        bucket: BUCKET.to_owned(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
    };
    let mut system = System::new("postgres://nobody@127.0.0.1/none", &[bucket, Place::Directory])?;
    system.set("DRCTL_LOG", "error");
    store_large(&system).await?;
    let key = system.operational.display().to_string();
    let mut peaks = Vec::new();
    // From the directory to the bucket; then every byte of both, twice as deep.
    for arguments in [&["copies", "sync"][..], &["verify"], &["verify", "--identity", &key]] {
        let command = system.command(arguments);
        let usage = tokio::task::spawn_blocking(move || measure(command, Duration::from_secs(300))).await??;
        let usage = usage.expect_success()?;
        peaks.push((arguments[0], usage.peak >> 20));
    }
    assert!(peaks.iter().all(|(_, peak)| *peak < PEAK_AT_MOST >> 20), "MiB: {peaks:?}");
    Ok(())
}

/// A backup in the directory that no database was needed for.
async fn store_large(system: &System) -> Outcome<()> {
    let policy = drctl::policy::load(&system.policy()).map_err(|faults| format!("{faults:?}"))?;
    let store = DirectoryStore::open(system.repository("west"));
    let set = Repositories::new(vec![Repository { name: "west".parse()?, store: Arc::new(store) }]);
    let begun = SystemClock.now();
    let set = set.for_writing(&policy.system, None, begun).await?;
    let repository_id = set.id().ok_or("id")?.to_owned();
    let source: SourceName = "database".parse()?;
    let id = BackupId::new(begun, &source, BackupKind::Logical, seed());
    let recipe = Recipe::new(policy.compression, &policy.encryption)?;
    let (events, cancel) = (Events::default(), CancellationToken::new());
    let mut writer = BackupWriter::new(
        set,
        policy.system.clone(),
        id.clone(),
        recipe,
        policy.transfer,
        vec![],
        events,
        cancel,
    );
    // Does not compress, and is quick to make.
    let mut noise = vec![0; LARGE];
    let mut random = fastrand::Rng::with_seed(1);
    random.fill(&mut noise);
    let artifact = writer.store("database.dump", Box::new(MemoryProducer::new(noise)), None).await?;
    let manifest = Manifest {
        format: "1.0".to_owned(),
        repository_id,
        system: policy.system,
        source,
        kind: id.kind(),
        run: RunId::new(begun, seed()),
        recovery_point: begun,
        begun,
        ended: begun,
        host: "a".to_owned(),
        tool: ToolFacts { drctl: "0.1.0".to_owned(), producer: "none".to_owned() },
        server: None,
        physical: None,
        parent: None,
        point: None,
        managed: None,
        protection: Protection::Age { recipients: vec![] },
        artifacts: vec![artifact],
        by_hand: vec![],
        id,
    };
    writer.commit(&manifest).await?;
    Ok(())
}
