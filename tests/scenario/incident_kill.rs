//! kill -9, of everything that takes part in a backup.
//!
//! A kill at "any moment" is made certain by holding the moment still: a call to a store hangs, and what is
//! killed is killed then.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, When};
use crate::support::postgres::Cluster;
use crate::support::regions::{Region, Regions, whole_backups};
use crate::support::s3_process::S3Process;
use crate::support::shop::{fill, shop};
use crate::support::system::{Place, Running, System, until};
use crate::support::usage;

/// What is listed is whole, and what was listed before is still there.
async fn only_whole_backups_are_listed(regions: &Regions, before: &[String]) -> Outcome<Vec<String>> {
    let run = regions.system.expect(0, &["list", "--output", "json"]).await?;
    let document = run.document()?;
    let listed = document["backups"].as_array().ok_or("no backups")?;
    let mut ids = vec![];
    for (name, region) in regions.each() {
        let whole = region.backups().await?;
        for backup in listed {
            let id = backup["id"].as_str().ok_or("no id")?.to_owned();
            let copies = backup["copies"].as_array().ok_or("no copies")?;
            let copy = copies.iter().find(|copy| copy["repository"] == name);
            let held = copy.is_some_and(|copy| copy["state"] == "stored" || copy["state"] == "checked");
            assert_eq!(held, whole.contains(&id), "{name}, {id}: {document:#}");
            ids.push(id);
        }
        for id in before {
            assert!(whole.contains(id), "{id} is gone from {name}");
        }
    }
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// Starts a backup, and kills it once `region` has got a call that `when` is for.
async fn kill_at(regions: &Regions, region: &Region, when: When, fault: Fault) -> Outcome<()> {
    let taken = region.proxy.taken();
    region.proxy.fail(when, fault);
    let mut backup = regions.system.start(&["backup"])?;
    let mut ended = false;
    until("the call comes", || {
        ended = backup.has_ended();
        ended || region.proxy.taken() > taken
    })
    .await?;
    if ended && region.proxy.taken() == taken {
        return Err(format!("the backup ended before it could be killed: {:#?}", backup.end().await?).into());
    }
    backup.kill()?;
    regions.heal();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drctl_at_moments_of_a_backup() -> Outcome<()> {
    let cluster = shop(6 << 10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    // The very first run, too, may be killed: what it leaves is no obstacle to the second.
    kill_at(&regions, &regions.primary, When::method("PUT").after(1), Fault::Hang).await?;
    regions.expire_leases()?;
    let mut before = vec![regions.back_up().await?];
    let calls = regions.primary.calls();
    before.push(regions.back_up().await?);
    let calls = regions.primary.calls() - calls;
    assert!(calls > 20, "a backup of {calls} calls?");

    let (primary, west) = (&regions.primary, &regions.west);
    let part = || When::method("PUT").with("partNumber=2");
    let complete = || When::method("POST").with("uploadId=");
    let manifest = || When::method("PUT").with("manifest.json");
    let journal = || When::method("PUT").with("/journal/");
    let moments = [
        (primary, When::any().after(calls / 8), Fault::Hang),
        (primary, part(), Fault::HangWhenDone),
        (west, complete(), Fault::Hang),
        (primary, complete(), Fault::HangWhenDone),
        (west, When::method("PUT").with("details.json"), Fault::HangWhenDone),
        (primary, manifest(), Fault::Hang),
        (primary, manifest(), Fault::HangWhenDone),
        (west, manifest(), Fault::HangWhenDone),
        (primary, journal(), Fault::Hang),
    ];
    let mut extra = 0;
    for (region, when, fault) in moments {
        let told = format!("{when:?}, {fault:?}");
        kill_at(&regions, region, when, fault).await.map_err(|error| format!("{told}: {error}"))?;
        let listed = only_whole_backups_are_listed(&regions, &before).await?;
        extra += listed.len() - before.len() - extra;
        regions.expire_leases()?;
        before.push(regions.back_up().await.map_err(|error| format!("{told}: {error}"))?);
    }
    // Those killed once a manifest stood: one is in just the primary, two are in both.
    assert_eq!(extra, 3);
    // Where just the primary has a backup, it is completed.
    let run = regions.system.expect(0, &["copies", "sync", "--output", "json"]).await?;
    let mut held = regions.primary.backups().await?;
    let mut copied = regions.west.backups().await?;
    held.sort();
    copied.sort();
    assert_eq!(held, copied, "{run:#?}");
    assert_eq!(held.len(), before.len() + extra);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_holds_up_the_next_one_for_a_minute_at_most() -> Outcome<()> {
    let cluster = shop(100).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.back_up().await?;
    kill_at(&regions, &regions.primary, When::method("PUT").with("database.dump"), Fault::Hang).await?;
    let begun = std::time::Instant::now();
    regions.back_up().await?;
    assert!(begun.elapsed().as_secs() < 75, "it took {:?}", begun.elapsed());
    Ok(())
}

/// The one descendant of a process that is such a program.
fn child_of(running: &Running, program: &str) -> Option<Pid> {
    let named = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program)
    };
    let pid = usage::tree(running.id()).into_iter().find(named)?;
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Starts a backup of more than drctl takes into memory, and holds it at its second part: pg_dump is
/// certainly still at it.
async fn held_in_the_middle(regions: &Regions) -> Outcome<Running> {
    regions.fail(&When::method("PUT").with("partNumber=2"), &Fault::Hang);
    let backup = regions.system.start(&["backup", "--output", "json"])?;
    until("part 2 is sent", || regions.primary.proxy.taken() > 0).await?;
    Ok(backup)
}

/// The backup that was held failed, nothing of it is listed, and the next works.
async fn failed_whole(regions: &Regions, backup: Running, words: &[&str]) -> Outcome<()> {
    let run = backup.end().await?;
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert_eq!(run.document()?["outcome"], "failed", "{run:#?}");
    for words in words {
        run.says(words)?;
    }
    regions.heal();
    for (name, region) in regions.each() {
        assert_eq!(region.backups().await?.len(), 1, "{name}");
        let left = region.half_done()?;
        assert!(left.is_empty(), "{name} keeps half an upload: {left:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pg_dump_in_the_middle_of_a_backup() -> Outcome<()> {
    let cluster = shop(40 << 10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.back_up().await?;
    let backup = held_in_the_middle(&regions).await?;
    let pg_dump = child_of(&backup, "pg_dump").ok_or("no pg_dump runs")?;
    kill_process(pg_dump, Signal::KILL)?;
    regions.heal();
    failed_whole(&regions, backup, &["pg_dump", "was killed (signal 9"]).await?;
    regions.back_up().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_server_in_the_middle_of_a_backup() -> Outcome<()> {
    let mut cluster = Cluster::start(15).await?;
    fill(&cluster, 40 << 10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.back_up().await?;
    let old = format!("127.0.0.1:{}", cluster.port());
    let backup = held_in_the_middle(&regions).await?;
    cluster.kill_9()?;
    regions.heal();
    failed_whole(&regions, backup, &["`shop`", "pg_dump"]).await?;
    let cluster = cluster.start_again().await?;
    regions.system.rewrite(&old, &format!("127.0.0.1:{}", cluster.port()))?;
    regions.back_up().await?;
    Ok(())
}

/// A primary and a copy whose servers can be killed.
struct Killable {
    primary: S3Process,
    west: S3Process,
    system: System,
}

impl Killable {
    async fn start(cluster: &Cluster) -> Outcome<Self> {
        let (primary, west) = (S3Process::start()?, S3Process::start()?);
        let places = [Place::of_server(primary.address), Place::of_server(west.address)];
        let system = System::new(&cluster.url("shop"), &places)?;
        // So slow that there is a middle.
        system.append(
            "[transfer]\npart_size = \"5MiB\"\nparallel = 2\nstall = \"6s\"\nbandwidth = \"10MiB\"",
        )?;
        system.expect(0, &["backup"]).await?;
        Ok(Self { primary, west, system })
    }

    async fn backups(&self) -> Outcome<(usize, usize)> {
        let of = async |server: &S3Process| -> Outcome<usize> {
            Ok(whole_backups(server.files().join("backups")).await?.len())
        };
        Ok((of(&self.primary).await?, of(&self.west).await?))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_of_the_primary_or_the_copy() -> Outcome<()> {
    let cluster = shop(40 << 10).await?;
    let mut stage = Killable::start(&cluster).await?;

    let backup = stage.system.start(&["backup", "--output", "json"])?;
    until("a part is on its way", || stage.west.under_way() > 0).await?;
    stage.west.kill()?;
    let run = backup.end().await?;
    assert_eq!(run.code, Some(3), "{run:#?}");
    let document = run.document()?;
    assert_eq!(document["sources"][0]["missing"][0]["repository"], "west", "{document:#}");
    assert_eq!(stage.backups().await?, (2, 1));
    stage.west.start_again()?;
    // A status that is good would say that the copy has what it has not.
    stage.system.expect(3, &["status"]).await?.says("behind")?;

    let left = stage.primary.under_way();
    let backup = stage.system.start(&["backup", "--output", "json"])?;
    until("a part is on its way", || stage.primary.under_way() > left).await?;
    stage.primary.kill()?;
    let run = backup.end().await?;
    assert_eq!(run.code, Some(3), "{run:#?}");
    let document = run.document()?;
    assert_eq!(document["sources"][0]["missing"][0]["repository"], "primary", "{document:#}");
    stage.primary.start_again()?;
    assert_eq!(stage.backups().await?, (2, 2));

    System::expire_leases(&stage.primary.files().join("backups"))?;
    stage.system.expect(0, &["copies", "sync"]).await?;
    assert_eq!(stage.backups().await?, (3, 3));
    stage.system.expect(0, &["backup"]).await?;
    assert_eq!(stage.backups().await?, (4, 4));

    // Both at once: a failure, and nothing of it is listed.
    let left = (stage.primary.under_way(), stage.west.under_way());
    let backup = stage.system.start(&["backup", "--output", "json"])?;
    let more = || stage.primary.under_way() > left.0 && stage.west.under_way() > left.1;
    until("a part is on its way to each", more).await?;
    stage.primary.kill()?;
    stage.west.kill()?;
    let run = backup.end().await?;
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.says("in any repository")?;
    stage.primary.start_again()?;
    stage.west.start_again()?;
    assert_eq!(stage.backups().await?, (4, 4));
    System::expire_leases(&stage.primary.files().join("backups"))?;
    stage.system.expect(0, &["backup"]).await?;
    assert_eq!(stage.backups().await?, (5, 5));
    Ok(())
}
