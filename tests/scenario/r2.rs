//! A store that has less than S3, as Cloudflare R2.

use drctl::store::s3::S3Store;
use drctl::store::{PutOptions, Store as _};

use super::support::Outcome;
use super::support::postgres::Cluster;
use super::support::r2::R2;
use super::support::s3::{BUCKET, Keys};
use super::support::system::{Place, System};

/// What the imitation is for: without this, nothing that follows says anything.
#[tokio::test(flavor = "multi_thread")]
async fn the_imitation_refuses_parts_of_several_sizes() -> Outcome<()> {
    let r2 = R2::start().await?;
    let keys = Keys::new(r2.proxy.address, BUCKET)?;
    let store = S3Store::open(&keys.place).await?;
    let part = |mebibytes: usize| bytes::Bytes::from(vec![7; mebibytes << 20]);
    for (sizes, is_taken) in
        [([5, 5, 1], true), ([5, 5, 5], true), ([5, 6, 1], false), ([5, 5, 6], false), ([6, 5, 5], false)]
    {
        let key = format!("upload-{sizes:?}").replace(['[', ']', ',', ' '], "");
        let upload = store.begin_upload(&key, &PutOptions::absent()).await?;
        for (number, size) in (1..).zip(sizes) {
            upload.part(number, part(size)).await?;
        }
        assert_eq!(upload.complete().await.is_ok(), is_taken, "{sizes:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_goes_to_a_store_without_locks_and_tags_and_comes_back() -> Outcome<()> {
    let (r2, cluster) = (R2::start().await?, Cluster::start(15).await?);
    // Random, so that it takes several parts.
    cluster
        .execute(
            "postgres",
            &[
                "CREATE TABLE noise (n int PRIMARY KEY, bytes text)",
                "INSERT INTO noise SELECT n, string_agg(md5(random()::text), '') FROM generate_series(1, 800) n, generate_series(1, 1000) GROUP BY n",
            ],
        )
        .await?;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
    let system = System::new(&url, &[Place::of_server(r2.proxy.address)])?;
    system.rewrite("region = \"us-east-1\"", "region = \"auto\"")?;
    system.append("[transfer]\npart_size = \"5MiB\"")?;

    system.expect(0, &["backup"]).await?;
    let parts: Vec<_> = r2.proxy.calls().into_iter().filter(|call| call.contains("partNumber=")).collect();
    assert!(parts.len() > 1, "one part only: {parts:?}");
    system.expect(0, &["verify"]).await?;
    let key = system.operational.display().to_string();
    system.expect(0, &["restore", "database", "--to", "again", "-i", &key]).await?;
    let sum = "SELECT md5(string_agg(bytes, '' ORDER BY n)) FROM noise";
    assert_eq!(cluster.text("again", sum).await?, cluster.text("postgres", sum).await?);
    assert_eq!(r2.proxy.taken(), 0, "something was asked that such a store does not have");
    Ok(())
}
