//! What `doctor`, `status` and `verify` say of a resource that AWS Backup keeps.

use chrono::TimeDelta;
use drctl::platform::{Clock as _, SystemClock};

use super::recovery_point::{BUCKET, EAST, Stage, WEST};
use super::support::Outcome;
use super::support::backup_vaults::fault::{Fault, Trouble};
use super::support::backup_vaults::plans::Plan;
use super::support::backup_vaults::world::Lock;

/// With what is good too. Warnings are partly done.
const DOCTOR: [&str; 3] = ["doctor", "--output", "json"];

fn lock(stage: &Stage, region: &str, vault: &str, lock: Lock) {
    if let Some(vault) = stage.aws.world().vault(region, vault) {
        vault.lock = Some(lock);
    }
}

fn plan(id: &str, name: &str, selected: &[&str]) -> Plan {
    let selected = selected.iter().map(|text| (*text).to_owned()).collect();
    let (id, name, vault) = (id.to_owned(), name.to_owned(), "daily".to_owned());
    Plan { id, name, vault, selected, excepted: vec![], tags: vec![] }
}

#[tokio::test]
async fn doctor_tells_of_vaults_and_their_locks() -> Outcome<()> {
    let stage = Stage::new().await?;
    let run = stage.system.expect(3, &DOCTOR).await?;
    run.says("vault `daily` in us-east-1 exists, not locked")?;
    run.says("none of its vaults is locked")?.says("us-west-2 has no recovery point of it yet")?;

    stage.system.expect(0, &["backup"]).await?;
    stage.system.append("[retention]\nkeep_last = 3\ndaily = 30")?;
    let lock_of = |most, fixed_from| Lock { least_days: Some(7), most_days: Some(most), fixed_from };
    lock(&stage, WEST, "away", lock_of(14, Some(SystemClock.now() - TimeDelta::days(1))));
    lock(&stage, EAST, "daily", lock_of(60, None));
    let run = stage.system.expect(3, &DOCTOR).await?;
    run.says("vault `away` in us-west-2 exists, locked (compliance, 7 to 14 days)")?;
    run.says("locked (governance, 7 to 60 days)")?;
    run.says("retains nothing for longer than 14 days, and `retention` requires 30")?;
    run.says("the newest recovery point in us-west-2 is")?;
    assert!(!run.stdout.contains("none of its vaults is locked"), "{run:#?}");
    Ok(())
}

#[tokio::test]
async fn a_vault_that_keeps_nothing_for_ever_is_told_how_long_to_keep_it() -> Outcome<()> {
    let stage = Stage::new().await?;
    lock(&stage, EAST, "daily", Lock { least_days: None, most_days: Some(35), fixed_from: None });
    let run = stage.system.expect(0, &["backup"]).await?;
    run.says("keeps nothing for longer than 35 days, so AWS deletes this recovery point then")?;
    let world = stage.aws.world();
    let point = world.points(EAST, "daily").into_iter().next().ok_or("nothing was made")?;
    assert_eq!(point.lifecycle["DeleteAfterDays"], 35);
    Ok(())
}

#[tokio::test]
async fn doctor_finds_what_a_plan_does_not_cover() -> Outcome<()> {
    for (selected, words) in [
        (&["arn:aws:s3:::shop-*"][..], "plan `nightly` covers arn:aws:s3:::shop-files"),
        (&["arn:aws:rds:*"][..], "plan `nightly` does not cover arn:aws:s3:::shop-files"),
    ] {
        let stage = Stage::new().await?;
        stage.system.rewrite("vault = \"daily\"", "vault = \"daily\"\nplan = \"nightly\"")?;
        stage.aws.world().add_plan(EAST, plan("p1", "nightly", selected));
        stage.system.expect(3, &DOCTOR).await?.says(words)?;
    }
    let stage = Stage::new().await?;
    stage.system.rewrite("vault = \"daily\"", "vault = \"dayly\"")?;
    stage.system.expect(1, &DOCTOR).await?.says("there is no vault `dayly` in us-east-1")?;
    Ok(())
}

#[tokio::test]
async fn status_counts_the_newest_of_each_region() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.system.expect(10, &["status"]).await?;
    stage.system.expect(0, &["backup"]).await?;
    // Somebody else's are not counted, however new.
    stage.aws.world().add_point(WEST, "away", BUCKET, TimeDelta::zero(), None);
    let run = stage.system.expect(0, &["status", "--output", "json"]).await?;
    let regions = &run.document()?["sources"][0]["places"];
    let own = stage.manifest()?["managed"]["held"][1]["arn"].clone();
    assert_eq!((&regions[1]["region"], &regions[1]["point"]["arn"]), (&WEST.into(), &own), "{run:#?}");
    assert_eq!(regions[1]["newest"]["backup"], stage.manifest()?["id"], "{run:#?}");
    assert_eq!(regions[0]["verdict"], "ok", "{regions}");

    // However many, nor those of a plan that the policy does not name.
    for _ in 0..12 {
        let mut world = stage.aws.world();
        world.add_point(EAST, "daily", BUCKET, TimeDelta::zero(), Some("hourly"));
        world.add_point(WEST, "away", BUCKET, TimeDelta::zero(), Some("hourly"));
        world.add_point(EAST, "daily", BUCKET, TimeDelta::zero(), None);
    }
    stage.system.expect(0, &["status"]).await?;

    // A region that has lost its recovery points misses the objective, though every manifest stands.
    if let Some(vault) = stage.aws.world().vault(WEST, "away") {
        vault.points.clear();
    }
    let run = stage.system.expect(21, &["status"]).await?;
    run.says("region us-west-2")?.says("nothing to restore")?;
    run.says("if us-west-2 burned now with database, you would lose")?.says("(restored from us-east-1)")?;
    // The repositories hold only what a restore needs to know, so they are no rows.
    assert!(!run.stdout.contains("primary"), "{run:#?}");
    stage.aws.world().fail(Fault::of("ListRecoveryPointsByBackupVault", usize::MAX, Trouble::AccessDenied));
    let run = stage.system.expect(3, &["status"]).await?;
    run.says("failed to query AWS Backup in us-west-2 about database")?;
    Ok(())
}

#[tokio::test]
async fn verify_asks_whether_aws_still_has_it() -> Outcome<()> {
    let stage = Stage::new().await?;
    stage.system.expect(0, &["backup"]).await?;
    let whole = stage.system.expect(0, &["verify", "--output", "json"]).await?.document()?;
    let verdicts: Vec<_> = (0..2).map(|n| whole["kept"][n]["verdict"].clone()).collect();
    assert_eq!(verdicts, ["there", "there"], "{whole}");

    if let Some(vault) = stage.aws.world().vault(EAST, "daily") {
        vault.points.values_mut().for_each(|point| point.status = "EXPIRED");
    }
    stage.system.expect(1, &["verify"]).await?.says("it is `EXPIRED`")?;
    if let Some(vault) = stage.aws.world().vault(EAST, "daily") {
        vault.points.clear();
    }
    stage.system.expect(1, &["verify"]).await?.says("AWS does not have it any more")?;
    stage.aws.world().fail(Fault::of("ListRecoveryPointsByBackupVault", usize::MAX, Trouble::AccessDenied));
    let unknown = stage.system.expect(3, &["verify"]).await?;
    unknown.says("unknown")?.says("AccessDeniedException")?;
    Ok(())
}
