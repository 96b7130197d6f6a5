//! Whether a source's server is the one of its earlier backups.

use crate::recovery::TWO;
use crate::support::Outcome;
use crate::support::archiving::Archiving;
use crate::support::ledger::options;
use crate::support::postgres::Cluster;
use crate::support::system::{Place, System};

#[tokio::test]
async fn a_url_that_leads_to_another_cluster_is_refused_until_that_is_accepted() -> Outcome<()> {
    let (one, other) = tokio::try_join!(Cluster::start(15), Cluster::start(15))?;
    let system = System::new(&one.url("postgres"), &[Place::Directory])?;
    system.expect(0, &["backup", "--kind", "logical"]).await?;
    let before = system.backups_in("primary");
    system.rewrite(&one.url("postgres"), &other.url("postgres"))?;
    let identifier = "SELECT system_identifier::text FROM pg_control_system()";
    for arguments in [["backup", "--kind", "logical"], ["backup", "--plan", "--quiet"]] {
        let refused = system.expect(1, &arguments).await?;
        if arguments[1] == "--kind" {
            refused.says("is another cluster")?.says("--accept-new-cluster")?;
            refused.says(&one.text("postgres", identifier).await?)?;
        }
    }
    assert_eq!(system.backups_in("primary"), before);

    system.expect(0, &["backup", "--accept-new-cluster"]).await?;
    let accepted = system.backups_in("primary").pop().ok_or("no backup")?;
    system.expect(0, &["show", &accepted]).await?.says(&one.text("postgres", identifier).await?)?;
    // From then on this is the cluster, and the one before is another.
    system.expect(0, &["backup"]).await?;
    system.rewrite(&other.url("postgres"), &one.url("postgres"))?;
    system.expect(1, &["backup"]).await?.says("is another cluster")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_promoted_beside_its_primary_is_not_copied() -> Outcome<()> {
    let archiving = Archiving::start(&TWO, "", options(15)).await?;
    let standby = archiving.cluster.standby().await?;
    archiving.base(&format!("url = \"{}\"", standby.url("postgres")))?;
    archiving.backup(0, &["--plan"]).await?;
    standby.execute("postgres", &["SELECT pg_promote()"]).await?;
    let refused = archiving.backup(1, &[]).await?;
    refused.says("was promoted: it writes timeline 2")?.says("writes timeline 1")?;
    assert!(archiving.system.backups_in("primary").is_empty());
    Ok(())
}

/// Its WAL is taken from then on, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_took_anothers_place_is_copied_and_archived_once_it_is_accepted() -> Outcome<()> {
    let mut archiving = Archiving::start(&TWO, "", options(15)).await?;
    archiving.base("")?;
    archiving.backup(0, &[]).await?;
    let other = Archiving::start(&TWO, "", options(15)).await?.cluster;
    let ours = archiving.cluster.url("postgres");
    archiving.system.rewrite(&ours, &other.url("postgres"))?;
    let command = format!("ALTER SYSTEM SET archive_command = '{} wal push %p'", archiving.drctl.display());
    other.execute("postgres", &[&command, "SELECT pg_reload_conf()"]).await?;
    archiving.backup(1, &[]).await?.says("--accept-new-cluster")?;
    archiving.cluster = other;
    archiving.backup(0, &["--accept-new-cluster"]).await?;
    archiving.cluster.execute("postgres", &["CREATE TABLE t AS SELECT 1", "SELECT pg_switch_wal()"]).await?;
    archiving.settle().await?;
    archiving.backup(0, &[]).await?;
    let restored = archiving.recovered("new", &["--latest"]).await?;
    assert_eq!(restored.text("SELECT count(*) FROM t").await?, "1");
    Ok(())
}
