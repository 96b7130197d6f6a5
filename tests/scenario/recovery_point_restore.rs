//! Recovery points of AWS Backup are restored: in the other region, when the first is gone.

use super::recovery_point::{EAST, Stage, WEST, files, states};
use super::support::Outcome;
use super::support::backup_vaults::course::{Ending, JobKind};
use super::support::backup_vaults::fault::{Fault, Trouble};
use super::support::system::Run;

const ACCOUNT: &str = "123456789012";

impl Stage {
    fn restore<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        ["restore", "database"].into_iter().chain(more.iter().copied()).collect()
    }

    async fn expect(&self, code: i32, more: &[&str]) -> Outcome<Run> {
        self.system.expect(code, &self.restore(more)).await
    }
}

#[tokio::test]
async fn a_bucket_comes_back_in_the_other_region_when_its_own_is_gone() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.system.expect(0, &["backup"]).await?;
    stage.aws.world().fail(Fault::region_gone(EAST));
    let asked = stage.aws.world().calls.iter().filter(|call| call.region == EAST).count();
    let identity = stage.system.operational.display().to_string();
    let to = "destinationbucketname=shop-restored";
    let more =
        ["--from", WEST, "--identity", &identity, "--to-resource", to, "--to-resource", "NewBucket=true"];
    let run = stage.expect(0, &more).await?;
    run.says("arn:aws:s3:::shop-restored")?.says("aws:backup:request-id = 9f1c: AWS only informs of it")?;
    let restored = stage.aws.world().resources.get("arn:aws:s3:::shop-restored").cloned();
    assert_eq!(files(&restored.ok_or("nothing was restored")?)?, files(&stage.bucket)?);
    // The region that is gone was not even asked.
    let world = stage.aws.world();
    assert_eq!(world.calls.iter().filter(|call| call.region == EAST).count(), asked);
    Ok(())
}

#[tokio::test]
async fn a_restore_killed_at_any_state_is_gone_on_with_and_made_once() -> Outcome<()> {
    let resource = format!("arn:aws:elasticfilesystem:{EAST}:{ACCOUNT}:file-system/fs-shop");
    for state in ["PENDING", "RUNNING"] {
        let stage = Stage::of(&resource).await?;
        stage.system.expect(0, &["backup"]).await?;
        stage.aws.world().hold(JobKind::Restore, state);
        let more = ["--from", WEST, "--to-resource", "newFileSystem=true"];
        let mut killed = stage.system.start(&stage.restore(&more))?;
        let at = |world: &_| states(world, JobKind::Restore).contains(&state).then_some(());
        stage.aws.until("a restore under way", at).await?;
        killed.kill()?;
        let again = stage.system.start(&stage.restore(&more))?;
        let asked = stage.aws.world().count("DescribeRestoreJob");
        // Once for the plan and once to wait for it: both saw it in this state.
        let seen = |world: &super::support::backup_vaults::world::World| {
            (world.count("DescribeRestoreJob") > asked + 1).then_some(())
        };
        stage.aws.until("the job asked for again", seen).await?;
        stage.aws.world().release();
        let again = again.end().await?;
        assert_eq!(again.code, Some(0), "{state}: {again:#?}");
        // Nor does a third one make another, unless it is asked to.
        let before = stage.expect(3, &more).await?;
        before.says("was restored before")?.says("whether what it made is still there is not known")?;
        assert_eq!(stage.aws.world().count("StartRestoreJob"), 1, "{state}");
        stage.expect(0, &[&more[..], &["--again"]].concat()).await?;
        assert_eq!(stage.aws.world().count("StartRestoreJob"), 2, "{state}");
    }
    Ok(())
}

#[tokio::test]
async fn objects_that_could_not_be_restored_are_told_of_though_the_job_completed() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.system.expect(0, &["backup"]).await?;
    stage.aws.resource(EAST, "arn:aws:s3:::shop-restored");
    stage.aws.world().next(JobKind::Restore, Ending::WithoutKeys(vec!["cat.jpg".to_owned()]));
    let run = stage.expect(3, &["--to-resource", "DestinationBucketName=shop-restored"]).await?;
    run.says("completed with issues")?.says("1 objects could not be restored")?;
    Ok(())
}

#[tokio::test]
async fn objects_that_a_bucket_has_are_not_overwritten() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.system.expect(0, &["backup"]).await?;
    let bucket = stage.aws.resource(EAST, "arn:aws:s3:::shop-restored");
    std::fs::write(bucket.join("invoice.pdf"), "newer")?;
    stage.expect(0, &["--to-resource", "DestinationBucketName=shop-restored"]).await?.says("are skipped")?;
    assert_eq!(std::fs::read_to_string(bucket.join("invoice.pdf"))?, "newer");
    assert_eq!(std::fs::read_to_string(bucket.join("photos/cat.jpg"))?, "two");
    Ok(())
}

#[tokio::test]
async fn an_instance_is_restored_under_a_name_of_its_own() -> Outcome<()> {
    let resource = format!("arn:aws:rds:{EAST}:{ACCOUNT}:db:shop");
    let stage = Stage::of(&resource).await?;
    stage.system.expect(0, &["backup"]).await?;
    let identity = stage.system.operational.display().to_string();
    let taken =
        stage.expect(1, &["--identity", &identity, "--to-resource", "DBInstanceIdentifier=shop"]).await?;
    taken.says("already exists")?.says("Name another")?;
    let to = "DBInstanceIdentifier=shop";
    let groups = "VpcSecurityGroupIds=sg-west";
    let more = ["--from", WEST, "--identity", &identity, "--to-resource", to, "--to-resource", groups];
    let run = stage.expect(0, &more).await?;
    run.says("DBSubnetGroupName = default: it means nothing in this region")?;
    let world = stage.aws.world();
    let job = world.regions.get(WEST).and_then(|region| region.restore_jobs.first());
    let told = job.map(|job| job.metadata.clone()).unwrap_or_default();
    assert_eq!(told.get("VpcSecurityGroupIds").map(String::as_str), Some("[\"sg-west\"]"), "{told:?}");
    assert!(!told.contains_key("Port") && !told.contains_key("DBSnapshotIdentifier"), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn what_was_restored_before_is_looked_for_and_made_anew_where_it_is_gone() -> Outcome<()> {
    for (kind, key) in [("db", "DBInstanceIdentifier"), ("cluster", "DBClusterIdentifier")] {
        let stage = Stage::of(&format!("arn:aws:rds:{EAST}:{ACCOUNT}:{kind}:shop")).await?;
        stage.system.expect(0, &["backup"]).await?;
        let to = format!("{key}=shop-2");
        stage.expect(0, &["--to-resource", &to]).await?;
        stage.expect(0, &["--to-resource", &to]).await?.says("was restored before, and is there")?;
        assert_eq!(stage.aws.world().count("StartRestoreJob"), 1);
        stage.aws.world().resources.remove(&format!("arn:aws:rds:{EAST}:{ACCOUNT}:{kind}:shop-2"));
        let anew = stage.expect(0, &["--to-resource", &to]).await?;
        anew.says("shop-2, which no longer exists: it is recreated")?;
        assert_eq!(stage.aws.world().count("StartRestoreJob"), 2);
        let what = if kind == "db" { "DescribeDBInstances" } else { "DescribeDBClusters" };
        stage.aws.world().fail(Fault::of(what, usize::MAX, Trouble::AccessDenied));
        stage.expect(3, &["--to-resource", &to]).await?.says("run this again with `--again`")?;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_restored_is_refused_before_a_job_is_begun() -> Outcome<()> {
    let stage = Stage::new().await?;
    let to = ["--to-resource", "DestinationBucketName=shop-restored"];
    stage.expect(10, &to).await?.says("no recovery point of `database` is known")?;
    stage.system.expect(0, &["backup"]).await?;
    stage
        .expect(2, &["--to-resource", "Bucket=x"])
        .await?
        .says("takes no `Bucket`")?
        .says("DestinationBucketName=…")?;
    stage.expect(2, &["--to", "shop"]).await?.says("--to-resource KEY=VALUE")?;
    let elsewhere = [&to[..], &["--from", "eu-west-1"]].concat();
    stage.expect(10, &elsewhere).await?.says("it is in us-east-1 and us-west-2")?;
    if let Some(vault) = stage.aws.world().vault(EAST, "daily") {
        vault.points.values_mut().for_each(|point| point.status = "EXPIRED");
    }
    stage.expect(10, &to).await?.says("is `EXPIRED`")?;
    if let Some(vault) = stage.aws.world().vault(EAST, "daily") {
        vault.points.clear();
    }
    let identity = stage.system.operational.display().to_string();
    let with_key = [&to[..], &["--identity", &identity]].concat();
    stage.expect(10, &with_key).await?.says("AWS Backup no longer has")?.says("--from")?;
    assert_eq!(stage.aws.world().count("StartRestoreJob"), 0);
    Ok(())
}

#[tokio::test]
async fn a_region_that_cannot_be_asked_names_the_other() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.system.expect(0, &["backup"]).await?;
    stage.aws.world().fail(Fault::of("DescribeRecoveryPoint", usize::MAX, Trouble::AccessDenied));
    let run = stage.expect(1, &["--to-resource", "DestinationBucketName=shop-restored"]).await?;
    run.says("failed to query us-east-1 for the recovery point (it is in us-west-2 too)")?
        .says("--from us-west-2")?;
    Ok(())
}
