//! Snapshots of an RDS instance and their copies in another region.

use std::time::Duration;

use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard, HOME};
use super::support::postgres::Cluster;
use super::support::rds::{Fault, Gone, Timing, When};
use super::support::system::{System, until};

/// Slow enough to be killed in.
fn slow() -> Timing {
    let some = Duration::from_millis(1500);
    Timing { snapshot_creating: some, copy_pending: some, copying: some, ..Timing::default() }
}

#[tokio::test]
async fn a_snapshot_is_taken_copied_and_recorded_with_how_the_instance_is_set_up() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let run = board.system.expect(0, &["backup", "instance", "--output", "json"]).await?;
    let stored = &run.document()?["sources"][0];
    assert_eq!(stored["outcome"], "stored", "{run:#?}");
    for region in [HOME, AWAY] {
        let snapshots = board.server.snapshots(region);
        let own: Vec<_> = snapshots.iter().filter(|one| one.id.starts_with("drctl-shop-")).collect();
        let [snapshot] = own[..] else { return Err(format!("{snapshots:?}").into()) };
        assert_eq!(snapshot.tags.get("drctl:managed").map(String::as_str), Some("true"), "{region}");
        assert_eq!(snapshot.tags.get("drctl:backup").map(String::as_str), stored["backup"].as_str());
    }
    let shown = board.system.expect(0, &["show", stored["backup"].as_str().unwrap_or_default()]).await?;
    shown.says(HOME)?.says(AWAY)?.says("aws rds restore-db-instance-from-db-snapshot")?;
    Ok(())
}

#[tokio::test]
async fn a_run_that_was_killed_is_gone_on_with_by_the_next_and_nothing_is_made_twice() -> Outcome<()> {
    for killed_in in ["creating", "copying", "committing"] {
        let board = Classboard::start(slow()).await?;
        let mut run = board.system.start(&["backup", "instance"])?;
        match killed_in {
            "creating" => until("a snapshot is begun", || !board.snapshots(HOME).is_empty()).await?,
            "copying" => until("a copy is begun", || !board.snapshots(AWAY).is_empty()).await?,
            _ => {
                let details = || {
                    let files = walk(&board.system);
                    files.iter().any(|path| path.contains("details.json"))
                };
                until("the details are stored", details).await?;
            }
        }
        run.kill()?;
        System::expire_leases(&board.system.repository("primary"))?;
        let again = board.system.expect(0, &["backup", "instance"]).await?;
        let backups = board.backups();
        // A run that was killed when its manifest stood was not unfinished.
        let most = if killed_in == "committing" { 2 } else { 1 };
        assert!(!backups.is_empty() && backups.len() <= most, "{killed_in}: {backups:?} {again:#?}");
        assert_eq!(board.snapshots(HOME).len(), backups.len(), "{killed_in}");
        assert_eq!(board.snapshots(AWAY), board.snapshots(HOME), "{killed_in}");
    }
    Ok(())
}

fn walk(system: &System) -> Vec<String> {
    let found = super::support::system::contents(&system.repository("primary")).unwrap_or_default();
    found.into_keys().map(|path| path.display().to_string()).collect()
}

#[tokio::test]
async fn a_lost_answer_and_throttling_make_no_second_snapshot() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.server.fail(When::action("CreateDBSnapshot").times(1), Fault::LoseAnswer);
    board.server.fail(When::action("CopyDBSnapshot").times(1), Fault::LoseAnswer);
    board.server.fail(When::action("DescribeDBSnapshots").after(3).times(2), Fault::THROTTLING);
    board.server.hide_new_for(2);
    board.system.expect(0, &["backup", "instance"]).await?;
    assert_eq!(board.snapshots(HOME).len(), 1);
    assert_eq!(board.snapshots(AWAY), board.snapshots(HOME));
    Ok(())
}

#[tokio::test]
async fn a_copy_that_fails_costs_the_copy_and_is_said() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.server.lose_region(AWAY, Gone::Unavailable);
    let run = board.system.expect(3, &["backup", "instance"]).await?;
    run.says("degraded")?.says("region us-west-2 does not have it")?;
    assert_eq!(board.snapshots(HOME).len(), 1);
    board.server.find_region_again(AWAY);
    let status = board.system.expect(21, &["status"]).await?;
    status.says("A failed cross-region copy cannot be retried")?;

    board.system.rewrite("kms_key = ", "# kms_key = ")?;
    let run = board.system.expect(3, &["backup", "instance"]).await?;
    run.says("the database is encrypted")?.says("add `kms_key` to `copy_to.us-west-2`")?;
    Ok(())
}

#[tokio::test]
async fn what_stands_in_the_way_is_said_and_nothing_foreign_is_touched() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.system.rewrite("instance = \"classboard\"", "instance = \"clasboard\"")?;
    let run = board.system.expect(1, &["backup", "instance"]).await?;
    run.says("there is no instance `clasboard` in us-east-1")?;
    board.system.rewrite("instance = \"clasboard\"", "instance = \"classboard\"")?;

    board.server.fail(When::action("CreateDBSnapshot"), Fault::DENIED);
    let run = board.system.expect(1, &["backup", "instance"]).await?;
    run.says("CreateDBSnapshot in us-east-1 failed")?.says("AccessDenied")?.says("drctl iam show")?;
    board.server.heal();
    board.server.fail(
        When::action("CreateDBSnapshot"),
        Fault::Error(400, "SnapshotQuotaExceeded", "Cannot create more than 100 manual snapshots"),
    );
    let run = board.system.expect(1, &["backup", "instance"]).await?;
    run.says("request a quota increase")?;
    board.server.heal();
    board.server.fail(When::any(), Fault::EXPIRED);
    let run = board.system.expect(1, &["backup", "instance"]).await?;
    run.says("ExpiredToken")?.says("renew the credentials")?;
    board.server.heal();

    board.server.set_status(HOME, "classboard", "incompatible-network")?;
    let run = board.system.expect(1, &["backup", "instance"]).await?;
    run.says("`classboard` is `incompatible-network`")?;
    assert!(board.server.calls().iter().all(|call| !call.action.starts_with("Delete")));
    assert_eq!(board.server.failures(), Vec::<String>::new());
    Ok(())
}

/// A copy that does not depend on RDS.
#[tokio::test]
async fn a_dump_of_an_instance_is_restored_on_a_server_of_ones_own() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    let port = board.server.look_up(HOME, "classboard")?.port().ok_or("no server")?;
    board.system.rewrite("kind = \"rds\"", "kind = \"rds\"\nmethods = [\"snapshot\", \"logical\"]")?;
    board.system.rewrite("@classboard.invalid/", &format!("@127.0.0.1:{port}/"))?;
    let run = board.system.expect(0, &["backup", "instance", "--output", "json"]).await?;
    let kinds: Vec<_> = run.document()?["sources"].as_array().into_iter().flatten().cloned().collect();
    assert_eq!(kinds.len(), 2, "{run:#?}");
    board.system.expect(0, &["backup", "instance", "--kind", "snapshot"]).await?;
    assert_eq!(board.snapshots(HOME).len(), 2);

    let own = Cluster::start(15).await?;
    let to = own.url("school");
    let key = board.system.operational.display().to_string();
    let restore = ["restore", "instance", "--to", &to, "--no-owner", "-i", &key];
    board.system.expect(0, &restore).await?;
    let names = "SELECT string_agg(name, ' ' ORDER BY id) FROM pupils";
    assert_eq!(own.text("school", names).await?, "ada");
    // Just a name is a database on the instance itself.
    board.system.expect(0, &["restore", "instance", "--to", "again", "--no-owner", "-i", &key]).await?;
    Ok(())
}

#[tokio::test]
async fn credentials_that_expire_in_the_middle_end_the_run_and_the_next_goes_on() -> Outcome<()> {
    let board = Classboard::start(slow()).await?;
    let run = board.system.start(&["backup", "instance"])?;
    until("a snapshot is begun", || !board.snapshots(HOME).is_empty()).await?;
    board.server.fail(When::any(), Fault::EXPIRED);
    let run = run.end().await?;
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.says("failed to query the status of snapshot")?
        .says("ExpiredToken")?
        .says("renew the credentials")?;
    let begun = board.snapshots(HOME);
    assert_eq!((begun.len(), board.backups().len()), (1, 0));

    board.server.heal();
    board.system.expect(0, &["backup", "instance"]).await?;
    assert_eq!((board.snapshots(HOME), board.backups().len()), (begun, 1), "the same snapshot");
    assert_eq!(board.snapshots(AWAY), board.snapshots(HOME));
    Ok(())
}

#[tokio::test]
async fn a_snapshot_that_somebody_removes_meanwhile_is_no_backup() -> Outcome<()> {
    let board = Classboard::start(slow()).await?;
    let run = board.system.start(&["backup", "instance"])?;
    until("a snapshot is begun", || !board.snapshots(HOME).is_empty()).await?;
    let id = board.snapshots(HOME).remove(0);
    // What was never seen is waited for as something that is only just being made.
    let asks = When::action("DescribeDBSnapshots").in_region(HOME).with(&id);
    board.server.fail(asks, Fault::Delay(Duration::from_millis(1)));
    until("it is asked how far it is", || board.server.taken() > 2).await?;
    board.server.take_snapshot_away(HOME, &id)?;
    let run = run.end().await?;
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.says("was deleted while drctl waited for it")?;
    assert_eq!(board.backups().len(), 0);
    board.system.expect(0, &["backup", "instance"]).await?;
    assert_eq!((board.snapshots(HOME).len(), board.backups().len()), (1, 1));
    Ok(())
}

/// The database is encrypted: without a key of the other region, or with one that cannot be used, there is no copy.
#[tokio::test]
async fn a_copy_needs_a_key_that_can_be_used_there() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.server.fail(
        When::action("CopyDBSnapshot").in_region(AWAY),
        Fault::Error(400, "KMSKeyNotAccessibleFault", "The specified KMS key is pending deletion"),
    );
    let run = board.system.expect(3, &["backup", "instance"]).await?;
    run.says("region us-west-2 does not have it")?.says("KMSKeyNotAccessibleFault")?;
    run.says("check the key's state and its policy")?;
    board.server.heal();
    board.system.rewrite("kms_key = ", "# kms_key = ")?;
    let asked = board.server.calls().iter().filter(|call| call.action == "CopyDBSnapshot").count();
    let run = board.system.expect(3, &["backup", "instance"]).await?;
    run.says("add `kms_key` to `copy_to.us-west-2`")?;
    let calls = board.server.calls();
    let now = calls.iter().filter(|call| call.action == "CopyDBSnapshot").count();
    assert_eq!(now, asked, "what RDS would refuse is not asked");
    board.system.expect(1, &["doctor"]).await?.says("the policy names no key in us-west-2")?;
    Ok(())
}

/// Whoever may not read the parameters has a snapshot all the same, and is told what a restore elsewhere lacks.
#[tokio::test]
async fn parameters_that_may_not_be_read_cost_the_parameters_and_not_the_backup() -> Outcome<()> {
    let board = Classboard::start(Timing::default()).await?;
    board.server.fail(When::action("DescribeDBParameters"), Fault::DENIED);
    let run = board.system.expect(0, &["backup", "instance"]).await?;
    run.says("which parameters `school-pg15` sets")?.says("drctl iam show writer")?;
    board.server.heal();
    let key = board.system.operational.display().to_string();
    let restore = ["restore", "instance", "--backup", "latest", "--to-instance", "fresh", "-i", &key];
    let plan = board.system.expect(0, &[&restore[..], &["--plan"]].concat()).await?;
    plan.says("school-pg15")?.says("it was not recorded which parameters `school-pg15` sets")?;
    board.system.expect(0, &restore).await?.says("usable: after")?;
    Ok(())
}
