//! Retention of AWS Backup's recovery points: what no rule keeps goes from every vault, once AWS says that it is gone.

use chrono::TimeDelta;
use serde_json::Value;

use super::recovery_point::{BUCKET, EAST, Stage, WEST};
use super::support::Outcome;
use super::support::backup_vaults::world::Lock;
use super::support::system::Run;

async fn staged(backups: usize) -> Outcome<Stage> {
    let stage = Stage::new().await?;
    stage.system.append("[retention]\nkeep_last = 1")?;
    for _ in 0..backups {
        stage.system.expect(0, &["backup"]).await?;
    }
    Ok(stage)
}

async fn plan(stage: &Stage) -> Outcome<Value> {
    stage.system.expect(0, &["retention", "plan", "--output", "json"]).await?.document()
}

async fn apply(stage: &Stage, code: i32) -> Outcome<Run> {
    let document = plan(stage).await?;
    let digest = document["digest"].as_str().ok_or("no digest")?.to_owned();
    stage.system.expect(code, &["retention", "apply", "--confirm", &digest]).await
}

/// Recovery points with drctl's tags in each of the two vaults.
fn points(stage: &Stage) -> [usize; 2] {
    let world = stage.aws.world();
    [(EAST, "daily"), (WEST, "away")].map(|(region, vault)| {
        let points = world.points(region, vault);
        points.iter().filter(|point| point.tags.contains_key("drctl:backup")).count()
    })
}

#[tokio::test]
async fn recovery_points_go_from_every_vault_and_foreign_and_continuous_ones_survive() -> Outcome<()> {
    let stage = staged(3).await?;
    let backups = stage.system.backups_in("primary");
    let foreign = {
        let mut world = stage.aws.world();
        let old = TimeDelta::days(400);
        let by_plan = world.add_point(EAST, "daily", BUCKET, old, Some("plan-1"));
        let continuous = world.add_continuous((EAST, "daily"), BUCKET, old, "plan-1");
        [world.add_point(EAST, "daily", BUCKET, old, None), by_plan, continuous]
    };
    let shown = stage.system.expect(0, &["retention", "plan"]).await?;
    shown.says("database in us-east-1")?.says("database in us-west-2")?;
    let applied = apply(&stage, 0).await?;
    for backup in &backups[..2] {
        applied
            .says(&format!("removed {backup} from {EAST}"))?
            .says(&format!("removed {backup} from {WEST}"))?;
        applied.says(&format!("removed {backup} from primary"))?;
    }
    assert_eq!((points(&stage), stage.system.backups_in("primary")), ([1, 1], backups[2..].to_vec()));
    let left: Vec<String> =
        stage.aws.world().points(EAST, "daily").iter().map(|point| point.arn.clone()).collect();
    assert!(foreign.iter().all(|arn| left.contains(arn)), "{left:?}");
    for again in [&["verify"][..], &["status"], &["retention", "apply"]] {
        stage.system.expect(0, again).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_aws_only_says_it_did_is_found_out_and_keeps_the_manifest() -> Outcome<()> {
    let stage = staged(2).await?;
    stage.aws.world().cannot_delete = true;
    let applied = apply(&stage, 1).await?;
    applied.says("it is still there")?.says("drctl iam show retention")?;
    assert_eq!((points(&stage), stage.system.backups_in("primary").len()), ([2, 2], 2));
    stage.aws.world().cannot_delete = false;
    // What AWS marked as expired meanwhile goes too.
    apply(&stage, 0).await?;
    assert_eq!((points(&stage), stage.system.backups_in("primary").len()), ([1, 1], 1));
    Ok(())
}

#[tokio::test]
async fn a_locked_vault_puts_it_off_and_tags_that_were_taken_away_keep_it() -> Outcome<()> {
    let stage = staged(3).await?;
    let backups = stage.system.backups_in("primary");
    stage.aws.world().vault(WEST, "away").ok_or("no vault")?.lock = Some(Lock::default());
    let tagless = {
        let mut world = stage.aws.world();
        let points = &mut world.vault(EAST, "daily").ok_or("no vault")?.points;
        let mut own = points.values_mut();
        let oldest = own.find(|point| point.tags.get("drctl:backup") == Some(&backups[0]));
        let oldest = oldest.ok_or("it is not there")?;
        oldest.tags.clear();
        oldest.arn.clone()
    };
    let applied = apply(&stage, 0).await?;
    applied.says(&format!("locked {} in {WEST}", backups[1]))?;
    let world = stage.aws.world();
    assert!(world.points(EAST, "daily").iter().any(|point| point.arn == tagless));
    assert_eq!(world.points(EAST, "daily").len(), 2);
    assert_eq!(world.points(WEST, "away").len(), 3);
    drop(world);
    assert_eq!(stage.system.backups_in("primary"), backups);
    Ok(())
}
