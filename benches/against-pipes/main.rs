//! `make bench`: drctl against the pipes and the script a team would write instead, and against its peers
//! where they are installed, on the same data and the same S3 server.
//!
//! Clients, PostgreSQL and the S3 server share one machine, so that times mean nothing by themselves. What
//! can be compared are medians of runs that took turns, and their ratios.

#![expect(clippy::print_stdout, reason = "what is measured is for people to read")]

mod contender;
mod database;
mod files;
mod ground;
mod log;
mod peers;
mod table;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use contender::{Contender, Group};
use ground::{DATABASE, Ground};
use log::Counts;
use peers::Peers;
use support::Outcome;
use support::postgres::{Cluster, ClusterOptions};
use support::usage::{self, Usage};
use table::{Cost, Series};

/// One command may not take longer, however slow the machine.
const LIMIT: Duration = Duration::from_secs(15 * 60);

#[tokio::main]
async fn main() -> Outcome<()> {
    let Choice { groups, quick } = Choice::read()?;
    let (divisor, runs) = if quick { (10, 1) } else { (1, 3) };
    let counts = if quick { Counts { single: 5, waiting: 20 } } else { Counts { single: 20, waiting: 200 } };

    let directory = tempfile::Builder::new()
        .prefix("drctl-bench")
        .permissions(Permissions::from_mode(0o755))
        .tempdir()?;
    println!("Starting PostgreSQL and an S3 server.");
    let cluster = Cluster::start_with(
        ClusterOptions::new(15)
            .initdb("--data-checksums")
            .setting("shared_buffers", "256MB")
            .setting("max_wal_size", "8GB")
            .setting("wal_keep_size", "4GB")
            .setting("checkpoint_timeout", "1h")
            .setting("autovacuum", "off")
            .setting("archive_mode", "on")
            .setting("archive_command", "true"),
    )
    .await?;
    let ground = prepare(directory.path(), cluster, counts).await?;
    for missing in ground.peers.missing() {
        println!("{missing}");
    }

    println!("Writing the database.");
    ground.cluster.execute("postgres", &[&format!("CREATE DATABASE {DATABASE}")]).await?;
    let mut connection = ground.cluster.connect(DATABASE).await?;
    database::fill(&mut connection, divisor).await?;
    drop(connection);
    let size: u64 = ground.cluster.text(DATABASE, "pg_database_size(current_database())").await?.parse()?;
    println!("It has {} rows and {:.2} GB.\n", database::rows(divisor), size as f64 / 1e9);

    for group in groups {
        let series = turns(&ground, group, divisor, runs).await?;
        println!("\nMedians of {runs}; memory is the most of all.\n");
        println!("{}", table::measurements(&series));
        println!("{}", table::ratios(&series, &group.aims()));
    }
    Ok(())
}

/// What the arguments ask for.
struct Choice {
    groups: Vec<Group>,
    quick: bool,
}

impl Choice {
    fn read() -> Outcome<Self> {
        let mut choice = Self { groups: vec![], quick: false };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--quick" => choice.quick = true,
                // Cargo adds it.
                "--bench" => {}
                word => choice.groups.push(
                    Group::named(word)
                        .ok_or_else(|| format!("`{word}` is not one of dump, base, wal, drill, files"))?,
                ),
            }
        }
        if choice.groups.is_empty() {
            choice.groups.extend(Group::ALL);
        }
        Ok(choice)
    }
}

/// Lets the contenders of a group take turns.
async fn turns(ground: &Ground, group: Group, divisor: u64, runs: usize) -> Outcome<Vec<Series>> {
    match group {
        Group::Dump | Group::Drill => {}
        Group::Files => {
            files::fill(&ground.files(), divisor)?;
            // What is younger than two seconds is read again by the next backup.
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        Group::Base => begin_to_archive(ground).await?,
        Group::Wal => log::write(&ground.cluster.data().join("pg_wal"), &ground.log(), ground.counts)?,
    }
    let contenders = group.contenders().iter().filter(|one| ground.peers.allow(**one));
    let mut series: Vec<_> = contenders.map(|one| Series::new(*one, ground.counts)).collect();
    for run in 1..=runs {
        for command in ground.begin_round(group)? {
            succeed(command)?;
        }
        for one in &mut series {
            let cost = measure(ground, one.contender, divisor).await?;
            let (wall, processor) = (cost.usage.wall.as_secs_f64(), cost.usage.processor.as_secs_f64());
            println!(
                "run {run} of {runs}: {:<38} {wall:>6.1} s wall {processor:>6.1} s processor",
                one.contender.title()
            );
            one.costs.push(cost);
            if one.contender == Contender::Drill {
                println!("{}", phases(ground)?);
            }
        }
        // The next round must not find a fuller store, nor a catalog of what is gone.
        succeed(ground.aws("s3 rm --recursive --only-show-errors s3://bench"))?;
        std::fs::remove_dir_all(ground.home())?;
        std::fs::create_dir(ground.home())?;
    }
    Ok(series)
}

/// The phases of the last drill, in seconds.
fn phases(ground: &Ground) -> Outcome<String> {
    let shown = ground.last_drill().output()?.stdout;
    let document: serde_json::Value = serde_json::from_slice(&shown)?;
    let phases = document["record"]["phases"].as_array().cloned().unwrap_or_default();
    let phase = |phase: &serde_json::Value| {
        let name = phase["phase"].as_str().unwrap_or_default().to_owned();
        let counts = if phase["counts"] == true { "" } else { ", after the RTO" };
        format!("{:>42} {:>6.1} s{counts}", name, phase["seconds"].as_f64().unwrap_or_default())
    };
    Ok(phases.iter().map(phase).collect::<Vec<_>>().join("\n"))
}

/// Makes the server archive with drctl, for whoever copies it.
async fn begin_to_archive(ground: &Ground) -> Outcome<()> {
    let command = format!("ALTER SYSTEM SET archive_command = '{} %p'", ground.archive_script().display());
    ground.cluster.execute("postgres", &[&command, "SELECT pg_reload_conf()"]).await?;
    let begun = Instant::now();
    let segment = ground.cluster.text("postgres", "pg_walfile_name(pg_current_wal_lsn())").await?;
    ground.cluster.execute("postgres", &["SELECT txid_current()", "SELECT pg_switch_wal()"]).await?;
    let done = ground.cluster.data().join(format!("pg_wal/archive_status/{segment}.done"));
    while !done.exists() {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(format!("the server does not archive:\n{}", ground.cluster.log_tail()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn measure(ground: &Ground, contender: Contender, divisor: u64) -> Outcome<Cost> {
    let scratch = ground.scratch();
    if contender.drains() {
        ground.note_what_waits()?;
    }
    if contender.follows_changes() {
        files::change(&ground.files(), divisor)?;
    }
    ground.cluster.execute("postgres", &["CHECKPOINT"]).await?;
    let postmaster = ground.cluster.postmaster()?;
    let before = server_time(postmaster);
    let restored = "restored";
    let usage = usage::measure(ground.command(contender, restored)?, LIMIT)?;
    let usage = usage.expect_success().map_err(|error| format!("{}: {error}", contender.title()))?;
    let server = server_time(postmaster).saturating_sub(before);
    if contender.restores_cluster() {
        prove_cluster(ground)?;
    } else if contender.restores_files() {
        let (wanted, found) = (files::count(divisor), files::below(&ground.restored())?);
        if found != wanted {
            return Err(format!("{found} files came back of {wanted}").into());
        }
    } else if contender.restores_database() {
        prove(ground, restored, divisor).await?;
        ground.cluster.execute("postgres", &[&format!("DROP DATABASE {restored}")]).await?;
    }
    std::fs::remove_dir_all(&scratch)?;
    std::fs::create_dir(&scratch)?;
    Ok(Cost { usage, server })
}

/// A restore that brought back less would be fast for nothing.
async fn prove(ground: &Ground, restored: &str, divisor: u64) -> Outcome<()> {
    let count = "(SELECT count(*) FROM customers) + (SELECT count(*) FROM orders) \
                 + (SELECT count(*) FROM messages) + (SELECT count(*) FROM documents)";
    let rows: u64 = ground.cluster.text(restored, count).await?.parse()?;
    if rows != database::rows(divisor) {
        return Err(format!("{rows} rows came back of {}", database::rows(divisor)).into());
    }
    Ok(())
}

/// A little is left out of a copy: what is temporary.
fn prove_cluster(ground: &Ground) -> Outcome<()> {
    let wanted = bytes_below(&ground.cluster.data().join("base"))?;
    let found = bytes_below(&ground.restored().join("base"))?;
    if found > wanted || found < wanted / 100 * 99 {
        return Err(format!("{found} bytes of tables came back of {wanted}").into());
    }
    Ok(())
}

fn bytes_below(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Processor time of the PostgreSQL server so far, backends that ended and those that run.
fn server_time(postmaster: u32) -> Duration {
    usage::tree(postmaster).into_iter().filter_map(usage::processor_time).sum()
}

/// Keys, a bucket, the AWS command line, and policies that name them.
async fn prepare(directory: &Path, cluster: Cluster, counts: Counts) -> Outcome<Ground> {
    let address = tokio::task::spawn_blocking(support::radosgw::address).await??;
    let recipients = [key(directory, "operational.key")?, key(directory, "escrow.key")?];
    let ground = Ground {
        directory: directory.to_owned(),
        cluster,
        endpoint: format!("http://{address}"),
        aws: aws()?,
        recipients,
        counts,
        peers: Peers::find(),
    };
    std::fs::create_dir(ground.scratch())?;
    std::fs::create_dir(ground.home())?;
    ground.set_up()?;
    succeed(ground.aws("s3 mb s3://bench"))?;
    Ok(ground)
}

/// Makes a key with age's own program, and gives its public half.
fn key(directory: &Path, name: &str) -> Outcome<String> {
    let file = directory.join(name);
    succeed(command("age-keygen", [Path::new("-o"), &file]))?;
    let text = std::fs::read_to_string(&file)?;
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: "));
    Ok(public.ok_or("age-keygen wrote no public key")?.to_owned())
}

/// The AWS command line in an environment of its own, made once.
fn aws() -> Outcome<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/aws");
    let aws = place.join("bin/aws");
    if !aws.exists() {
        println!("Installing the AWS command line.");
        succeed(command("python3", [Path::new("-m"), Path::new("venv"), &place]))?;
        let arguments = ["install", "--quiet", "awscli>=1.46,<2"];
        succeed(command(place.join("bin/pip"), arguments))?;
    }
    Ok(aws)
}

fn command<A: AsRef<std::ffi::OsStr>>(
    program: impl AsRef<std::ffi::OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn succeed(command: Command) -> Outcome<Usage> {
    let what = format!("{command:?}");
    usage::measure(command, LIMIT)?.expect_success().map_err(|error| format!("{what}: {error}").into())
}
