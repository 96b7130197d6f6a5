//! What is due is done, once, whoever wakes drctl.

use std::process::Command;

use crate::shop::Shop;
use crate::support::Outcome;

/// A minute is always over; what came before the backups is not due.
const EVERY_MINUTE: &str = "[schedule]\nverify = \"* * * * *\"\n";
/// The next time is years away, and the last was before the backups.
const ON_LEAP_DAYS: &str = "[schedule]\nverify = \"0 0 29 2 *\"\n";

async fn verified(shop: &Shop) -> Outcome<usize> {
    let journal = shop.system.repository("primary").join("shop/journal");
    let mut number = 0;
    for month in walk(&journal)? {
        number += usize::from(std::fs::read_to_string(month)?.contains("\"verb\": \"verify\""));
    }
    Ok(number)
}

fn walk(folder: &std::path::Path) -> Outcome<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(files) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { files.extend(walk(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

#[tokio::test]
async fn what_is_due_is_performed_and_then_nothing_is() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.system.append(EVERY_MINUTE)?;
    shop.backup(50, &["primary", "west"]).await?;
    shop.backup(2, &["primary"]).await?;
    let plan = shop.system.expect(0, &["run-due", "--plan"]).await?;
    assert_eq!(plan.stdout, "copies: drctl copies sync\nverify: drctl verify --latest\n", "{}", plan.stderr);
    assert_eq!((verified(&shop).await?, shop.system.backups_in("west").len()), (0, 1));

    let done = shop.system.expect(0, &["run-due"]).await?;
    assert!(done.stderr.contains("verify: drctl verify --latest"), "{}", done.stderr);
    assert_eq!((verified(&shop).await?, shop.system.backups_in("west").len()), (1, 2));

    let policy = std::fs::read_to_string(shop.system.policy())?.replace("* * * * *", "0 0 29 2 *");
    std::fs::write(shop.system.policy(), policy)?;
    let quiet = shop.system.expect(0, &["run-due", "-q"]).await?;
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""), "cron would send a mail");
    let document = shop.json(0, &["run-due"]).await?;
    assert_eq!(document["tasks"].as_array().map(Vec::len), Some(0), "{document}");
    Ok(())
}

#[tokio::test]
async fn what_fails_is_said_and_what_comes_after_it_is_done() -> Outcome<()> {
    let shop = Shop::new().await?;
    let daily = "[schedule]\nverify = \"0 0 * * *\"\nsources.database = \"0 0 * * *\"\n";
    shop.system.append(daily)?;
    shop.backup(50, &["primary", "west"]).await?;
    // There is no such server.
    let run = shop.system.expect(3, &["run-due", "-q"]).await?;
    assert!(
        run.stderr.contains("error: the backup of database (logical) ended with 1: failed"),
        "{}",
        run.stderr
    );
    assert_eq!(verified(&shop).await?, 1);
    // Every host knows of the attempt, and leaves the server in peace for a while.
    let plan = shop.system.expect(0, &["run-due", "--plan", "--only", "backup"]).await?;
    assert!(plan.stdout.contains("nothing is due"), "{}", plan.stdout);
    let quiet = shop.system.expect(0, &["run-due", "-q", "--only", "backup"]).await?;
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""), "a mail every five minutes");
    let list = shop.system.expect(3, &["schedule", "list"]).await?;
    let row = list.stdout.lines().find(|line| line.starts_with("backup of database")).ok_or("no row")?;
    assert!(row.contains("failed, tried again at"), "{row}");
    let state = shop.json(3, &["schedule", "list"]).await?;
    assert_eq!(state["tasks"][0]["turn"], "tried-again", "{state}");
    Ok(())
}

#[tokio::test]
async fn a_policy_without_a_schedule_is_refused() -> Outcome<()> {
    let shop = Shop::new().await?;
    for words in [&["run-due"][..], &["schedule", "export", "cron"]] {
        let run = shop.system.expect(2, words).await?;
        assert!(run.stderr.contains("error: the policy schedules nothing"), "{}", run.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn exported_units_and_lines_are_what_systemd_and_a_shell_accept() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.system.append(ON_LEAP_DAYS)?;
    let folder = shop.system.path().join("units");
    std::fs::create_dir(&folder)?;
    let to = folder.to_str().ok_or("not text")?;
    shop.system.expect(0, &["schedule", "export", "systemd", "--to", to]).await?;
    let units = ["backup.service", "backup.timer", "upkeep.service", "upkeep.timer"];
    let units = units.map(|unit| folder.join(format!("drctl-shop-{unit}")));
    let verify = Command::new("systemd-analyze").arg("verify").args(&units).output()?;
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
    let complaints = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert!(!complaints.contains("drctl-shop"), "{complaints}");
    // What exists is not overwritten.
    let again = shop.system.expect(1, &["schedule", "export", "systemd", "--to", to]).await?;
    assert!(again.stderr.contains("hint: A file that exists is not overwritten"), "{}", again.stderr);

    // The command of the cron line, as cron runs it.
    let line = shop.system.expect(0, &["schedule", "export", "cron"]).await?.stdout;
    let line = line.lines().last().ok_or("no line")?;
    let (_, command) = line.split_once("* * * * ").ok_or("no command")?;
    let state = shop.system.path().join("cron-state");
    let mut cron = Command::new("/bin/sh");
    cron.env_clear().env("PATH", "/usr/bin:/bin").env("DRCTL_STATE_DIR", state).arg("-c");
    let ran = cron.arg(command.replace("\\%", "%")).output()?;
    assert_eq!((ran.status.code(), &*ran.stdout, &*ran.stderr), (Some(0), &b""[..], &b""[..]));

    let yaml =
        shop.system.expect(0, &["schedule", "export", "kubernetes", "--image", "drctl:1"]).await?.stdout;
    assert!(yaml.contains("concurrencyPolicy: Forbid") && yaml.contains("image: \"drctl:1\""), "{yaml}");
    let run = shop.system.expect(2, &["schedule", "export", "kubernetes"]).await?;
    assert!(run.stderr.contains("needs the image"), "{}", run.stderr);
    Ok(())
}
