//! A plan of AWS Backup protects the bucket already: what it has made counts, and stays as it is.

use chrono::TimeDelta;

use super::recovery_point::{BUCKET, EAST, Stage, WEST, files};
use super::support::Outcome;
use super::support::backup_vaults::plans::Plan;

const PLAN: &str = "1a2b3c4d-0000-4000-8000-000000000001";

async fn planned() -> Outcome<Stage> {
    planned_of(BUCKET).await
}

async fn planned_of(resource: &str) -> Outcome<Stage> {
    let stage = Stage::of(resource).await?;
    stage.system.rewrite("vault = \"daily\"", "vault = \"daily\"\nplan = \"nightly\"")?;
    stage.aws.world().add_vault(EAST, "planned");
    stage.aws.world().add_plan(
        EAST,
        Plan {
            id: PLAN.to_owned(),
            name: "nightly".to_owned(),
            vault: "planned".to_owned(),
            selected: vec!["arn:aws:s3:::shop-*".to_owned()],
            excepted: vec![],
            tags: vec![],
        },
    );
    Ok(stage)
}

#[tokio::test]
async fn a_plans_recovery_point_is_adopted_once_and_not_changed() -> Outcome<()> {
    let stage = planned().await?;
    let add = |age| stage.aws.world().add_point(EAST, "planned", BUCKET, age, Some(PLAN));
    add(TimeDelta::hours(25));
    let newest = add(TimeDelta::minutes(10));
    stage.aws.world().add_copy((EAST, "planned"), &newest, (WEST, "away"));
    stage
        .aws
        .until("the plan's copy", |world| (!world.points(WEST, "away").is_empty()).then_some(()))
        .await?;
    let run = stage.system.expect(0, &["backup"]).await?;
    run.says("adopting recovery point")?;
    let manifest = stage.manifest()?;
    assert_eq!(manifest["managed"]["plan"], PLAN);
    assert_eq!(manifest["managed"]["held"][0]["arn"], newest.as_str());
    assert_eq!(manifest["managed"]["held"][1]["region"], WEST);
    // Young enough for the objective, so that no other is made; and nothing of the plan's is changed.
    let changes: Vec<_> = stage.aws.world().changes().into_iter().cloned().collect();
    assert!(changes.is_empty(), "{changes:#?}");

    stage.system.expect(0, &["status"]).await?;
    let id = manifest["id"].as_str().unwrap_or_default();
    stage.system.expect(0, &["list"]).await?.says(id)?;
    let to = ["--from", WEST, "--to-resource", "DestinationBucketName=b", "--to-resource", "NewBucket=true"];
    stage.system.expect(0, &[&["restore", "database"], &to[..]].concat()).await?;
    let restored = stage.aws.world().resources.get("arn:aws:s3:::b").cloned().ok_or("no bucket")?;
    assert_eq!(files(&restored)?, files(&stage.bucket)?);

    // It is not adopted again: the next run makes one of its own.
    stage.system.expect(0, &["backup"]).await?;
    assert_eq!(stage.system.backups_in("primary").len(), 2);
    assert_eq!(stage.aws.world().count("StartBackupJob"), 1);
    Ok(())
}

#[tokio::test]
async fn a_copy_that_the_plan_does_not_make_is_made_by_drctl() -> Outcome<()> {
    let stage = planned().await?;
    let newest = stage.aws.world().add_point(EAST, "planned", BUCKET, TimeDelta::minutes(10), Some(PLAN));
    stage.system.expect(0, &["backup"]).await?;
    let world = stage.aws.world();
    let points = world.points(WEST, "away");
    let [copy] = points.as_slice() else { return Err(format!("{points:#?}").into()) };
    assert_eq!(copy.tags.get("drctl:managed").map(String::as_str), Some("true"));
    let original = world.points(EAST, "planned");
    assert!(original.iter().all(|point| point.arn == newest && point.tags.is_empty()), "{original:#?}");
    assert_eq!(world.count("StartBackupJob"), 0);
    Ok(())
}

#[tokio::test]
async fn a_vault_of_the_plan_that_may_not_be_listed_costs_what_is_in_it() -> Outcome<()> {
    let stage = planned().await?;
    stage.aws.world().add_point(EAST, "planned", BUCKET, TimeDelta::minutes(10), Some(PLAN));
    if let Some(vault) = stage.aws.world().vault(EAST, "planned") {
        vault.is_closed = true;
    }
    let words = "what plan `nightly` put into vault `planned` in us-east-1 does not count";
    stage.system.expect(0, &["backup"]).await?.says(words)?;
    assert_eq!(stage.aws.world().count("StartBackupJob"), 1);
    stage.system.expect(0, &["status"]).await?.says(words)?;
    stage.system.expect(3, &["doctor"]).await?.says(words)?;
    Ok(())
}

#[tokio::test]
async fn a_continuous_recovery_point_is_adopted_and_restored_to_a_time() -> Outcome<()> {
    const TIME: &str = "2026-11-20T14:05:00Z";
    let resource = format!("arn:aws:rds:{EAST}:123456789012:db:shop");
    let stage = planned_of(&resource).await?;
    stage.system.expect(0, &["backup"]).await?;
    let own = stage.manifest()?["id"].as_str().unwrap_or_default().to_owned();
    let to = ["restore", "database", "--to-resource", "DBInstanceIdentifier=shop-2", "--point-in-time", TIME];
    stage.system.expect(10, &to).await?.says("no continuous recovery point of `database` is known")?;
    let refused = stage.system.expect(2, &[&to[..], &["--backup", &own]].concat()).await?;
    refused.says("it is a recovery point of one moment")?;

    let age = TimeDelta::days(2);
    let continuous = stage.aws.world().add_continuous((EAST, "planned"), &resource, age, PLAN);
    stage.system.expect(3, &["backup"]).await?.says("AWS Backup copies no continuous recovery point")?;
    stage.system.expect(0, &["backup"]).await?;
    stage.system.expect(0, &["status"]).await?.says("backs database up continuously in us-east-1")?;
    stage.system.expect(0, &to).await?;
    let world = stage.aws.world();
    let job = world.regions.get(EAST).and_then(|region| region.restore_jobs.first()).ok_or("no job")?;
    assert_eq!(job.point.arn, continuous);
    assert_eq!(job.metadata.get("RestoreTime").map(String::as_str), Some(TIME), "{:?}", job.metadata);
    Ok(())
}

#[tokio::test]
async fn a_plan_that_is_not_there_is_said() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.system.rewrite("vault = \"daily\"", "vault = \"daily\"\nplan = \"nightly\"")?;
    stage.system.expect(1, &["backup"]).await?.says("there is no plan `nightly` in us-east-1")?;
    Ok(())
}
