//! A cluster whose write-ahead log drctl archives, as its user would set it up.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use drctl::model::{Encoding, WalName};
use drctl::pipeline::{Identities, unseal};
use rustix::process::{Pid, Signal, kill_process};

use super::Outcome;
use super::postgres::{Cluster, ClusterOptions, owner};
use super::system::{Place, System};

const ARCHIVED_WITHIN: Duration = Duration::from_secs(180);
const STEP: Duration = Duration::from_millis(50);

pub(crate) struct Archiving {
    pub(crate) system: System,
    pub(crate) cluster: Cluster,
    /// What the server runs as drctl.
    pub(crate) drctl: PathBuf,
}

impl Archiving {
    /// `wal`: lines of the policy's settings for it.
    pub(crate) async fn start(places: &[Place], wal: &str, options: ClusterOptions) -> Outcome<Self> {
        let system = System::new("postgres://postgres@127.0.0.1/postgres", places)?;
        system.append(&format!("methods = [\"base\", \"wal\"]\n\n[sources.database.wal]\n{wal}"))?;
        let drctl = system.hand_to_server()?;
        let options = options
            .setting("archive_mode", "on")
            .setting("archive_command", &format!("{} wal push %p", drctl.display()))
            // Everything stays, to be compared with what was archived.
            .setting("wal_keep_size", "4GB");
        let cluster = Cluster::start_with(options).await?;
        system.rewrite("postgres://postgres@127.0.0.1/postgres", &cluster.url("postgres"))?;
        let tools = format!("kind = \"postgres\"\ntools = \"{}\"", cluster.programs().display());
        system.rewrite("kind = \"postgres\"", &tools)?;
        Ok(Self { system, cluster, drctl })
    }

    /// Settings of the policy's base backups, e.g. `method = "data-directory"`.
    pub(crate) fn base(&self, settings: &str) -> Outcome<()> {
        self.system.append(&format!("[sources.database.base]\n{settings}"))
    }

    /// `drctl backup`, and that the server can go on to archive into what it made.
    pub(crate) async fn backup(&self, code: i32, arguments: &[&str]) -> Outcome<super::system::Run> {
        let _script = self.system.hand_to_server()?;
        let run = self.run_as_server(&[&["backup"], arguments].concat()).await?;
        if run.code == Some(code) {
            Ok(run)
        } else {
            Err(format!("drctl backup {arguments:?}: {run:#?}").into())
        }
    }

    pub(crate) fn pg_wal(&self) -> PathBuf {
        self.cluster.data().join("pg_wal")
    }

    /// `restore_command` with the operational key.
    pub(crate) fn restore_command(&self, options: &str) -> String {
        let identity = self.system.operational.display();
        format!("{} wal fetch --identity {identity} {options} %f %p", self.drctl.display())
    }

    /// Runs drctl as the server does: as its user, in its data directory. Gives the exit status and what it
    /// said on stderr.
    pub(crate) async fn as_server(&self, arguments: &[&str]) -> Outcome<(i32, String)> {
        let run = self.run_as_server(arguments).await?;
        let code = run.code.ok_or_else(|| format!("killed: {}", run.stderr))?;
        Ok((code, run.stderr))
    }

    /// The same, whole.
    pub(crate) async fn run_as_server(&self, arguments: &[&str]) -> Outcome<super::system::Run> {
        let output = tokio::process::Command::from(self.server_command(arguments)?).output().await?;
        Ok(super::system::Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// drctl as the server runs it, ready to be started.
    pub(crate) fn server_command(&self, arguments: &[&str]) -> Outcome<Command> {
        let mut command = if owner()?.is_some() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(&self.drctl);
            command
        } else {
            Command::new(&self.drctl)
        };
        command.args(arguments).current_dir(self.cluster.data()).stdin(Stdio::null());
        Ok(command)
    }

    /// Fills some segments, and ends the last.
    pub(crate) async fn write(&self, segments: u32) -> Outcome<()> {
        let statement =
            "INSERT INTO filler SELECT g, repeat(md5(random()::text), 8) FROM generate_series(1, 1500) g";
        for _ in 0..segments {
            self.cluster
                .execute(
                    "postgres",
                    &[
                        "CREATE TABLE IF NOT EXISTS filler (n int, t text)",
                        "TRUNCATE filler",
                        statement,
                        "SELECT pg_switch_wal()",
                    ],
                )
                .await?;
        }
        Ok(())
    }

    /// Makes pgbench's tables, of 15 MB each time.
    pub(crate) fn prepare_pgbench(&self, times: u32) -> Outcome<()> {
        let times = times.to_string();
        let output = self.cluster.client("pgbench").args(["-i", "-q", "-s", &times, "postgres"]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(())
    }

    /// pgbench, writing until it is dropped or has done so many transactions.
    pub(crate) fn pgbench(&self, transactions: Option<u32>) -> Outcome<Bench> {
        let mut command = self.cluster.client("pgbench");
        command.args(["-c", "3", "-n"]);
        match transactions {
            Some(count) => command.args(["-t", &count.to_string()]),
            None => command.args(["-T", "600"]),
        };
        command.arg("postgres").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Bench(command.spawn()?))
    }

    /// The files that the server says are archived, or that they still wait.
    fn noted(&self, ending: &str) -> Outcome<Vec<WalName>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.pg_wal().join("archive_status"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(name) = name.strip_suffix(ending) {
                names.push(name.parse()?);
            }
        }
        Ok(names)
    }

    pub(crate) fn archived(&self) -> Outcome<Vec<WalName>> {
        self.noted(".done")
    }

    pub(crate) fn waiting(&self) -> Outcome<Vec<WalName>> {
        self.noted(".ready")
    }

    /// Waits until nothing waits to be archived.
    pub(crate) async fn settle(&self) -> Outcome<()> {
        let begun = Instant::now();
        let mut stands = (self.waiting()?.len(), Instant::now());
        while stands.0 > 0 {
            if begun.elapsed() > ARCHIVED_WITHIN {
                let log = self.cluster.log_tail();
                return Err(format!("{} files still wait:\n{log}", stands.0).into());
            }
            tokio::time::sleep(STEP).await;
            let waiting = self.waiting()?.len();
            if waiting != stands.0 {
                stands = (waiting, Instant::now());
            } else if stands.1.elapsed() > Duration::from_secs(3) {
                // After three failures the server waits for a minute, or for something new.
                self.cluster
                    .execute("postgres", &["SELECT txid_current()", "SELECT pg_switch_wal()"])
                    .await?;
                stands.1 = Instant::now();
            }
        }
        Ok(())
    }

    /// Insists that everything the server was told is archived stands below each of `folders` (the root of a
    /// repository's files), byte for byte. Gives how many files that is.
    pub(crate) fn compare(&self, folders: &[PathBuf]) -> Outcome<usize> {
        let identities = Identities::read(std::slice::from_ref(&self.system.escrow))?;
        let archived = self.archived()?;
        for folder in folders {
            let stored = files_below(&folder.join("shop/database/wal"))?;
            for name in &archived {
                let wanted = std::fs::read(self.pg_wal().join(name.to_string()))
                    .map_err(|error| format!("{name} is not kept: {error}"))?;
                let path = stored
                    .get(&format!("{name}.zst.age"))
                    .ok_or_else(|| format!("{name} was acknowledged and is not in {}", folder.display()))?;
                let bytes = std::fs::read(path)?;
                let mut found = Vec::new();
                unseal(&bytes[..], &[Encoding::Zstd, Encoding::Age], &identities, None)?
                    .read_to_end(&mut found)?;
                if found != wanted {
                    return Err(format!("{name} in {} is not what was archived", folder.display()).into());
                }
            }
        }
        Ok(archived.len())
    }

    /// The processes that this system's drctl runs as now.
    pub(crate) fn running(&self) -> Vec<u32> {
        let mark = format!("DRCTL_POLICY={}", self.system.policy().display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
                found.push(pid);
            }
        }
        found
    }

    /// kill -9 of whatever drctl runs now.
    pub(crate) fn kill_drctl(&self) -> usize {
        let pids = self.running().into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        pids.filter(|pid| kill_process(*pid, Signal::KILL).is_ok()).count()
    }
}

/// A running pgbench. Dropping it ends it.
pub(crate) struct Bench(Child);

impl Bench {
    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Outcome<()> {
        while self.0.try_wait()?.is_none() {
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn files_below(folder: &Path) -> Outcome<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
            }
        }
    }
    Ok(files)
}
