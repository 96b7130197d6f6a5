//! Memory is bounded whatever the size of the database, at the settings a policy has by itself.

use std::time::Duration;

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, When};
use crate::support::regions::{Regions, restore_arguments};
use crate::support::shop::{digest, shop};
use crate::support::usage::{Usage, measure};

const LIMIT: u64 = 128 << 20;
const WITHIN: Duration = Duration::from_secs(240);

/// Runs `drctl` to its end, and insists on what it held at most.
async fn within_limit(regions: &Regions, arguments: &[&str]) -> Outcome<()> {
    let command = regions.system.command(arguments);
    let usage: Usage = tokio::task::spawn_blocking(move || measure(command, WITHIN)).await??;
    let usage = usage.expect_success()?;
    if usage.peak > LIMIT || usage.peak == 0 {
        return Err(format!("{arguments:?} held {} MiB", usage.peak >> 20).into());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_backup_and_a_restore_of_a_large_database() -> Outcome<()> {
    let cluster = shop(200 << 10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    // As the policy's defaults are on a host with four processors or more, and one repository slower than
    // the other.
    let policy = std::fs::read_to_string(regions.system.policy())?;
    let (defaults, _) = policy.split_once("[transfer]").ok_or("no transfer")?;
    std::fs::write(regions.system.policy(), format!("{defaults}\n[compression]\nthreads = 4\n"))?;
    regions.west.proxy.fail(When::method("PUT"), Fault::Delay(Duration::from_millis(1500)));
    within_limit(&regions, &["backup"]).await?;
    regions.heal();
    assert_eq!(regions.west.backups().await?.len(), 1);

    let original = digest(&cluster, "shop").await?;
    for jobs in ["2", "1"] {
        let name = format!("restored_{jobs}");
        within_limit(&regions, &restore_arguments(&regions.system, &[&name, "--jobs", jobs])?).await?;
        assert_eq!(digest(&cluster, &name).await?, original);
        cluster.execute("postgres", &[&format!("DROP DATABASE {name}")]).await?;
    }
    within_limit(&regions, &["verify"]).await
}
