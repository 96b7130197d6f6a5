//! A store that has less than S3, as Cloudflare R2: one region, no object lock, no tags, no keys of its own.

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::postgres::Cluster;
use crate::support::s3::S3Server;
use crate::support::system::{Place, System};

/// What R2 answers `501 NotImplemented` to.
const UNKNOWN_HEADERS: [&str; 7] = [
    "x-amz-tagging",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-acl",
    "x-amz-request-payer",
];
const UNKNOWN_CALLS: [&str; 5] = ["?tagging", "?retention", "?legal-hold", "?acl", "?policy"];

#[tokio::test(flavor = "multi_thread")]
async fn a_database_goes_to_a_store_without_locks_and_tags_and_comes_back() -> Outcome<()> {
    let (server, cluster) = (S3Server::start().await?, Cluster::start(15).await?);
    let proxy = FaultProxy::to(server.address).await?;
    for header in UNKNOWN_HEADERS {
        proxy.fail(When::any().with_header(header), Fault::Status(501, "NotImplemented"));
    }
    for call in UNKNOWN_CALLS {
        proxy.fail(When::any().with(call), Fault::Status(501, "NotImplemented"));
    }
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
    let system = System::new(&url, &[Place::of_server(proxy.address)])?;
    system.rewrite("region = \"us-east-1\"", "region = \"auto\"")?;
    system.append("[transfer]\npart_size = \"5MiB\"")?;

    system.expect(0, &["backup"]).await?;
    let parts: Vec<_> = proxy.calls().into_iter().filter(|call| call.contains("partNumber=")).collect();
    assert!(parts.len() > 1, "one part only: {parts:?}");
    system.expect(0, &["verify"]).await?;
    let key = system.operational.display().to_string();
    system.expect(0, &["restore", "database", "--to", "again", "-i", &key]).await?;
    let sum = "SELECT md5(string_agg(bytes, '' ORDER BY n)) FROM noise";
    assert_eq!(cluster.text("again", sum).await?, cluster.text("postgres", sum).await?);
    assert_eq!(proxy.taken(), 0, "something was asked that such a store does not have");
    Ok(())
}
