//! `make bench`: drctl against the pipe and the script a team would write instead, on the same data and
//! the same S3 server.
//!
//! Clients, PostgreSQL and the S3 server share one machine, so that times mean nothing by themselves. What
//! can be compared are medians of runs that took turns, and their ratios.

#![expect(clippy::print_stdout, reason = "what is measured is for people to read")]

mod contender;
mod database;
mod table;

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use contender::{BACKUPS, Contender, DATABASE, Ground, RESTORES};
use support::Outcome;
use support::postgres::{Cluster, ClusterOptions};
use support::usage::{self, Usage};
use table::{Aim, Cost, Series};

/// One command may not take longer, however slow the machine.
const LIMIT: Duration = Duration::from_secs(15 * 60);

const AIMS: [Aim; 6] = [
    Aim { of: Contender::Drctl, against: Contender::Pipe, at_most: Some(0.8) },
    Aim { of: Contender::DrctlToTwo, against: Contender::Pipe, at_most: Some(1.1) },
    Aim { of: Contender::Drctl, against: Contender::Script, at_most: None },
    Aim { of: Contender::DrctlToTwo, against: Contender::Script, at_most: None },
    Aim { of: Contender::RestoreDrctl, against: Contender::RestorePipe, at_most: Some(0.9) },
    Aim { of: Contender::DrctlToTwo, against: Contender::Drctl, at_most: None },
];

#[tokio::main]
async fn main() -> Outcome<()> {
    // Cargo adds `--bench`.
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (divisor, runs) = if quick { (10, 1) } else { (1, 3) };

    let directory = tempfile::Builder::new().prefix("drctl-bench").tempdir()?;
    println!("Starting PostgreSQL and an S3 server.");
    let cluster = Cluster::start_with(
        ClusterOptions::new(15)
            .setting("shared_buffers", "256MB")
            .setting("max_wal_size", "8GB")
            .setting("checkpoint_timeout", "1h")
            .setting("autovacuum", "off"),
    )
    .await?;
    let ground = prepare(directory.path(), cluster).await?;

    println!("Writing the database.");
    ground.cluster.execute("postgres", &[&format!("CREATE DATABASE {DATABASE}")]).await?;
    let mut connection = ground.cluster.connect(DATABASE).await?;
    database::fill(&mut connection, divisor).await?;
    drop(connection);
    let size: u64 = ground.cluster.text(DATABASE, "pg_database_size(current_database())").await?.parse()?;
    println!("It has {} rows and {:.2} GB.\n", database::rows(divisor), size as f64 / 1e9);

    let mut series: Vec<Series> = BACKUPS.into_iter().chain(RESTORES).map(Series::new).collect();
    for run in 1..=runs {
        for one in &mut series {
            let cost = measure(&ground, one.contender, divisor).await?;
            let (wall, processor) = (cost.usage.wall.as_secs_f64(), cost.usage.processor.as_secs_f64());
            println!(
                "run {run} of {runs}: {:<38} {wall:>6.1} s wall {processor:>6.1} s processor",
                one.contender.title()
            );
            one.costs.push(cost);
        }
        // The next round must not find a fuller store, nor a catalog of what is gone.
        succeed(ground.aws("s3 rm --recursive --only-show-errors s3://bench"))?;
        std::fs::remove_dir_all(ground.home())?;
        std::fs::create_dir(ground.home())?;
    }

    println!("\nMedians of {runs}; memory is the most of all.\n");
    println!("{}", table::measurements(&series));
    println!("{}", table::ratios(&series, &AIMS));
    Ok(())
}

async fn measure(ground: &Ground, contender: Contender, divisor: u64) -> Outcome<Cost> {
    let scratch = ground.scratch();
    ground.cluster.execute("postgres", &["CHECKPOINT"]).await?;
    let postmaster = ground.cluster.postmaster()?;
    let before = server_time(postmaster);
    let restored = "restored";
    let usage = usage::measure(ground.command(contender, restored), LIMIT)?;
    let usage = usage.expect_success().map_err(|error| format!("{}: {error}", contender.title()))?;
    let server = server_time(postmaster).saturating_sub(before);
    std::fs::remove_dir_all(&scratch)?;
    std::fs::create_dir(&scratch)?;
    if RESTORES.contains(&contender) {
        prove(ground, restored, divisor).await?;
        ground.cluster.execute("postgres", &[&format!("DROP DATABASE {restored}")]).await?;
    }
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

/// Processor time of the PostgreSQL server so far, backends that ended and those that run.
fn server_time(postmaster: u32) -> Duration {
    usage::tree(postmaster).into_iter().filter_map(usage::processor_time).sum()
}

/// Keys, a bucket, the AWS command line, and policies that name them.
async fn prepare(directory: &Path, cluster: Cluster) -> Outcome<Ground> {
    let address = tokio::task::spawn_blocking(support::radosgw::address).await??;
    let recipients = [key(directory, "operational.key")?, key(directory, "escrow.key")?];
    let ground = Ground {
        directory: directory.to_owned(),
        cluster,
        endpoint: format!("http://{address}"),
        aws: aws()?,
        recipients,
    };
    ground.write_policies()?;
    std::fs::create_dir(ground.scratch())?;
    std::fs::create_dir(ground.home())?;
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
