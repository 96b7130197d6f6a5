//! A region that takes connections and answers nothing, as in an outage: it is asked once, and not waited for long.

use std::time::{Duration, Instant};

use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard, HOME};
use super::support::rds::{Gone, Timing};
use super::support::system::{System, until};

/// As patient as a test.
const PATIENCE: &str = "700ms";
/// Much less than whoever asked it for everything one after the other would take.
const SOON: Duration = Duration::from_secs(6);

async fn board(timing: Timing) -> Outcome<Classboard> {
    let board = Classboard::start(timing).await?;
    board.system.rewrite("poll = \"20ms\"", &format!("poll = \"20ms\"\npatience = \"{PATIENCE}\""))?;
    Ok(board)
}

/// What it takes.
async fn timed<T>(doing: impl Future<Output = Outcome<T>>) -> Outcome<(T, Duration)> {
    let begun = Instant::now();
    let done = doing.await?;
    Ok((done, begun.elapsed()))
}

#[tokio::test]
async fn a_region_that_answers_nothing_is_asked_once_by_whatever_only_looks() -> Outcome<()> {
    let board = board(Timing::default()).await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let key = board.system.operational.display().to_string();
    board.server.lose_region(HOME, Gone::Silent);
    let restore = ["restore", "instance", "--latest", "--to-instance", "fresh", "--from", AWAY, "-i", &key];
    let plan = [&restore[..], &["--plan"]].concat();
    let (run, took) = timed(board.system.expect(0, &plan)).await?;
    assert!(took < SOON, "the plan took {took:?}: {run:#?}");
    run.says("waiting for an answer from us-east-1")?.says(PATIENCE)?;
    run.says("which database has the name `classboard` now is not known")?;

    // With all regions asked, the one that is silent is named, and the others are taken.
    let anywhere = ["restore", "instance", "--latest", "--to-instance", "fresh", "-i", &key, "--plan"];
    let (run, took) = timed(board.system.expect(0, &anywhere)).await?;
    assert!(took < SOON, "the plan took {took:?}: {run:#?}");
    run.says("failed to query us-east-1")?.says("in us-west-2")?;

    let (run, took) = timed(board.system.drctl(&["status"])).await?;
    assert!(took < SOON, "status took {took:?}: {run:#?}");
    run.says("failed to query RDS in us-east-1 about instance")?.says("region us-west-2")?;
    let (run, took) = timed(board.system.drctl(&["doctor", "--all"])).await?;
    assert!(took < SOON, "doctor took {took:?}: {run:#?}");
    run.says("DescribeDBInstances in us-east-1 failed")?.says("`school-west` exists in us-west-2")?;
    let (run, took) = timed(board.system.drctl(&["list"])).await?;
    assert!(took < SOON, "list took {took:?}: {run:#?}");
    let (run, took) = timed(board.system.drctl(&["verify"])).await?;
    assert!(took < SOON, "verify took {took:?}: {run:#?}");
    let (run, took) = timed(board.system.drctl(&["rds", "cleanup"])).await?;
    assert!(took < SOON, "cleanup took {took:?}: {run:#?}");
    run.says("us-east-1")?;
    Ok(())
}

/// The host died while RDS copied its last snapshot: the copy is there, and nothing says how the database was set
/// up then.
#[tokio::test]
async fn a_copy_without_a_manifest_is_set_up_as_the_newest_older_backup_says() -> Outcome<()> {
    // Slow enough to be killed in.
    let board = board(Timing { copying: Duration::from_millis(1000), ..Timing::default() }).await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let older = board.backups().pop().ok_or("no backup")?;
    let first = board.snapshots(AWAY).pop().ok_or("no copy")?;
    board.admit("grace").await?;
    let mut run = board.system.start(&["backup", "instance"])?;
    let copied = || board.snapshots(AWAY).into_iter().find(|id| *id != first);
    until("the second copy is begun", || copied().is_some()).await?;
    run.kill()?;
    System::expire_leases(&board.system.repository("primary"))?;
    let second = copied().ok_or("no second copy")?;
    board.server.reached(AWAY, &second, "available").await?;
    assert_eq!(board.backups(), std::slice::from_ref(&older), "the second is committed nowhere");
    board.server.lose_region(HOME, Gone::Silent);
    let key = board.system.operational.display().to_string();

    // Without an identity nothing can be read, and that is all that is said of it, once.
    let restore = ["restore", "instance", "--latest", "--to-instance", "fresh", "--from", AWAY];
    let refused = board.system.expect(1, &restore).await?;
    refused.says("nothing says how the instance was set up")?.says("--identity")?;
    let told = refused.stderr.matches("nothing says how the instance was set up").count();
    assert_eq!(told, 1, "{refused:#?}");

    let (run, took) = timed(board.system.expect(0, &[&restore[..], &["-i", &key]].concat())).await?;
    assert!(took < Duration::from_secs(20), "{took:?}: {run:#?}");
    run.says(&format!("as recorded with {older}"))?.says("has no manifest")?.says("usable: after")?;
    assert_eq!(board.pupils(AWAY, "fresh").await?, "ada grace");
    let is = board.server.look_up(AWAY, "fresh")?.settings;
    assert_eq!((is.class, is.multi_az), (board.settings.class.clone(), board.settings.multi_az));

    // Where nothing was ever recorded, no advice is given that was followed.
    std::fs::remove_file(
        board.system.repository("primary").join(format!("shop/instance/backups/{older}/manifest.json")),
    )?;
    std::fs::remove_file(
        board.system.repository("west").join(format!("shop/instance/backups/{older}/manifest.json")),
    )?;
    let restore = ["restore", "instance", "--latest", "--to-instance", "other", "--from", AWAY, "-i", &key];
    let refused = board.system.expect(1, &restore).await?;
    refused.says("no manifest of it can be read")?;
    assert!(!refused.stderr.contains("--identity"), "{refused:#?}");
    Ok(())
}
