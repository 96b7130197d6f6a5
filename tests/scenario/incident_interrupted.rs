//! Ctrl-C and SIGTERM: the run stops, says so, and leaves nothing.

use rustix::process::Signal;

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, When};
use crate::support::regions::{Region, Regions, restore_arguments};
use crate::support::shop::{databases, shop};
use crate::support::system::{Place, Running, System, contents, until};
use crate::support::usage;

/// Sends the signal, and insists on a quick end with nothing left running.
async fn stop(running: Running, signal: Signal) -> Outcome<()> {
    let children = usage::tree(running.id());
    running.signal(signal)?;
    let begun = std::time::Instant::now();
    let run = running.end().await?;
    if run.code != Some(130) {
        return Err(format!("{run:#?}").into());
    }
    run.says("Interrupted")?;
    assert!(begun.elapsed().as_secs() < 8, "it took {:?}", begun.elapsed());
    let alive = |pid: &&u32| {
        std::fs::read_to_string(format!("/proc/{pid}/status"))
            .is_ok_and(|status| !status.contains("State:\tZ") && status.contains("Name:\tpg_"))
    };
    let alive: Vec<_> = children.iter().filter(alive).collect();
    assert!(alive.is_empty(), "children are left: {alive:?}");
    Ok(())
}

/// Nothing of a backup that was not committed is there.
async fn holds_only_whole_backups(region: &Region, name: &str) -> Outcome<()> {
    let whole = region.backups().await?;
    for path in contents(&region.files())?.into_keys() {
        let text = path.to_string_lossy();
        let Some((_, rest)) = text.split_once("/backups/shop/database/backups/") else { continue };
        let id = rest.split('/').next().unwrap_or_default();
        assert!(whole.iter().any(|known| known == id), "{name} keeps {text}");
    }
    let left = region.half_done()?;
    assert!(left.is_empty(), "{name} keeps half an upload: {left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_backup() -> Outcome<()> {
    let cluster = shop(32 << 10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    let before = regions.back_up().await?;
    let put = |part: &str| When::method("PUT").with(part);
    // Every other step is met with in memory, in `incident_steps`.
    let moments = [
        (When::method("GET").with("drctl-repository.json"), Signal::INT),
        (put("partNumber=2"), Signal::INT),
        (put("details.json"), Signal::TERM),
    ];
    for (when, signal) in moments {
        let told = format!("{when:?}, {signal:?}");
        let taken = regions.primary.proxy.taken();
        // Once, so that what has to be taken back can be.
        regions.primary.proxy.fail(when.times(1), Fault::Hang);
        let backup = regions.system.start(&["backup"])?;
        until("the call comes", || regions.primary.proxy.taken() > taken).await?;
        stop(backup, signal).await.map_err(|error| format!("{told}: {error}"))?;
        regions.heal();
        for (name, region) in regions.each() {
            holds_only_whole_backups(region, &format!("{told}: {name}")).await?;
            assert_eq!(region.backups().await?, [before.as_str()], "{told}: {name}");
        }
    }
    // The lease was given back: the next run does not wait for it.
    regions.back_up().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_backup_into_directories() -> Outcome<()> {
    let cluster = shop(1 << 10).await?;
    let system = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
    // So slow that there is a middle.
    system.append("[transfer]\npart_size = \"5MiB\"\nbandwidth = \"100KiB\"")?;
    let mut locked = cluster.connect("shop").await?;
    sqlx::query("BEGIN").execute(&mut locked).await?;
    sqlx::query("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").execute(&mut locked).await?;
    let backup = system.start(&["backup"])?;
    until("pg_dump waits", || {
        usage::tree(backup.id()).iter().any(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "pg_dump")
        })
    })
    .await?;
    stop(backup, Signal::INT).await?;
    drop(locked);
    for name in ["primary", "west"] {
        let left: Vec<_> = contents(&system.repository(name))?
            .into_keys()
            .filter(|path| {
                path.to_string_lossy().contains("/backups/") || path.to_string_lossy().contains("/uploads/")
            })
            .collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_restore() -> Outcome<()> {
    let cluster = shop(20 << 10).await?;
    let regions = Regions::start(&cluster.url("shop")).await?;
    regions.back_up().await?;
    let before = databases(&cluster).await?;
    let get = |part: &str| When::method("GET").with(part);
    for (jobs, when, signal) in [
        ("2", get("details.json"), Signal::INT),
        ("2", get("database.dump"), Signal::TERM),
        ("1", get("database.dump").after(1), Signal::INT),
    ] {
        let told = format!("{jobs} jobs, {when:?}");
        let taken = regions.primary.proxy.taken();
        regions.primary.proxy.fail(when, Fault::Hang);
        let arguments = restore_arguments(&regions.system, &["restored", "--jobs", jobs])?;
        let restore = regions.system.start(&arguments)?;
        until("the call comes", || regions.primary.proxy.taken() > taken).await?;
        stop(restore, signal).await.map_err(|error| format!("{told}: {error}"))?;
        regions.heal();
        assert_eq!(databases(&cluster).await?, before, "{told}");
    }
    Ok(())
}
