//! Two hosts that back up the same source into the same repositories.

use rustix::process::Signal;

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, When};
use crate::support::regions::Regions;
use crate::support::shop::shop;
use crate::support::system::{Place, Running, System, until};

/// Starts a backup on another host: the same policy, and a state directory of its own.
fn start_elsewhere(system: &System) -> Outcome<Running> {
    let mut command = system.command(&["backup", "--output", "json"]);
    command.env("DRCTL_STATE_DIR", system.path().join("state-of-another-host"));
    system.start_command(command)
}

/// The ids that `drctl list` shows with a state directory.
async fn listed(system: &System, state: &str) -> Outcome<Vec<String>> {
    let mut command = system.command(&["list", "--output", "json"]);
    command.env("DRCTL_STATE_DIR", system.path().join(state));
    let run = system.start_command(command)?.end().await?;
    let document = run.document()?;
    let backups = document["backups"].as_array().ok_or("no backups")?;
    let mut ids: Vec<_> =
        backups.iter().filter_map(|backup| Some(backup["id"].as_str()?.to_owned())).collect();
    ids.sort();
    Ok(ids)
}

async fn sorted_backups(regions: &Regions) -> Outcome<Vec<String>> {
    let (mut primary, mut west) = (regions.primary.backups().await?, regions.west.backups().await?);
    primary.sort();
    west.sort();
    assert_eq!(primary, west);
    Ok(primary)
}

/// Both end, and at least one of them with a backup; one that gives way says to whom.
async fn both_end(here: Running, there: Running) -> Outcome<usize> {
    let (here, there) = tokio::join!(here.end(), there.end());
    let mut stored = 0;
    for run in [here?, there?] {
        match run.code {
            Some(0) => stored += 1,
            Some(11) => assert_eq!(run.document()?["sources"][0]["outcome"], "busy"),
            _ => return Err(format!("{run:#?}").into()),
        }
    }
    assert!(stored > 0, "both gave way");
    Ok(stored)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_begin_at_the_same_time() -> Outcome<()> {
    let cluster = shop(100).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    let mut expected = 1;
    regions.back_up().await?;
    for _round in 0..2 {
        let here = regions.system.start(&["backup", "--output", "json"])?;
        expected += both_end(here, start_elsewhere(&regions.system)?).await?;
        let whole = sorted_backups(&regions).await?;
        assert_eq!(whole.len(), expected);
        assert_eq!(listed(&regions.system, "state").await?, whole);
        assert_eq!(listed(&regions.system, "state-of-another-host").await?, whole);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_both_use_the_repositories_for_the_first_time() -> Outcome<()> {
    let cluster = shop(100).await?;
    let system = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
    let here = system.start(&["backup", "--output", "json"])?;
    let stored = both_end(here, start_elsewhere(&system)?).await?;
    assert_eq!(system.backups_in("primary").len(), stored);
    assert_eq!(listed(&system, "state").await?, system.backups_in("west"));
    assert_eq!(listed(&system, "state-of-another-host").await?, system.backups_in("primary"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_which_one_is_in_the_middle() -> Outcome<()> {
    let cluster = shop(100).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.system.rewrite("stall = \"10s\"", "stall = \"60s\"")?;
    regions.west.proxy.fail(When::method("PUT").with("database.dump"), Fault::Hang);
    let here = regions.system.start(&["backup", "--output", "json"])?;
    until("the first is in the middle", || regions.west.proxy.taken() > 0).await?;
    // The second sees the first renew its lease, and gives way.
    let there = start_elsewhere(&regions.system)?.end().await?;
    assert_eq!(there.code, Some(11), "{there:#?}");
    assert_eq!(there.document()?["sources"][0]["outcome"], "busy");
    assert_eq!(sorted_backups(&regions).await?, Vec::<String>::new());
    regions.heal();
    drop(here);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_which_one_slept_until_its_lease_was_over() -> Outcome<()> {
    let cluster = shop(100).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    // One call that is not answered for half a minute: meanwhile a lease is renewed.
    regions.system.rewrite("stall = \"10s\"", "stall = \"2m\"")?;
    regions.west.proxy.fail(When::method("PUT").with("database.dump").times(1), Fault::Hang);
    let sleeper = regions.system.start(&["backup", "--output", "json"])?;
    until("the first is in the middle", || regions.west.proxy.taken() > 0).await?;
    sleeper.signal(Signal::STOP)?;
    regions.expire_leases()?;
    let there = start_elsewhere(&regions.system)?.end().await?;
    assert_eq!(there.code, Some(0), "{there:#?}");
    let taken = sorted_backups(&regions).await?;
    assert_eq!(taken.len(), 1);
    // It wakes up, finds that its lease is another's, and stops.
    sleeper.signal(Signal::CONT)?;
    let run = sleeper.end().await?;
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.says("another run took over the lease")?;
    assert_eq!(sorted_backups(&regions).await?, taken);
    Ok(())
}
