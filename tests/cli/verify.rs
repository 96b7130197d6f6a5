use std::fs;

use drctl::model::Manifest;

use crate::shop::{Shop, assert_shown};
use crate::support::Outcome;

fn flip(shop: &Shop, repository: &str, backup: &Manifest, object: &str) -> Outcome<()> {
    let path = shop.file(repository, backup, object);
    let mut bytes = fs::read(&path)?;
    bytes[1_000] ^= 1;
    Ok(fs::write(path, bytes)?)
}

#[tokio::test]
async fn good_copies_become_checked() -> Outcome<()> {
    let shop = Shop::new().await?;
    assert_shown!(shop, ["verify"]);
    shop.backup(2, &["primary", "west"]).await?;
    assert_shown!(shop, ["verify"]);
    assert_shown!(shop, ["list"]);
    Ok(())
}

#[tokio::test]
async fn the_bad_copy_and_its_objects_are_named() -> Outcome<()> {
    let shop = Shop::new().await?;
    let backup = shop.backup(2, &["primary", "west"]).await?;
    flip(&shop, "west", &backup, "database.dump.zst.age")?;
    fs::remove_file(shop.file("west", &backup, "database.dump.zst.age.001"))?;
    fs::write(shop.file("west", &backup, "details.json.zst.age"), "short")?;
    assert_shown!(shop, ["verify", backup.id.as_str()]);
    assert_shown!(shop, ["status"]);
    let document = shop.json(1, &["verify", "--from", "west"]).await?;
    assert_eq!(document["copies"][0]["faults"][1]["fault"], "missing");
    assert_eq!(document["copies"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["list"]).await?;
    shop.unplug("west")?;
    assert_shown!(shop, ["verify", "--latest"]);
    Ok(())
}

#[tokio::test]
async fn a_copy_whose_manifest_is_not_accepted_is_bad_also_where_no_catalog_knew_it() -> Outcome<()> {
    let shop = Shop::new().await?;
    let backup = shop.backup(2, &["primary", "west"]).await?;
    let manifest = shop.file("primary", &backup, "manifest.json");
    let whole = fs::read(&manifest)?;
    fs::write(&manifest, &whole[..300])?;
    for arguments in [&["verify"][..], &["verify", "--latest"], &["verify", backup.id.as_str()]] {
        let said = shop.system.expect(1, arguments).await?;
        assert!(said.stdout.contains(&format!("bad     {} in primary", backup.id)), "{said:?}");
        assert!(said.stdout.contains("2 copies read, 1 good"), "{said:?}");
    }
    shop.system.expect(0, &["verify", "--from", "west"]).await?;
    let document = shop.json(1, &["verify"]).await?;
    assert_eq!(document["good"], false);
    Ok(())
}

#[tokio::test]
async fn a_copy_that_vanished_is_missing_each_time_until_it_is_copied_back() -> Outcome<()> {
    let shop = Shop::new().await?;
    let old = shop.backup(5, &["primary", "west"]).await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["verify"]).await?;
    let folder = shop.file("west", &old, "manifest.json");
    fs::remove_dir_all(folder.parent().ok_or("folder")?)?;
    assert_shown!(shop, ["verify"]);
    assert_shown!(shop, ["status"]);
    // Once it was said it is not good again, and neither is it for a host that knows nothing.
    for forget in [false, false, true] {
        if forget {
            fs::remove_dir_all(shop.system.path().join("state"))?;
        } else {
            shop.system.expect(3, &["list"]).await?.says("held before cannot be found")?;
        }
        let document = shop.json(3, &["verify"]).await?;
        assert_eq!(
            (&document["good"], &document["copies"][0]["verdict"]),
            (&false.into(), &"missing".into())
        );
        let status = shop.json(3, &["status"]).await?;
        assert_eq!(status["sources"][0]["places"][1]["missing"][0]["backup"], old.id.as_str(), "{status:#}");
    }
    shop.system.expect(3, &["verify", old.id.as_str()]).await?;
    shop.system.expect(0, &["verify", "--latest"]).await?;
    shop.system.expect(0, &["verify", "--from", "primary"]).await?;
    shop.system.expect(0, &["copies", "sync"]).await?;
    for arguments in [["verify"], ["status"], ["list"]] {
        shop.system.expect(0, &arguments).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_backup_that_is_gone_from_everywhere_is_reported_until_that_is_acknowledged() -> Outcome<()> {
    let shop = Shop::new().await?;
    let lost = shop.backup(5, &["primary", "west"]).await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["status"]).await?;
    for repository in ["primary", "west"] {
        let folder = shop.file(repository, &lost, "manifest.json");
        fs::remove_dir_all(folder.parent().ok_or("folder")?)?;
    }
    for arguments in
        [&["verify"][..], &["status"], &["list"], &["catalog", "rebuild"], &["verify"], &["status"]]
    {
        let code = if arguments == ["catalog", "rebuild"] { 0 } else { 3 };
        shop.system.expect(code, arguments).await?;
    }
    assert_shown!(shop, ["list"]);
    assert_shown!(shop, ["copies", "sync"]);
    shop.system.expect(2, &["copies", "forget", "2020"]).await?.says("no backup is gone")?;
    shop.system.expect(2, &["copies", "forget", ""]).await?.says("an empty id names no backup")?;
    assert_shown!(shop, ["copies", "forget", &lost.id.as_str()[..15]]);
    // So does a host that only has the journal.
    for forget in [false, true] {
        if forget {
            fs::remove_dir_all(shop.system.path().join("state"))?;
        }
        for arguments in [&["verify"][..], &["status"], &["list"], &["copies", "sync"]] {
            shop.system.expect(0, arguments).await?;
        }
    }
    shop.system.expect(0, &["copies", "forget", "--all"]).await?.says("No backup is gone")?;
    Ok(())
}

#[tokio::test]
async fn what_was_found_bad_is_not_ok_until_it_is_repaired() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(5, &["primary", "west"]).await?;
    let newest = shop.backup(2, &["primary", "west"]).await?;
    for repository in ["primary", "west"] {
        flip(&shop, repository, &newest, "database.dump.zst.age")?;
    }
    shop.system.expect(1, &["verify"]).await?;
    // On this host, and on one that only has the journal.
    for forget in [false, false, true] {
        if forget {
            fs::remove_dir_all(shop.system.path().join("state"))?;
        }
        let status = shop.json(3, &["status"]).await?;
        assert_eq!(status["sources"][0]["places"][0]["verdict"], "bad-copy");
        assert_eq!(status["sources"][0]["places"][0]["bad_backups"][0], newest.id.as_str());
    }
    assert_shown!(shop, ["status"]);
    let sync = shop.json(1, &["copies", "sync"]).await?;
    assert_eq!((&sync["complete"], sync["backups"].as_array().map(Vec::len)), (&false.into(), Some(2)));
    // One of them is what it was, from wherever: the other one is repaired from it.
    flip(&shop, "west", &newest, "database.dump.zst.age")?;
    shop.system.expect(1, &["verify"]).await?;
    assert_shown!(shop, ["copies", "sync"]);
    for arguments in [&["status"][..], &["verify"], &["copies", "sync"]] {
        shop.system.expect(0, arguments).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_repository_that_lost_its_marker_is_said_by_every_command_and_is_not_ok() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["verify"]).await?;
    fs::remove_file(shop.system.repository("west").join("drctl-repository.json"))?;
    for forget in [false, true] {
        if forget {
            fs::remove_dir_all(shop.system.path().join("state"))?;
        }
        for arguments in [["status"], ["list"], ["verify"]] {
            let run = shop.system.expect(3, &arguments).await?;
            run.says("repository `west`")?
                .says("its marker was removed")?
                .says("drctl repository create west")?;
        }
    }
    let document = shop.json(3, &["status"]).await?;
    assert_eq!(document["sources"][0]["places"][1]["verdict"], "no-marker");
    shop.system.expect(0, &["repository", "create", "west"]).await?;
    for arguments in [["status"], ["list"], ["verify"]] {
        shop.system.expect(0, &arguments).await?;
    }
    Ok(())
}
