//! A backup in a bucket and its copy in a directory, looked after as a user would.

use drctl::pipeline::NewIdentity;
use drctl::platform::ExposeSecret as _;

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use crate::support::system::{Place, System};

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

    // The copy is lost, and made anew from the bucket, in several parts.
    std::fs::remove_dir_all(&west)?;
    std::fs::create_dir(&west)?;
    system.expect(21, &["status"]).await?;
    system.expect(0, &["copies", "sync"]).await?;
    assert_eq!(system.backups_in("west"), std::slice::from_ref(&id));

    // The bucket is emptied, and filled again from the copy.
    let prefix = bench.server.file("backups");
    std::fs::remove_dir_all(&prefix)?;
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
