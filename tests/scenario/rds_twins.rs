//! Databases that share a name: one after the other, or in two regions.

use std::time::Duration;

use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard, HOME};
use super::support::rds::{Call, Gone, Settings, Timing};
use super::support::system::until;
use drctl::platform::{Clock as _, SystemClock};

async fn back_up(board: &Classboard) -> Outcome<(String, String)> {
    board.system.expect(0, &["backup", "instance"]).await?;
    let key = board.system.operational.display().to_string();
    Ok((board.backups().pop().ok_or("no backup")?, key))
}

fn is_change(call: &Call) -> bool {
    call.action.starts_with("Modify")
        || call.action.starts_with("Delete")
        || call.action.starts_with("Reboot")
}

#[tokio::test]
async fn a_restore_of_the_latest_is_over_when_it_is_over() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let (_, key) = back_up(&board).await?;
    let latest = ["restore", "instance", "--latest", "--to-instance", "fresh", "-i", &key];
    board.system.expect(0, &latest).await?;
    board.admit("late").await?;
    let again = board.system.expect(1, &latest).await?;
    again.says("`fresh` in us-east-1 was restored already, with the data until")?;
    Ok(())
}

#[tokio::test]
async fn what_has_the_name_in_another_region_is_not_the_database() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let (_, key) = back_up(&board).await?;
    let foreign = board.server.instance(AWAY, "classboard", Settings::production(AWAY)).await?;
    board.server.lose_region(HOME, Gone::Unavailable);
    let latest = ["restore", "instance", "--latest", "--to-instance", "fresh", "-i", &key];
    let run = board.system.expect(0, &latest).await?;
    run.says("snapshot of")?;
    assert_eq!(board.pupils(AWAY, "fresh").await?, "ada");
    let promote = ["rds", "promote", "instance", "fresh", "--region", AWAY, "--writers-stopped", "--apply"];
    let refused = board.system.expect(1, &promote).await?;
    refused.says("`classboard` in us-west-2 is neither what this policy backs up")?;
    assert_eq!(board.server.look_up(AWAY, "classboard")?.resource_id, foreign.resource_id);
    Ok(())
}

#[tokio::test]
async fn production_is_never_taken_for_a_restore_that_goes_on() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let (backup, key) = back_up(&board).await?;
    let onto = |to: &'static str| {
        ["restore", "instance", "--backup", &backup, "--to-instance", to, "-i", &key].map(str::to_owned)
    };
    let run = async |code: i32, to: &'static str| {
        let arguments = onto(to);
        board.system.expect(code, &arguments.each_ref().map(String::as_str)).await
    };
    run(0, "fresh").await?;
    let promote = ["rds", "promote", "instance", "fresh", "--writers-stopped", "--apply"];
    board.system.expect(0, &promote).await?;
    let before = board.server.calls().into_iter().filter(is_change).count();
    run(1, "classboard").await?.says("there is an instance `classboard` in us-east-1 already")?;
    // What was promoted once says nothing of the next time.
    board.system.expect(1, &promote).await?.says("there is no instance `fresh` in us-east-1")?;
    assert_eq!(board.server.calls().into_iter().filter(is_change).count(), before);
    let tags = board.server.look_up(HOME, "classboard")?.settings.tags;
    assert!(!tags.contains_key("drctl:promoted-from"), "{tags:?}");
    // Nobody can say whose latest data is meant until the new one is backed up.
    let latest = ["restore", "instance", "--latest", "--to-instance", "other", "-i", &key];
    board.system.expect(1, &latest).await?.says("is another than the one that was backed up")?;
    board.admit("new-work").await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    board.system.expect(0, &latest).await?;
    assert_eq!(board.pupils(HOME, "other").await?, "ada new-work");

    // The one that was put aside goes on, and what RDS has of it ends later.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let then = SystemClock.now();
    let client = board.server.client(HOME);
    let restorable = async |name: &str| -> Outcome<i64> {
        let all = client.describe_db_instances().db_instance_identifier(name).send().await?;
        Ok(all
            .db_instances()
            .first()
            .and_then(|one| one.latest_restorable_time())
            .map_or(0, |time| time.secs()))
    };
    let reached = async |name: &str, moment: i64| -> Outcome<()> {
        let begun = std::time::Instant::now();
        while restorable(name).await? <= moment {
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} does not reach it");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    reached("classboard", then.timestamp() + 1).await?;
    board.server.stall_archive(HOME, "classboard", true)?;
    reached("classboard-old", restorable("classboard").await? + 1).await?;
    let time = then.format("%FT%TZ").to_string();
    let restore = ["restore", "instance", "--point-in-time", &time, "--to-instance", "then", "-i", &key];
    let run = board.system.expect(0, &restore).await?;
    let [new, old] =
        [board.server.look_up(HOME, "classboard")?, board.server.look_up(HOME, "classboard-old")?];
    run.says(&format!("RDS's automated backups of `classboard` ({})", new.resource_id))?;
    run.says(&format!("`classboard-old` ({}) has a state of this moment, too", old.resource_id))?;
    assert_eq!(board.pupils(HOME, "then").await?, "ada new-work");
    Ok(())
}

/// RDS gives what is restored from a snapshot its tags, and an instance may give them to its own snapshots.
#[tokio::test]
async fn a_snapshot_of_what_was_restored_by_hand_is_not_the_backup() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let (backup, key) = back_up(&board).await?;
    let own = board.snapshots(HOME).pop().ok_or("no snapshot")?;
    let shown = board.system.expect(0, &["show", &backup]).await?;
    shown.says(&format!("--tags Key=restored-by-hand-from,Value={own}"))?;
    let client = board.server.client(HOME);
    let call = client.restore_db_instance_from_db_snapshot().db_snapshot_identifier(&own);
    let call = call.db_instance_identifier("byhand").db_subnet_group_name("private");
    call.copy_tags_to_snapshot(true).vpc_security_group_ids("sg-0app").send().await?;
    let is_done =
        || board.server.look_up(HOME, "byhand").is_ok_and(|one| one.status == "available" && !one.is_busy);
    until("it is there", is_done).await?;
    let mut connection = board.enter(HOME, "byhand").await?;
    sqlx::raw_sql("INSERT INTO pupils (name) VALUES ('altered')").execute(&mut connection).await?;
    drop(connection);
    let call = client.create_db_snapshot().db_instance_identifier("byhand");
    call.db_snapshot_identifier("before-the-experiment").send().await?;
    let is_taken = || {
        let snapshots = board.server.snapshots(HOME).into_iter();
        let mut theirs = snapshots.filter(|one| one.id == "before-the-experiment");
        theirs.any(|one| one.status == "available" && one.tags.get("drctl:backup") == Some(&backup))
    };
    until("somebody's snapshot with drctl's tags", is_taken).await?;

    let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "new", "-i", &key];
    board.system.expect(0, &restore).await?;
    assert_eq!(board.pupils(HOME, "new").await?, "ada");
    board.server.take_snapshot_away(HOME, &own)?;
    let status = board.system.drctl(&["status", "--output", "json"]).await?;
    let places = status.document()?["sources"][0]["places"].clone();
    assert_eq!(places[0]["newest"], serde_json::Value::Null, "{places:#}");
    assert_eq!(places[1]["newest"]["backup"], backup.as_str(), "{places:#}");
    Ok(())
}

#[tokio::test]
async fn a_database_that_was_replaced_is_not_protected_by_what_is_of_the_old_one() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    back_up(&board).await?;
    board.system.expect(0, &["status"]).await?;
    let old = board.server.look_up(HOME, "classboard")?.resource_id;
    let client = board.server.client(HOME);
    let call = client.modify_db_instance().db_instance_identifier("classboard");
    call.deletion_protection(false).apply_immediately(true).send().await?;
    let call = client.delete_db_instance().db_instance_identifier("classboard");
    call.skip_final_snapshot(true).delete_automated_backups(false).send().await?;
    until("it is gone", || board.server.look_up(HOME, "classboard").is_err()).await?;
    // While nothing has the name, what is kept is what brings it back.
    board.system.expect(0, &["status"]).await?;
    let settings = Settings { backup_retention: 0, ..Settings::production(HOME) };
    let new = board.server.instance(HOME, "classboard", settings).await?.resource_id;
    let status = board.system.expect(21, &["status"]).await?;
    status.says("is of another database than the one that has the name now")?;
    status.says(&format!("is of {old}, which had the name before, and brings nothing back of {new}"))?;
    status.says("only a new backup protects the database that has the name now")?;
    // Where it cannot be asked which one has the name, nothing is said against what there is.
    board.server.lose_region(HOME, Gone::Unavailable);
    let run = board.system.expect(3, &["status", "--output", "json"]).await?;
    assert_eq!(run.document()?["sources"][0]["places"][1]["verdict"], "ok", "{run:#?}");
    board.server.find_region_again(HOME);
    board.system.expect(0, &["backup", "instance"]).await?;
    board.system.expect(0, &["status"]).await?;
    Ok(())
}

#[tokio::test]
async fn only_a_restore_that_came_to_its_end_is_promoted() -> Outcome<()> {
    let slow = Timing { initializing: Duration::from_secs(30), ..Timing::default() };
    let board = Classboard::start(slow).await?;
    let (backup, key) = back_up(&board).await?;
    let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "fresh", "-i", &key];
    let mut run = board.system.start(&restore)?;
    board.server.reached(HOME, "fresh", "available").await?;
    run.kill()?;
    let promote = ["rds", "promote", "instance", "fresh", "--writers-stopped", "--apply"];
    board.system.expect(1, &promote).await?.says("the restore of `fresh` did not finish")?;
    let refused = [&promote[..5], &["--put-aside-as", "bad_name", "--apply"]].concat();
    board.system.expect(1, &refused).await?.says("`bad_name` is not an identifier")?;
    assert_eq!(board.pupils(HOME, "classboard").await?, "ada");
    Ok(())
}

/// Two sources of one instance, as for schedules or regions of their own.
#[tokio::test]
async fn two_sources_of_one_instance_do_not_take_it_for_another_s() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let policy = std::fs::read_to_string(board.system.policy())?;
    let (_, source) = policy.split_once("[sources.instance]").ok_or("no source")?;
    let other = format!("[sources.nightly]{}", source.replace("[sources.instance.", "[sources.nightly."));
    board.system.append(&other)?;
    // Both at once: RDS takes one snapshot at a time.
    let both = [board.system.start(&["backup", "instance"])?, board.system.start(&["backup", "nightly"])?];
    for run in both {
        let run = run.end().await?;
        assert_eq!(run.code, Some(0), "{run:#?}");
    }
    let key = board.system.operational.display().to_string();
    let restore = ["restore", "instance", "--backup", "latest", "--to-instance", "fresh", "-i", &key];
    board.system.expect(0, &restore).await?;
    let promote = ["rds", "promote", "instance", "fresh", "--writers-stopped", "--apply"];
    board.system.expect(0, &promote).await?;
    let status = board.system.drctl(&["status", "--output", "json"]).await?;
    for source in status.document()?["sources"].as_array().ok_or("no sources")? {
        for place in source["places"].as_array().ok_or("no places")? {
            assert_eq!(place["verdict"], "ok", "{source:#}");
        }
    }
    board.system.expect(0, &["backup"]).await?;
    assert_eq!(board.server.failures(), Vec::<String>::new());
    Ok(())
}

/// To RDS what has the name then is another instance; its data is that of the one before.
#[tokio::test]
async fn after_a_blue_green_switchover_it_is_the_same_database() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let (_, key) = back_up(&board).await?;
    let settings = Settings { backup_retention: 0, ..Settings::production(HOME) };
    board.server.instance(HOME, "classboard-green-1a2b3c", settings).await?;
    let client = board.server.client(HOME);
    for (from, to) in [("classboard", "classboard-old1"), ("classboard-green-1a2b3c", "classboard")] {
        let call = client.modify_db_instance().db_instance_identifier(from);
        call.new_db_instance_identifier(to).apply_immediately(true).send().await?;
        let is_there =
            || board.server.look_up(HOME, to).is_ok_and(|one| one.status == "available" && !one.is_busy);
        until("it is renamed", is_there).await?;
    }
    let old = board.server.look_up(HOME, "classboard-old1")?.resource_id;
    let run = board.system.drctl(&["status"]).await?;
    run.says("was switched over (blue/green)")?.says(&format!("`classboard-old1` ({old})"))?;
    assert!(!format!("{run:?}").contains("another cluster"), "{run:#?}");
    let status = board.system.drctl(&["status", "--output", "json"]).await?;
    let places = status.document()?["sources"][0]["places"].clone();
    assert_eq!((&places[0]["verdict"], &places[1]["verdict"]), (&"ok".into(), &"ok".into()), "{places:#}");
    // There is nothing of the new one yet, and nobody need say whose latest is meant.
    let latest = ["restore", "instance", "--latest", "--to-instance", "fresh", "-i", &key, "--plan"];
    let plan = board.system.expect(0, &latest).await?;
    plan.says("snapshot of")?.says("which had the name until a blue/green switchover")?;
    Ok(())
}
