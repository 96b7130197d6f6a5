use crate::shop::{Shop, assert_shown};
use crate::support::Outcome;

#[tokio::test]
async fn a_good_standing() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(50, &["primary", "west"]).await?;
    shop.backup(2, &["primary", "west"]).await?;
    assert_shown!(shop, ["status"]);
    let document = shop.json(0, &["status"]).await?;
    assert_eq!(document["verdict"], "ok");
    assert_eq!(document["sources"][0]["places"][1]["newest"]["state"], "stored");
    Ok(())
}

#[tokio::test]
async fn nothing_to_restore() -> Outcome<()> {
    let shop = Shop::new().await?;
    assert_shown!(shop, ["status"]);
    Ok(())
}

#[tokio::test]
async fn a_copy_that_is_behind_or_too_old() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(5, &["primary", "west"]).await?;
    shop.backup(2, &["primary"]).await?;
    assert_shown!(shop, ["status"]);
    let old = Shop::new().await?;
    old.backup(50, &["primary", "west"]).await?;
    old.backup(2, &["primary"]).await?;
    assert_shown!(old, ["status"]);
    Ok(())
}

#[tokio::test]
async fn a_repository_that_cannot_be_asked_promises_nothing() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    shop.system.expect(0, &["status"]).await?;
    shop.unplug("primary")?;
    assert_shown!(shop, ["status"]);
    assert_eq!(shop.json(0, &["status", "--offline"]).await?["refreshed"], false);
    Ok(())
}

#[tokio::test]
async fn a_backup_that_is_dated_in_the_future_is_not_the_newest() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(-30, &["primary", "west"]).await?;
    shop.system.expect(22, &["status"]).await?.says("a clock is wrong")?;
    let good = shop.backup(2, &["primary", "west"]).await?;
    assert_shown!(shop, ["status"]);
    let document = shop.json(22, &["status"]).await?;
    assert_eq!(document["sources"][0]["places"][0]["newest"]["backup"], good.id.as_str());
    Ok(())
}
