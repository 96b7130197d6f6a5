use std::fs;

use crate::shop::{Shop, assert_shown};
use crate::support::Outcome;

#[tokio::test]
async fn what_a_copy_lacks_is_completed() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(50, &["primary"]).await?;
    shop.backup(2, &["primary", "west"]).await?;
    assert_shown!(shop, ["copies", "sync"]);
    assert_eq!(shop.system.backups_in("primary"), shop.system.backups_in("west"));
    shop.system.expect(0, &["verify"]).await?;
    assert_shown!(shop, ["copies", "sync"]);
    Ok(())
}

#[tokio::test]
async fn nothing_is_overwritten_and_nothing_bad_is_copied() -> Outcome<()> {
    let shop = Shop::new().await?;
    let backup = shop.backup(2, &["primary"]).await?;
    let object = shop.file("west", &backup, "database.dump.zst.age");
    fs::create_dir_all(object.parent().ok_or("folder")?)?;
    fs::write(&object, "something else")?;
    assert_shown!(shop, ["copies", "sync"]);
    fs::remove_file(&object)?;

    let source = shop.file("primary", &backup, "details.json.zst.age");
    let mut bytes = fs::read(&source)?;
    bytes[10] ^= 1;
    fs::write(&source, bytes)?;
    assert_shown!(shop, ["copies", "sync"]);
    assert_eq!(shop.system.backups_in("west"), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_away_is_completed_when_it_is_back() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary"]).await?;
    shop.unplug("west")?;
    assert_shown!(shop, ["copies", "sync"]);
    shop.plug("west")?;
    shop.system.expect(0, &["copies", "sync"]).await?;
    assert_eq!(shop.system.backups_in("west").len(), 1);
    Ok(())
}
