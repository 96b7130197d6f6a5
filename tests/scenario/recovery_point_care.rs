//! What AWS Backup is told, and what is removed: both only once, and only of what is drctl's.

use std::time::Duration;

use chrono::TimeDelta;
use drctl::aws::backup::{AwsBackup, Validation};
use drctl::aws::{AwsFailure, AwsTags, Deletion, FailureKind};
use drctl::model::{BackupId, RunId};
use drctl::policy::{AwsLocation, Credentials};

use super::recovery_point::{EAST, Stage};
use super::support::Outcome;
use super::support::backup_vaults::fault::{Fault, Trouble};
use super::support::system::write_private;

async fn client(stage: &Stage) -> Outcome<AwsBackup> {
    let word = |name: &str, text: &str| -> Outcome<_> {
        let path = stage.system.path().join(name);
        write_private(&path, text)?;
        Ok(format!("file:{}", path.display()).parse()?)
    };
    let credentials = Credentials::Keys {
        access_key_id: word("key", "AKIDEXAMPLE")?,
        secret_access_key: word("secret", "secret")?,
        session_token: None,
    };
    let place = AwsLocation {
        region: EAST.to_owned(),
        endpoint: Some(stage.aws.url().parse()?),
        credentials,
        poll: Duration::from_millis(20),
        deadline: Duration::from_secs(60),
        patience: Duration::from_secs(15),
    };
    Ok(AwsBackup::connect(&place).await?)
}

#[tokio::test]
async fn what_a_drill_found_is_told_once_and_stands() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.system.expect(0, &["backup"]).await?;
    let to = ["--to-resource", "DestinationBucketName=drill", "--to-resource", "NewBucket=true"];
    stage.system.expect(0, &[&["restore", "database"], &to[..]].concat()).await?;
    let job = stage.aws.world().regions.get(EAST).and_then(|region| region.restore_jobs.first().cloned());
    let job = job.ok_or("no restore job")?.id;
    let aws = client(&stage).await?;
    aws.put_validation(&job, &Validation::Failed("2 of 3 files differ".to_owned())).await?;
    let again = aws.put_validation(&job, &Validation::Successful).await;
    assert!(matches!(again, Err(AwsFailure { kind: FailureKind::State, .. })), "{again:?}");
    let world = stage.aws.world();
    let job = world.regions.get(EAST).and_then(|region| region.restore_jobs.first());
    let told = job.and_then(|job| job.validation.clone());
    assert_eq!(told, Some(("FAILED".to_owned(), Some("2 of 3 files differ".to_owned()))));
    Ok(())
}

#[tokio::test]
async fn a_removal_that_aws_only_says_it_did_is_found_out_and_foreign_ones_are_left() -> Outcome<()> {
    let stage = Stage::new().await?;
    let resource = "arn:aws:s3:::shop-files";
    let [foreign, own] =
        [(); 2].map(|()| stage.aws.world().add_point(EAST, "daily", resource, TimeDelta::hours(1), None));
    let aws = client(&stage).await?;
    let backup: BackupId = "20261120T220251Z-database-recovery-point-7f3k".parse()?;
    let run: RunId = RunId::new(backup.begun(), 7);
    aws.tag(&own, &AwsTags::of_backup(&"shop".parse()?, &"database".parse()?, &backup, &run)).await?;

    let refused = aws.delete_point("daily", &foreign).await;
    assert!(matches!(refused, Err(AwsFailure { kind: FailureKind::Forbidden, .. })), "{refused:?}");
    // Nor is one whose tags nobody says.
    stage.aws.world().fail(Fault::of("ListTags", 1, Trouble::NotFound));
    let refused = aws.delete_point("daily", &own).await;
    assert!(matches!(refused, Err(AwsFailure { kind: FailureKind::Forbidden, .. })), "{refused:?}");
    assert_eq!(stage.aws.world().count("DeleteRecoveryPoint"), 0);
    stage.aws.world().cannot_delete = true;
    assert_eq!(aws.delete_point("daily", &own).await?, Deletion::Kept);
    assert_eq!(stage.aws.world().points(EAST, "daily").len(), 2);
    stage.aws.world().cannot_delete = false;
    assert_eq!(aws.delete_point("daily", &own).await?, Deletion::Gone);
    assert_eq!(aws.delete_point("daily", &own).await?, Deletion::Gone, "what is gone is gone");
    let left =
        stage.aws.world().points(EAST, "daily").iter().map(|point| point.arn.clone()).collect::<Vec<_>>();
    assert_eq!(left, [foreign]);
    Ok(())
}
