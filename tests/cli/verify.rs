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
