//! Resources that AWS Backup protects and drctl does not restore.

use super::recovery_point::Stage;
use super::support::Outcome;
use super::support::backup_vaults::fault::{Fault, Trouble};

const VOLUME: &str = "arn:aws:ec2:us-east-1:123456789012:volume/vol-1";
const DOCUMENTS: &str = "arn:aws:rds:us-east-1:123456789012:cluster:docs";

fn jobs(stage: &Stage) -> usize {
    stage.aws.world().count("StartBackupJob")
}

#[tokio::test]
async fn what_could_not_be_restored_is_not_backed_up_unless_aws_is_to_restore_it() -> Outcome<()> {
    let stage = Stage::of(VOLUME).await?;
    let check = stage.system.expect(21, &["policy", "check"]).await?;
    check.says("drctl does not restore EBS")?.says("restored_by_aws = true")?;
    let run = stage.system.expect(1, &["backup"]).await?;
    run.says("drctl does not restore EBS")?.says("restored_by_aws = true")?;
    assert_eq!(jobs(&stage), 0);

    stage.system.rewrite("vault = \"daily\"", "vault = \"daily\"\nrestored_by_aws = true")?;
    let check = stage.system.drctl(&["policy", "check"]).await?;
    assert!(!check.stdout.contains("does not restore"), "{check:#?}");
    stage.system.expect(0, &["backup"]).await?;
    assert_eq!(jobs(&stage), 1);
    let key = stage.system.operational.display().to_string();
    let restore = ["restore", "database", "--to-resource", "volumeSize=8", "-i", &key];
    let refused = stage.system.expect(2, &restore).await?;
    refused
        .says("drctl does not restore `EBS`")?
        .says("AWS Backup's console restores it")?
        .says("drctl show")?;
    let id = stage.system.backups_in("primary").pop().ok_or("no backup")?;
    stage.system.expect(0, &["show", &id]).await?.says("aws backup start-restore-job")?;
    Ok(())
}

/// Its ARN is one of RDS.
#[tokio::test]
async fn a_cluster_of_documents_is_told_from_one_of_aurora() -> Outcome<()> {
    let stage = Stage::of(DOCUMENTS).await?;
    stage.system.expect(1, &["backup"]).await?.says("drctl does not restore DocumentDB")?;
    assert_eq!(jobs(&stage), 0);
    // Whoever may not ask RDS learns it of the recovery point, and loses no backup by that.
    stage.aws.world().fail(Fault::of("DescribeDBClusters", usize::MAX, Trouble::AccessDenied));
    let run = stage.system.expect(3, &["backup"]).await?;
    run.says("degraded")?.says("drctl does not restore DocumentDB")?;
    assert_eq!(jobs(&stage), 1);
    Ok(())
}
