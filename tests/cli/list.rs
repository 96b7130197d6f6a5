use crate::shop::{Shop, assert_shown};
use crate::support::Outcome;

#[tokio::test]
async fn nothing_is_said_plainly() -> Outcome<()> {
    let shop = Shop::new().await?;
    assert_shown!(shop, ["list"]);
    assert_shown!(shop, ["show", "2026"]);
    assert_shown!(shop, ["list", "files"]);
    shop.unplug("west")?;
    assert_shown!(shop, ["list"]);
    Ok(())
}

#[tokio::test]
async fn backups_are_listed_with_the_state_of_each_copy() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(50, &["primary", "west"]).await?;
    let newest = shop.backup(2, &["primary"]).await?;
    assert_shown!(shop, ["list"]);
    assert_shown!(shop, ["list", "database", "--limit", "1"]);

    let document = shop.json(0, &["list"]).await?;
    assert_eq!((&document["drctl"], &document["kind"]), (&1.into(), &"backups".into()));
    let first = &document["backups"][0];
    assert_eq!(first["id"], newest.id.as_str());
    assert!(newest.id.as_str().starts_with(first["prefix"].as_str().ok_or("prefix")?));
    assert_eq!(first["copies"][1]["state"], "missing");
    Ok(())
}

#[tokio::test]
async fn a_repository_that_cannot_be_asked_is_named_and_what_was_known_is_shown() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["list"]).await?;
    shop.unplug("west")?;
    assert_shown!(shop, ["list"]);
    assert_shown!(shop, ["list", "--offline"]);
    Ok(())
}

#[tokio::test]
async fn a_backup_is_shown_whole() -> Outcome<()> {
    let shop = Shop::new().await?;
    let backup = shop.backup(2, &["primary"]).await?;
    shop.backup(50, &["primary"]).await?;
    assert_shown!(shop, ["show", &backup.id.as_str()[..15]]);
    let document = shop.json(0, &["show", backup.id.as_str()]).await?;
    assert_eq!(document["manifest"]["id"], backup.id.as_str());
    let ambiguous = shop.system.expect(2, &["show", "20"]).await?;
    assert!(ambiguous.stderr.contains(backup.id.as_str()), "{ambiguous:?}");
    Ok(())
}
