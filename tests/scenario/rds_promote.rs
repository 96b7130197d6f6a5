//! A restored instance takes production's place.

use std::time::Duration;

use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard, HOME};
use super::support::rds::{Call, Gone, Timing};
use super::support::system::until;

/// A board with a restored instance `fresh`, and hooks that say when they ran.
async fn restored(timing: Timing) -> Outcome<Classboard> {
    let board = Classboard::start(timing).await?;
    board.system.expect(0, &["backup", "instance"]).await?;
    let backup = board.backups().pop().ok_or("no backup")?;
    let key = board.system.operational.display().to_string();
    let arguments =
        ["restore", "instance", "--backup", &backup, "--to-instance", "fresh", "--expires", "1h", "-i", &key];
    board.system.expect(0, &arguments).await?;
    board.admit("late").await?;
    let log = board.system.path().join("hooks.log");
    let hook = |name: &str| {
        format!(
            r#"{name} = ["/bin/sh", "-c", "echo {name} $DRCTL_INSTANCE:$DRCTL_PORT >> {}"]"#,
            log.display()
        )
    };
    board.system.append(&format!(
        "[sources.instance.promote]\n{}\n{}\n{}",
        hook("freeze"),
        hook("redirect"),
        hook("reopen")
    ))?;
    Ok(board)
}

fn hooks(board: &Classboard) -> String {
    std::fs::read_to_string(board.system.path().join("hooks.log")).unwrap_or_default()
}

fn changes(board: &Classboard) -> Vec<Call> {
    let calls = board.server.calls().into_iter();
    calls.filter(|call| call.action.starts_with("Modify") || call.action.starts_with("Delete")).collect()
}

#[tokio::test]
async fn the_swap_is_shown_first_and_keeps_the_old_one() -> Outcome<()> {
    let board = restored(Timing::default()).await?;
    let before = changes(&board).len();
    let shown = board.system.expect(0, &["rds", "promote", "instance", "fresh"]).await?;
    shown.says("rename production `classboard` to `classboard-old`")?.says("nothing was changed")?;
    assert_eq!((changes(&board).len(), hooks(&board)), (before, String::new()));

    let promoted = board.system.expect(0, &["rds", "promote", "instance", "fresh", "--apply"]).await?;
    promoted.says("promoted")?.says("tables")?;
    assert_eq!(board.pupils(HOME, "classboard").await?, "ada");
    assert_eq!(board.pupils(HOME, "classboard-old").await?, "ada late");
    let now = board.server.look_up(HOME, "classboard")?;
    assert!(now.settings.deletion_protection, "production is protected");
    assert!(!now.settings.tags.contains_key("drctl:expires"), "production does not expire");
    let port = now.port().ok_or("no server")?;
    let lines: Vec<_> = hooks(&board).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("freeze classboard:"), "{lines:?}");
    assert_eq!(lines[1..], [format!("redirect classboard:{port}"), format!("reopen classboard:{port}")]);

    // The new production is backed up like the old one.
    board.system.expect(0, &["backup", "instance"]).await?;
    let again = board.system.expect(1, &["rds", "promote", "instance", "nobody", "--apply"]).await?;
    again.says("there is no instance `nobody` in us-east-1")?;
    assert!(board.server.calls().iter().all(|call| !call.action.starts_with("Delete")));
    Ok(())
}

#[tokio::test]
async fn a_promotion_that_was_killed_is_gone_on_with() -> Outcome<()> {
    let slow = Timing { modifying: Duration::from_millis(1500), ..Timing::default() };
    for (step, name) in [("old steps aside", "classboard"), ("new takes the name", "fresh")] {
        let board = restored(slow.clone()).await?;
        let seen = board.server.history(HOME, name).len();
        let promote = ["rds", "promote", "instance", "fresh", "--apply"];
        let mut run = board.system.start(&promote)?;
        let renames = || board.server.history(HOME, name)[seen..].iter().any(|status| status == "renaming");
        let begun = until(step, renames).await;
        run.kill()?;
        if let Err(error) = begun {
            return Err(format!("{error}: {:#?}", run.end().await?).into());
        }
        let again = board.system.drctl(&promote).await?;
        // What it is killed in may be over when the next one looks.
        if again.code != Some(0) {
            board.system.expect(0, &promote).await?;
        }
        assert_eq!(board.pupils(HOME, "classboard").await?, "ada", "{step}");
        assert_eq!(board.pupils(HOME, "classboard-old").await?, "ada late", "{step}");
    }
    Ok(())
}

#[tokio::test]
async fn what_must_not_take_productions_place_does_not() -> Outcome<()> {
    let board = restored(Timing::default()).await?;
    let before = changes(&board).len();
    let foreign = board.settings.clone();
    board.server.instance(HOME, "foreign", foreign).await?;
    let refused = board.system.expect(1, &["rds", "promote", "instance", "foreign", "--apply"]).await?;
    refused.says("was not restored from `instance`")?;
    let refused = board.system.expect(1, &["rds", "promote", "instance", "classboard", "--apply"]).await?;
    refused.says("has the name of production already")?;
    let taken = ["rds", "promote", "instance", "fresh", "--put-aside-as", "foreign", "--apply"];
    board
        .system
        .expect(1, &taken)
        .await?
        .says("an instance `foreign`, the name that the old one would get, already exists")?;
    board.system.rewrite("freeze = [\"/bin/sh\"", "freeze = [\"/bin/false\"")?;
    let failed = board.system.expect(1, &["rds", "promote", "instance", "fresh", "--apply"]).await?;
    failed.says("the steps after it were not executed")?;
    // What would fail after the renames fails before anything is touched.
    board.system.rewrite("env:RDS_PASSWORD", "env:NOBODY_SET_IT")?;
    board.system.rewrite("freeze = [\"/bin/false\"", "freeze = [\"/bin/sh\"")?;
    let applied = ["rds", "promote", "instance", "fresh", "--apply"];
    let refused = board.system.expect(1, &applied).await?;
    refused.says("nothing was changed")?.says("`NOBODY_SET_IT` is not set")?.says("break-glass")?;
    board.system.expect(0, &applied[..4]).await?.says("`NOBODY_SET_IT` is not set")?;
    board.system.rewrite("env:NOBODY_SET_IT", "env:RDS_KEY")?;
    let refused = board.system.expect(1, &applied).await?;
    refused.says("nothing was changed")?.says("password authentication failed")?;
    assert_eq!(hooks(&board), "", "no writer was stopped");
    board.system.rewrite("password = \"env:RDS_KEY\"", "password = \"env:RDS_PASSWORD\"")?;
    board.system.rewrite("freeze = ", "# freeze = ")?;
    let refused = board.system.expect(1, &["rds", "promote", "instance", "fresh", "--apply"]).await?;
    refused.says("the writers are not stopped")?.says("--writers-stopped")?;
    let touched = changes(&board).len() - before;
    assert!(touched <= 1, "only the restored one is kept: {:#?}", changes(&board));
    assert_eq!(board.pupils(HOME, "classboard").await?, "ada late");

    // What RDS would not rename is seen before anything is done, and nobody waits for what nobody starts.
    let applied = ["rds", "promote", "instance", "fresh", "--writers-stopped", "--apply"];
    let start = "aws rds start-db-instance --db-instance-identifier classboard --region us-east-1";
    board.server.set_status(HOME, "classboard", "stopped")?;
    board
        .system
        .expect(1, &applied)
        .await?
        .says("`classboard` is `stopped`, and RDS renames")?
        .says(start)?;
    let stopped = board.system.drctl(&["backup", "instance"]).await?;
    assert_ne!(stopped.code, Some(0), "{stopped:#?}");
    stopped.says("`classboard` is `stopped`, and RDS takes no snapshot of it")?.says(start)?;
    board.server.set_status(HOME, "classboard", "incompatible-network")?;
    let stuck = board.system.expect(1, &applied).await?;
    stuck.says("is `incompatible-network`")?.says("resumes without it")?.says("the address of `fresh`")?;
    assert_eq!(changes(&board).len() - before, touched, "nothing was touched");
    board.server.set_status(HOME, "classboard", "storage-full")?;
    board.system.expect(0, &applied).await?.says("is renamed anyway")?;
    assert_eq!(board.pupils(HOME, "classboard").await?, "ada");
    Ok(())
}

#[tokio::test]
async fn with_its_region_gone_what_was_restored_elsewhere_takes_the_name_there() -> Outcome<()> {
    let board = restored(Timing::default()).await?;
    let backup = board.backups().pop().ok_or("no backup")?;
    let key = board.system.operational.display().to_string();
    board.server.lose_region(HOME, Gone::Unavailable);
    let restore = ["restore", "instance", "--backup", &backup, "--to-instance", "west", "-i", &key];
    board.system.expect(0, &restore).await?;
    let promote = ["rds", "promote", "instance", "west", "--region", AWAY, "--apply"];
    board.system.expect(0, &promote).await?.says("promoted")?;
    assert_eq!(board.pupils(AWAY, "classboard").await?, "ada");
    let port = board.server.look_up(AWAY, "classboard")?.port().ok_or("no server")?;
    // There was nothing whose writers could be stopped, and nobody is told of an address that is none.
    let told = format!("freeze classboard:\nredirect classboard:{port}\nreopen classboard:{port}\n");
    assert_eq!(hooks(&board), told);
    Ok(())
}
