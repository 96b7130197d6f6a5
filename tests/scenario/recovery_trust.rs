//! What must not be believed: times of a copy, files that were cut off, backups that were found bad.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::recovery::{History, TWO, insists, now, take_segment, time};
use crate::support::Outcome;
use crate::support::system::contents;

/// Copies a file as `cp` does; it was done a minute from now.
fn copy(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::copy(from, to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o644))?;
    let copy = File::options().write(true).open(to)?;
    Ok(copy.set_modified(copy.metadata()?.modified()? + Duration::from_secs(60))?)
}

/// Someone saves the log of a server that is gone, and archives it by hand. What was committed after it is lost,
/// and a copy's times must not hide that.
#[tokio::test(flavor = "multi_thread")]
async fn log_that_was_copied_was_not_complete_when_it_was_copied() -> Outcome<()> {
    let mut history = History::begin(&TWO).await?;
    let cluster = &history.archiving.cluster;
    let insert = "INSERT INTO ledger (note) VALUES ('late')";
    cluster
        .execute("postgres", &["ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()"])
        .await?;
    cluster.execute("postgres", &[insert]).await?;
    let segment = cluster.text("postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())").await?;
    let saved = now(&history.archiving).await?;
    cluster.execute("postgres", &["SELECT pg_switch_wal()", insert]).await?;
    let lost = now(&history.archiving).await?;
    history.archiving.cluster.kill_9()?;
    let archiving = &history.archiving;

    let (pg_wal, rescue) = (archiving.pg_wal(), archiving.system.path().join("rescue"));
    std::fs::create_dir_all(rescue.join("archive_status"))?;
    let note = format!("archive_status/{segment}.ready");
    for file in [segment.as_str(), &note] {
        copy(&pg_wal.join(file), &rescue.join(file))?;
    }
    let path = rescue.join(&segment).display().to_string();
    assert_eq!(archiving.as_server(&["wal", "push", &path]).await?.0, 0);
    let refused = archiving.unrecovered(10, &["--point-in-time", &time(lost)]).await?;
    refused.says("what was committed between then and the target is unknown")?;
    // All that was saved is there.
    archiving.unrecovered(10, &["--point-in-time", &time(saved)]).await?;
    let restored = archiving.recovered("saved", &["--latest"]).await?;
    let late = "(SELECT count(*) FROM ledger WHERE note = 'late')";
    assert_eq!(restored.text(late).await?, "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_off_is_not_log_that_is_there() -> Outcome<()> {
    let mut history = History::begin(&TWO).await?;
    let (segment, after) = (history.rows[2].0.clone(), time(history.rows[4].2));
    let cut = |repository: &str| -> Outcome<()> {
        let (path, _) = take_segment(&history.archiving, repository, &segment)?;
        Ok(std::fs::write(path, "")?)
    };
    cut("west")?;
    insists(history.archiving.recovered("around", &["--latest"]).await?, &history.numbers(5)).await?;
    cut("primary")?;
    let gap = history.archiving.unrecovered(10, &["--point-in-time", &after]).await?;
    gap.says(&format!("segment {segment} is missing"))?;

    // A server that stands still is not given up for it.
    let data = history.archiving.cluster.data();
    history.archiving.cluster.kill();
    let before = contents(&data)?;
    let (to, identity) =
        (data.display().to_string(), history.archiving.system.operational.display().to_string());
    let command =
        ["restore", "database", "--point-in-time", &after, "--to", &to, "--identity", &identity, "--delta"];
    let run = history.archiving.run_as_server(&command).await?;
    assert_eq!(run.code, Some(10), "{run:#?}");
    assert_eq!(contents(&data)?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_found_bad_everywhere_is_passed_over() -> Outcome<()> {
    let history = History::begin(&TWO).await?;
    let archiving = &history.archiving;
    archiving.backup(0, &[]).await?;
    let mut spoiled = None;
    for repository in ["primary", "west"] {
        let files = contents(&archiving.system.repository(repository))?;
        let newest = files.keys().filter(|path| path.ends_with("base.tar.zst.age")).max().ok_or("no base")?;
        let mut bytes = std::fs::read(newest)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(newest, bytes)?;
        spoiled = newest.parent().and_then(Path::file_name).map(|id| id.to_string_lossy().into_owned());
    }
    let spoiled = spoiled.ok_or("no backup")?;
    // Nobody knows yet, and whoever runs into it is told of the others.
    let run = archiving.recover("first", &["--latest"]).await?;
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.says("`--backup ID`")?;
    archiving.system.expect(1, &["verify"]).await?;
    let _script = archiving.system.hand_to_server()?;
    let plan = archiving.unrecovered(0, &["--latest", "--plan"]).await?;
    plan.says(&format!("the last `drctl verify` found {spoiled} bad"))?;
    insists(archiving.recovered("older", &["--latest"]).await?, &history.numbers(5)).await?;
    // Who insists gets it.
    let asked = archiving.recover("asked", &["--latest", "--backup", &spoiled]).await?;
    assert_eq!(asked.code, Some(1), "{asked:#?}");
    Ok(())
}
