use crate::shop::{Shop, assert_shown};
use crate::support::Outcome;

#[tokio::test]
async fn a_damaged_catalog_says_what_to_do_and_is_made_anew() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["verify"]).await?;
    let before = shop.system.expect(0, &["list"]).await?.stdout;
    let file = shop.system.path().join("state/catalog.db");
    std::fs::write(&file, "not a database".repeat(1_000))?;
    assert_shown!(shop, ["list"]);
    assert_shown!(shop, ["catalog", "rebuild"]);
    assert_eq!(shop.system.expect(0, &["list"]).await?.stdout, before);
    std::fs::remove_dir_all(shop.system.path().join("state"))?;
    assert_eq!(shop.system.expect(0, &["list"]).await?.stdout, before);
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_away_is_said_and_what_was_known_of_it_is_kept() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["list"]).await?;
    shop.unplug("west")?;
    assert_shown!(shop, ["catalog", "rebuild"]);
    let document = shop.json(0, &["list", "--offline"]).await?;
    assert_eq!(document["backups"][0]["copies"][1]["state"], "stored");
    Ok(())
}
