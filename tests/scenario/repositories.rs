//! Repositories that are other than they were when a backup is taken.

use std::fs;

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, When};
use crate::support::regions::Regions;
use crate::support::shop::shop;
use crate::support::system::{Place, System, contents};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_on_without_one_that_is_not_mounted() -> Outcome<()> {
    let cluster = shop(10).await?;
    let system = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
    system.expect(0, &["backup"]).await?.says("created repository west")?;
    for (away, left) in [("west", "primary"), ("primary", "west")] {
        let folder = system.repository(away);
        fs::rename(&folder, folder.with_extension("away"))?;
        fs::create_dir(&folder)?;
        let before = system.backups_in(left).len();
        // With the catalog, and without it by what the other one knows.
        for taken in 1..=2 {
            let run = system.expect(3, &["backup"]).await?;
            run.says("drctl-repository.json")?.says(&format!("drctl repository create {away}"))?;
            assert_eq!(system.backups_in(left).len(), before + taken);
            assert!(contents(&folder)?.is_empty(), "{run:#?}");
            fs::remove_dir_all(system.path().join("state"))?;
        }
        fs::remove_dir(&folder)?;
        fs::rename(folder.with_extension("away"), &folder)?;
        system.expect(0, &["copies", "sync"]).await?;
    }
    system.expect(0, &["backup"]).await?;
    // An older state of it was restored: what it lost is said.
    let newest = system.backups_in("west").pop().ok_or("no backup")?;
    fs::remove_dir_all(system.repository("west").join("shop/database/backups").join(&newest))?;
    system.expect(0, &["backup"]).await?.says(&format!("west does not hold {newest} any more"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_for_people_is_the_fault_of_the_store_that_sends_it() -> Outcome<()> {
    let cluster = shop(10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.back_up().await?;
    regions.west.proxy.fail(When::any(), Fault::Page);
    let before = regions.primary.backups().await?.len();
    regions.system.expect(3, &["backup"]).await?.says("`west`")?;
    assert_eq!(regions.primary.backups().await?.len(), before + 1);
    for (code, arguments) in [(0, vec!["list"]), (3, vec!["status"]), (3, vec!["copies", "sync"])] {
        regions.system.expect(code, &arguments).await?.says("west")?;
    }
    assert_ne!(regions.system.drctl(&["verify"]).await?.code, Some(1));
    regions.heal();
    // In the middle of a backup, too.
    for part in ["database.dump", "manifest.json", "uploads"] {
        regions.west.proxy.fail(When::any().with(part), Fault::Page);
        let run = regions.system.drctl(&["backup"]).await?;
        assert!(matches!(run.code, Some(0 | 3)), "{part}: {run:#?}");
        regions.heal();
    }
    regions.system.expect(0, &["copies", "sync"]).await?;
    regions.system.expect(0, &["verify"]).await?;
    Ok(())
}
