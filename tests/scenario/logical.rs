//! The logical source against real servers.

use crate::support::Outcome;
use crate::support::postgres::Cluster;

#[tokio::test]
async fn a_cluster_answers() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    cluster.execute("postgres", &["CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (2)"]).await?;
    assert_eq!(cluster.text("postgres", "SELECT count(*) FROM t").await?, "2");
    assert_eq!(cluster.psql("postgres", "SELECT sum(a) FROM t;").await?, "3\n");
    Ok(())
}
