//! RDS takes a full backup at once of what it restores where it is to keep any: for hours the instance is
//! `backing-up`. It takes logins meanwhile, and no changes.

use std::time::Duration;

use super::support::Outcome;
use super::support::classboard::{Classboard, HOME};
use super::support::rds::{Call, Fault, Timing, When};
use super::support::system::{Run, until};

async fn back_up(board: &Classboard) -> Outcome<(String, String)> {
    board.system.expect(0, &["backup", "instance"]).await?;
    let key = board.system.operational.display().to_string();
    Ok((board.backups().pop().ok_or("no backup")?, key))
}

fn mark(run: &Run, name: &str) -> Outcome<f64> {
    let marks = run.document()?["details"]["marks"].clone();
    marks[name].as_f64().ok_or_else(|| format!("no mark `{name}` in {marks}").into())
}

/// What RDS was told when it was to restore it.
fn restored(board: &Classboard, name: &str) -> Outcome<Call> {
    let is_it = |call: &Call| {
        call.action.starts_with("RestoreDBInstance") && call.parameters.values().any(|value| value == name)
    };
    board.server.calls().into_iter().find(is_it).ok_or_else(|| "nothing was restored".into())
}

#[tokio::test]
async fn an_instance_can_be_used_while_rds_takes_its_first_backup() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let (backup, key) = back_up(&board).await?;
    board.server.hold(HOME, "fresh", "backing-up");
    let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "fresh", "-i", &key];
    let run = board.system.start(&[&restore[..], &["--output", "json"]].concat())?;
    board.server.reached(HOME, "fresh", "backing-up").await?;
    until("it is said that it can be used", || run.has_said("`fresh` can be used")).await?;
    assert_eq!(board.pupils(HOME, "fresh").await?, "ada");
    let held = std::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    board.server.let_go(HOME, "fresh", "backing-up");
    let run = run.end().await?;
    assert_eq!(run.code, Some(0), "{run:#?}");
    let waited = held.elapsed().as_secs_f64().min(0.5);
    let (available, usable, whole) =
        (mark(&run, "available")?, mark(&run, "usable")?, mark(&run, "backed_up")?);
    assert!(available <= usable && usable + waited * 0.9 < whole, "{available} {usable} {whole}");
    // Its settings are made first, which RDS would put off until the backup is done.
    let parameters = restored(&board, "fresh")?.parameters;
    assert_eq!(parameters.get("BackupRetentionPeriod").map(String::as_str), Some("0"));
    let is = board.server.look_up(HOME, "fresh")?.settings;
    assert_eq!(is.backup_retention, board.settings.backup_retention);
    assert_eq!(is.monitoring_interval, board.settings.monitoring_interval);
    assert_eq!(board.server.failures(), Vec::<String>::new());
    Ok(())
}

/// As one that an earlier drctl began, or somebody by hand with drctl's tags.
#[tokio::test]
async fn one_that_is_backed_up_before_it_is_set_up_is_used_all_the_same() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let (backup, key) = back_up(&board).await?;
    let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "fresh", "-i", &key];
    let plan = board.system.expect(0, &[&restore[..], &["--plan", "--output", "json"]].concat()).await?;
    let from = plan.document()?["from"].as_str().ok_or("from nothing")?.to_owned();
    board.server.hold(HOME, "fresh", "backing-up");
    let snapshot = board.snapshots(HOME).pop().ok_or("no snapshot")?;
    let call = board.server.client(HOME).restore_db_instance_from_db_snapshot();
    let call =
        call.db_snapshot_identifier(snapshot).db_instance_identifier("fresh").backup_retention_period(7);
    let call = call.db_subnet_group_name("private").vpc_security_group_ids("sg-0app");
    let mut call = call.db_parameter_group_name("school-pg15");
    let tags = [
        ("drctl:managed", "true"),
        ("drctl:system", "shop"),
        ("drctl:source", "instance"),
        ("drctl:name", "fresh"),
        ("drctl:restored-from", from.as_str()),
    ];
    for (name, value) in tags {
        call = call.tags(aws_sdk_rds::types::Tag::builder().key(name).value(value).build());
    }
    call.send().await?;
    board.server.reached(HOME, "fresh", "backing-up").await?;
    let run = board.system.start(&restore)?;
    until("it is said that it can be used", || run.has_said("`fresh` can be used")).await?;
    assert_eq!(board.server.look_up(HOME, "fresh")?.settings.monitoring_interval, 0, "not set up yet");
    board.server.let_go(HOME, "fresh", "backing-up");
    let run = run.end().await?;
    assert_eq!(run.code, Some(0), "{run:#?}");
    run.says("resuming")?.says("backed up: after")?;
    let is = board.server.look_up(HOME, "fresh")?.settings;
    assert_eq!(is.monitoring_interval, board.settings.monitoring_interval);
    Ok(())
}

#[tokio::test]
async fn one_that_is_there_for_a_while_is_neither_backed_up_nor_protected() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let (backup, key) = back_up(&board).await?;
    let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "brief", "-i", &key];
    let run = board.system.expect(0, &[&restore[..], &["--expires", "1h"]].concat()).await?;
    run.says("RDS keeps no automated backups of it")?;
    assert!(!board.server.history(HOME, "brief").iter().any(|status| status == "backing-up"));
    let parameters = restored(&board, "brief")?.parameters;
    let said = |name: &str| parameters.get(name).map(String::as_str);
    assert_eq!((said("BackupRetentionPeriod"), said("DeletionProtection")), (Some("0"), Some("false")));
    // In production's place it is to be backed up as production was.
    let promote = ["rds", "promote", "instance", "brief", "--writers-stopped"];
    board.system.expect(0, &promote).await?.says("turn on its automated backups, kept for 7 days")?;
    board.server.hold(HOME, "classboard", "backing-up");
    let run = board.system.start(&[&promote[..], &["--apply"]].concat())?;
    board.server.reached(HOME, "classboard", "backing-up").await?;
    // Nobody waits for hours for it.
    let run = run.end().await?;
    assert_eq!(run.code, Some(0), "{run:#?}");
    board.server.let_go(HOME, "classboard", "backing-up");
    assert_eq!(board.server.look_up(HOME, "classboard")?.settings.backup_retention, 7);
    assert_eq!(board.pupils(HOME, "classboard").await?, "ada");
    Ok(())
}

#[tokio::test]
async fn backups_that_cannot_be_turned_on_or_are_to_wait_cost_no_restore() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let (backup, key) = back_up(&board).await?;
    let restore = |to: &'static str| {
        ["restore", "instance", "--backup", &backup, "--to-instance", to, "-i", &key].map(str::to_owned)
    };
    let later = restore("later");
    let later: Vec<&str> = later.iter().map(String::as_str).chain(["--backups-later"]).collect();
    let run = board.system.expect(0, &later).await?;
    run.says("`drctl rds promote` turns them on")?.says("--backup-retention-period 7")?;
    assert_eq!(board.server.look_up(HOME, "later")?.settings.backup_retention, 0);

    board.server.fail(
        When::action("ModifyDBInstance").with("7"),
        Fault::Error(400, "InvalidParameterCombination", "Backups are managed by AWS Backup"),
    );
    let run = board.system.expect(0, &restore("refused").each_ref().map(String::as_str)).await?;
    run.says("RDS keeps no automated backups of it: ")?.says("managed by AWS Backup")?;
    run.says("--backup-retention-period 7")?;
    assert_eq!(board.pupils(HOME, "refused").await?, "ada");
    Ok(())
}
