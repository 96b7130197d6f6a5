//! Places that are other than they were, two names of one place, and a catalog that cannot be used.

use std::fs;
use std::path::Path;

use sqlx::{Connection as _, Executor as _};

use crate::shop::{Shop, assert_shown};
use crate::support::Outcome;
use crate::support::system::contents;

/// As a mount point is whose file system is not there.
fn unmount(shop: &Shop, repository: &str) -> Outcome<()> {
    shop.unplug(repository)?;
    Ok(fs::create_dir(shop.system.repository(repository))?)
}

fn is_empty(folder: &Path) -> Outcome<bool> {
    Ok(contents(folder)?.is_empty())
}

#[tokio::test]
async fn a_repository_whose_file_system_is_not_mounted_is_not_begun_anew() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["list"]).await?;
    unmount(&shop, "west")?;
    let west = shop.system.repository("west");
    for arguments in [vec!["status"], vec!["copies", "sync"], vec!["verify"]] {
        let run = shop.system.expect(3, &arguments).await?;
        run.says("repository `west` on 20")?.says("not mounted")?;
        assert!(is_empty(&west)?, "{arguments:?} wrote to the disk below: {run:#?}");
    }
    let run = shop.system.expect(1, &["backup"]).await?;
    run.says("drctl repository create west")?;
    assert!(is_empty(&west)?, "{run:#?}");
    // It is not taken for one that lost its backups.
    let document = shop.json(0, &["list", "--offline"]).await?;
    assert_eq!(document["backups"][0]["copies"][1]["state"], "stored", "{document}");
    Ok(())
}

#[tokio::test]
async fn the_other_repositories_know_it_too_where_the_catalog_is_lost() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["verify"]).await?;
    for (away, left) in [("west", "primary"), ("primary", "west")] {
        unmount(&shop, away)?;
        fs::remove_dir_all(shop.system.path().join("state"))?;
        let run = shop.system.expect(3, &["copies", "sync"]).await?;
        run.says(&format!("was repository `{away}` on 20"))?;
        assert!(is_empty(&shop.system.repository(away))?, "{run:#?}");
        assert_eq!(shop.system.backups_in(left).len(), 1);
        fs::remove_dir(shop.system.repository(away))?;
        shop.plug(away)?;
        shop.system.expect(0, &["copies", "sync"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_repository_is_created_anew_where_that_is_said() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["list"]).await?;
    shop.unplug("west")?;
    assert_shown!(shop, ["repository", "create", "west"]);
    assert_shown!(shop, ["repository", "create", "west"]);
    shop.system.expect(0, &["copies", "sync"]).await?;
    assert_eq!(shop.system.backups_in("west").len(), 1);
    shop.system.expect(2, &["repository", "create", "east"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_copy_that_is_new_is_begun_unasked_and_said() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["copies", "sync"]).await?;
    let east = shop.system.repository("east");
    fs::create_dir(&east)?;
    shop.system.append(&format!("[repository.copies.east]\ndirectory = \"{}\"", east.display()))?;
    shop.system.expect(0, &["copies", "sync"]).await?.says("created repository `east`")?;
    assert_eq!(shop.system.backups_in("east").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_directory_that_is_to_be_a_mount_point_counts_only_with_something_mounted() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    let west = format!("directory = \"{}\"", shop.system.repository("west").display());
    shop.system.rewrite(&west, &format!("{west}\nmount = true"))?;
    for arguments in [["copies", "sync"], ["status", "--verbose"]] {
        shop.system.expect(3, &arguments).await?.says("nothing is mounted there")?;
    }
    shop.system.expect(1, &["repository", "create", "west"]).await?.says("nothing is mounted there")?;
    shop.system.rewrite("mount = true", "mount = false")?;
    shop.system.expect(0, &["copies", "sync"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_marker_that_is_none_costs_only_its_own_repository() -> Outcome<()> {
    for garbage in ["<html><body>Down for maintenance</body></html>", "", "{}", "{\"format\": \"1.0\""] {
        let shop = Shop::new().await?;
        shop.backup(2, &["primary"]).await?;
        let marker = shop.system.repository("west").join("drctl-repository.json");
        fs::write(&marker, garbage)?;
        for arguments in [vec!["status"], vec!["copies", "sync"], vec!["list"]] {
            let run = shop.system.drctl(&arguments).await?;
            assert_ne!(run.code, Some(1), "{run:#?}");
            run.says("`west`")?.says("is no marker of a repository")?;
        }
        shop.system.expect(0, &["verify", "--from", "primary"]).await?;
        assert_eq!(fs::read_to_string(&marker)?, garbage);
    }
    Ok(())
}

#[tokio::test]
async fn two_names_of_one_directory_are_one_repository() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary"]).await?;
    let (primary, west) = (shop.system.repository("primary"), shop.system.repository("west"));
    fs::remove_dir_all(&west)?;
    std::os::unix::fs::symlink(&primary, &west)?;
    let run = shop.system.expect(3, &["status"]).await?;
    run.says("is the same place as repository `primary`")?.says("not reached")?;
    let run = shop.system.expect(3, &["copies", "sync"]).await?;
    run.says("is the same place as repository `primary`")?;
    shop.system.expect(1, &["doctor"]).await?.says("is the same place as repository `primary`")?;
    let left = contents(&primary)?;
    assert!(!left.keys().any(|path| path.to_string_lossy().contains("probe")), "{left:?}");
    Ok(())
}

#[tokio::test]
async fn a_directory_that_was_copied_is_a_repository_of_its_own() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary"]).await?;
    let (primary, west) = (shop.system.repository("primary"), shop.system.repository("west"));
    fs::remove_dir_all(&west)?;
    let copied = std::process::Command::new("cp").arg("-a").arg(&primary).arg(&west).status()?;
    assert!(copied.success());
    shop.system.expect(0, &["copies", "sync"]).await?;
    shop.system.expect(0, &["status"]).await?;
    Ok(())
}

#[tokio::test]
async fn two_policies_of_one_system_name_do_not_see_each_other() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["status"]).await?;
    // The trial: the same state directory, other places.
    let real = fs::read_to_string(shop.system.policy())?;
    let mut trial = real.clone();
    for name in ["primary", "west"] {
        let folder = shop.system.path().join(format!("trial-{name}"));
        fs::create_dir(&folder)?;
        let place = |folder: &Path| format!("directory = \"{}\"", folder.display());
        trial = trial.replace(&place(&shop.system.repository(name)), &place(&folder));
    }
    fs::write(shop.system.policy(), trial)?;
    let run = shop.system.expect(1, &["backup"]).await?;
    run.says("created repository primary")?.says("this host also knows another repository")?;
    assert!(!run.stderr.contains("its id is"), "{run:#?}");
    shop.system.expect(10, &["status"]).await?;
    let document = shop.json(0, &["list"]).await?;
    assert_eq!(document["backups"].as_array().map(Vec::len), Some(0), "{document}");
    fs::write(shop.system.policy(), real)?;
    shop.system.expect(0, &["status"]).await?;
    let document = shop.json(0, &["list", "--offline"]).await?;
    assert_eq!(document["backups"].as_array().map(Vec::len), Some(1), "{document}");
    Ok(())
}

#[tokio::test]
async fn another_repository_in_the_place_of_one_that_is_known_is_said_with_its_causes() -> Outcome<()> {
    let (shop, other) = (Shop::new().await?, Shop::new().await?);
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["status"]).await?;
    shop.unplug("west")?;
    let west = shop.system.repository("west");
    fs::create_dir(&west)?;
    let marker = fs::read_to_string(other.system.repository("west").join("drctl-repository.json"))?;
    let marker = marker.replace("0123456789abcdef0123456789abcdef", &"f".repeat(32));
    fs::write(west.join("drctl-repository.json"), marker)?;
    for arguments in [["copies", "sync"], ["status", "--verbose"]] {
        let run = shop.system.expect(3, &arguments).await?;
        run.says("its id is `ffff")?.says("another file system mounted there")?;
    }
    assert_eq!(contents(&west)?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_catalog_that_fails_on_the_way_hides_nothing() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary"]).await?;
    shop.system.expect(0, &["list"]).await?;
    let url = format!("sqlite://{}", shop.system.path().join("state/catalog.db").display());
    let mut catalog = sqlx::SqliteConnection::connect(&url).await?;
    for table in ["repositories", "runs", "copies"] {
        for event in ["INSERT", "UPDATE"] {
            let trigger = format!(
                "CREATE TRIGGER full_{table}_{event} BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            );
            catalog.execute(sqlx::AssertSqlSafe(trigger)).await?;
        }
    }
    catalog.close().await?;
    shop.backup(1, &["primary"]).await?;
    for (code, arguments) in [
        (0, vec!["list"]),
        (21, vec!["status"]),
        (0, vec!["verify", "--from", "primary"]),
        (0, vec!["copies", "sync"]),
    ] {
        let run = shop.system.expect(code, &arguments).await?;
        run.says("the catalog is rebuilt in memory for this command only")?.says("disk is full")?;
        assert_eq!(run.stderr.matches("is rebuilt in memory").count(), 1, "{run:#?}");
    }
    assert_eq!(shop.system.backups_in("west").len(), 2);
    Ok(())
}
