use crate::shop::Shop;
use crate::support::Outcome;

#[tokio::test]
async fn the_only_source_that_can_be_restored_so_need_not_be_named() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.backup(2, &["primary", "west"]).await?;
    // Its bytes are noise: what is chosen is said before they are opened.
    let run = shop.system.drctl(&["restore", "--to", "new", "--plan"]).await?;
    assert!(run.stderr.contains("Source database: the only one of the policy that has dumps"), "{run:?}");
    let none = shop.system.expect(2, &["restore", "--latest", "--to", "/tmp/new"]).await?;
    assert!(none.stderr.contains("no source of the policy has base backups and archived WAL"), "{none:?}");
    shop.system
        .append("[sources.orders]\nkind = \"postgres\"\nurl = \"postgres://drctl@db.internal/orders\"")?;
    let several = shop.system.expect(2, &["restore", "--to", "new", "--output", "json"]).await?;
    assert!(
        several.document()?["error"].as_str().is_some_and(|error| error.contains("`database`, `orders`"))
    );
    Ok(())
}
