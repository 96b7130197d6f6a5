//! What archiving costs: requests to each store, and memory.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::Outcome;
use crate::support::fault_proxy::FaultProxy;
use crate::support::s3::S3Server;
use crate::support::s3_process::S3Process;
use crate::support::system::{Place, System};
use crate::support::usage::measure;

const SEGMENT: usize = 16 << 20;
const PAGE: usize = 8192;
/// Of a drain, as of everything else that drctl does.
const LIMIT: u64 = 128 << 20;
const WITHIN: Duration = Duration::from_secs(240);

/// A system that archives into these places, and a folder of log as its server would have it.
fn system(places: &[Place]) -> Outcome<(System, PathBuf)> {
    let system = System::new("postgres://postgres@127.0.0.1/postgres", places)?;
    system.append("methods = [\"base\", \"wal\"]")?;
    let log = system.path().join("pg_wal");
    std::fs::create_dir_all(log.join("archive_status"))?;
    Ok((system, log))
}

/// Puts a segment into the log, with a note that it waits. `random` of its bytes are like no other.
fn write_segment(log: &Path, number: u64, random: usize) -> Outcome<String> {
    let name = format!("{:08X}{:08X}{number:08X}", 1, 1);
    let begin = (1 << 32) + number * SEGMENT as u64;
    let mut header = Vec::new();
    header.extend(0xD110_u16.to_le_bytes());
    header.extend(2_u16.to_le_bytes());
    header.extend(1_u32.to_le_bytes());
    header.extend(begin.to_le_bytes());
    header.extend([0; 8]);
    header.extend(7_300_000_000_000_000_001_u64.to_le_bytes());
    header.extend(u32::try_from(SEGMENT)?.to_le_bytes());
    header.extend(u32::try_from(PAGE)?.to_le_bytes());
    let mut bytes = vec![0; random];
    fastrand::Rng::with_seed(number).fill(&mut bytes);
    let mut file = std::fs::File::create(log.join(&name))?;
    file.write_all(&header)?;
    file.write_all(&bytes[header.len().min(random)..])?;
    file.set_len(SEGMENT as u64)?;
    std::fs::write(log.join(format!("archive_status/{name}.ready")), "")?;
    Ok(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_asks_each_store_whose_log_it_takes_and_writes_and_asks_nothing_else() -> Outcome<()> {
    let servers = [S3Server::start().await?, S3Server::start().await?];
    let proxies = [FaultProxy::to(servers[0].address).await?, FaultProxy::to(servers[1].address).await?];
    let (system, log) = system(&proxies.each_ref().map(|proxy| Place::of_server(proxy.address)))?;
    let push = async |name: &str| -> Outcome<[Vec<String>; 2]> {
        let before = proxies.each_ref().map(|proxy| proxy.calls().len());
        system.expect(0, &["wal", "push", &format!("pg_wal/{name}")]).await?;
        let mut calls = proxies.each_ref().map(FaultProxy::calls);
        for (calls, before) in calls.iter_mut().zip(before) {
            calls.drain(..before);
            for call in calls {
                let (path, _) = call.split_once('?').unwrap_or((call, ""));
                *call = path.replace("/backups/backups/shop/database/wal/", "");
            }
        }
        Ok(calls)
    };
    let done = |name: &str| std::fs::remove_file(log.join(format!("archive_status/{name}.ready")));

    let first = write_segment(&log, 1, 1 << 20)?;
    push(&first).await?;
    done(&first)?;
    let second = write_segment(&log, 2, 1 << 20)?;
    let stored = format!("7300000000000000001/00000001/{second}.zst.age");
    for calls in push(&second).await? {
        assert_eq!(calls, ["GET cluster.json".to_owned(), format!("PUT {stored}")]);
    }

    // One that waits for longer than a moment may have been archived together with others.
    let note = std::fs::File::open(log.join(format!("archive_status/{second}.ready")))?;
    note.set_modified(note.metadata()?.modified()? - Duration::from_secs(60))?;
    for calls in push(&second).await? {
        assert_eq!(calls, [format!("HEAD {stored}")]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_of_200_segments_stays_within_its_memory() -> Outcome<()> {
    let stores = [S3Process::start()?, S3Process::start()?];
    let (system, log) = system(&stores.each_ref().map(|store| Place::of_server(store.address)))?;
    system.append("\n[sources.database.wal]\nparallel = 8\n\n[compression]\nthreads = 4")?;
    let mut names = Vec::new();
    for number in 0..200 {
        // What cannot be made smaller takes most, where several are on their way at once.
        names.push(write_segment(&log, number, if number < 16 { SEGMENT } else { PAGE })?);
    }
    let folders = stores
        .each_ref()
        .map(|store| store.files().join("backups/shop/database/wal/7300000000000000001/00000001"));
    let mut drains = 0;
    // A drain ends after half a minute, on a busy machine before its last file.
    while let Some(next) = names.iter().find(|name| !folders[1].join(format!("{name}.zst.age")).exists()) {
        drains += 1;
        assert!(drains < 10, "{next} is not archived");
        let command = system.command(&["wal", "push", &format!("pg_wal/{next}"), "--drain", "200"]);
        let usage = tokio::task::spawn_blocking(move || measure(command, WITHIN)).await??.expect_success()?;
        assert!((1..=LIMIT).contains(&usage.peak), "a drain held {} MiB", usage.peak >> 20);
    }
    for folder in folders {
        assert_eq!(std::fs::read_dir(folder)?.count(), names.len());
    }
    Ok(())
}

/// PostgreSQL takes a command that a signal ended for its own shutdown, and counts no failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_asked_to_end_fails_and_dies_of_no_signal() -> Outcome<()> {
    // Whoever connects waits for an answer.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (system, log) = system(&[Place::of_server(silent.local_addr()?)])?;
    let name = write_segment(&log, 1, PAGE)?;
    for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
        let running = system.start(&["wal", "push", &format!("pg_wal/{name}")])?;
        let _asks = tokio::time::timeout(WITHIN, silent.accept()).await??;
        running.signal(signal)?;
        let run = running.end().await?;
        assert_eq!(run.code, Some(1), "{signal:?}: {run:?}");
        run.says("the run was interrupted")?;
    }
    Ok(())
}
