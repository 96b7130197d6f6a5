//! One backup through the whole of drctl, as its user runs it.

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::system::{Place, System};

#[tokio::test]
async fn a_backup_stands_in_both_repositories() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    cluster
        .psql(
            "postgres",
            "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 50000) g;",
        )
        .await?;
    let system = System::new(&cluster.url("postgres"), &[Place::Directory, Place::Directory])?;
    let run = system.expect(0, &["backup", "--output", "json"]).await?;
    let last = run.stdout.lines().last().unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(last)?;
    assert_eq!(report["kind"], "backup");
    assert_eq!(report["outcome"], "succeeded");
    let ids = system.backups_in("primary");
    assert_eq!(ids.len(), 1);
    assert_eq!(ids, system.backups_in("west"));
    Ok(())
}
