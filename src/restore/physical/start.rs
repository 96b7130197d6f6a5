//! Starts the restored server, waits until it is out of recovery, and verifies where it ended.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::process::Pid;
use serde::Serialize;
use tokio::time::Instant;

use super::layout::SERVER_LOG;
use super::plan::PhysicalRestorePlan;
use super::server_log::{ReplayResult, prove};
use super::{ConfinedStart, PhysicalRestoreError};
use crate::model::{History, Lsn, Timeline};
use crate::platform::{CancellationToken, Program, is_alive};
use crate::postgres::{ServerPrograms, shell, without_event_triggers};
use crate::restore::RestoreError as _;
use crate::run::RunContext;
use crate::text::{error_chain, format_duration};

const STEP: Duration = Duration::from_millis(100);
/// How long a server may work without logging anything: replaying a segment, writing a checkpoint.
const SILENT: Duration = Duration::from_secs(15 * 60);
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
const PROGRAM_WITHIN: Duration = Duration::from_secs(60);
/// How often a free port may be lost to another process.
const ATTEMPTS: u32 = 5;
const TOLD_LINES: usize = 15;
/// The maximum length of a socket's directory, given its file name.
const SOCKET_PATH: usize = 107 - ".s.PGSQL.65535".len() - 1;

/// A server that was started and verified to be at the planned position.
#[derive(Clone, Debug, Serialize)]
pub struct Started {
    pub port: u16,
    /// The directory of its Unix socket; `None`: the path would be too long.
    pub socket_directory: Option<PathBuf>,
    pub log: PathBuf,
    pub process: i32,
    /// The timeline it started.
    pub timeline: Timeline,
    /// The fork position on the previous one.
    pub ended_at: Lsn,
    /// The time of the last replayed transaction; `None`: none was.
    pub last_commit: Option<DateTime<Utc>>,
}

/// The state of the server that was to be started.
#[derive(Clone, Debug, Default)]
pub enum ServerState {
    #[default]
    NotStarted,
    Stopped,
    /// It could not be stopped, and why.
    MayRun(String),
}

/// Starts and verifies the server. `left`: its state, for the case that it is not where it should be.
pub(super) async fn start(
    run: &RunContext,
    plan: &PhysicalRestorePlan,
    left: &mut ServerState,
    notes: &mut Vec<String>,
) -> Result<Started, PhysicalRestoreError> {
    let fixed = plan.steps.start.as_ref().and_then(|start| start.port);
    let mut attempt = 1;
    loop {
        let port = match fixed {
            Some(port) => port,
            None => free_port()?,
        };
        let mut server = ScratchServer::new(plan, port)?;
        if let Some(missing) = server.missing_certificate().await {
            server.without_tls = true;
            if attempt == 1 {
                notes.push(format!(
                    "`ssl` is on, and {} is not here: the server was started without TLS, on this host only, and does not start with its own configuration before it is",
                    missing.display()
                ));
            }
        }
        let outcome = server.run(run, plan, left).await;
        match outcome {
            Ok(started) => return Ok(started),
            Err(PhysicalRestoreError::Start { log, .. })
                if fixed.is_none()
                    && attempt < ATTEMPTS
                    && log.iter().any(|line| line.contains("could not bind")) =>
            {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn free_port() -> Result<u16, PhysicalRestoreError> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let why = |error: std::io::Error| format!("no port is free: {error}");
    bound
        .map(|address| address.port())
        .map_err(|error| PhysicalRestoreError::Start { why: why(error), log: vec![] })
}

/// Stops the server of a directory.
pub(super) async fn stop(programs: &ServerPrograms, directory: &Path, mode: &str) -> ServerState {
    match programs.stop(directory, mode).await {
        Ok(()) => ServerState::Stopped,
        Err(error) => ServerState::MayRun(error_chain(&error)),
    }
}

/// Lets event triggers run again, which were off for drctl's own sessions. Returns a note where that failed.
pub(super) async fn release_event_triggers(plan: &PhysicalRestorePlan) -> Option<String> {
    let is_confined = plan.steps.start.as_ref().is_some_and(|start| start.confined.is_some());
    let was_off = without_event_triggers(plan.major).is_some() && !is_confined;
    let tools = plan.steps.server.as_ref().filter(|_| was_off)?;
    let programs = ServerPrograms {
        directory: tools.directory.clone(),
        owner: plan.steps.owner,
        launcher: vec![],
        clears_environment: false,
    };
    let error = programs.reload(&plan.to).await.err()?;
    Some(format!(
        "event triggers were off while drctl checked what was restored, and stay off until the server reads its configuration again ({}): `SELECT pg_reload_conf()`",
        error_chain(&error)
    ))
}

struct ScratchServer<'p> {
    plan: &'p PhysicalRestorePlan,
    programs: ServerPrograms,
    port: u16,
    log: PathBuf,
    without_tls: bool,
}

impl<'p> ScratchServer<'p> {
    fn new(plan: &'p PhysicalRestorePlan, port: u16) -> Result<Self, PhysicalRestoreError> {
        let tools = plan.steps.server.as_ref().ok_or_else(|| PhysicalRestoreError::Start {
            why: format!("the server programs of PostgreSQL {} are not here", plan.major),
            log: vec![],
        })?;
        let confined = plan.steps.start.as_ref().and_then(|start| start.confined.as_ref());
        let programs = ServerPrograms {
            directory: tools.directory.clone(),
            owner: plan.steps.owner,
            launcher: confined.map(|confined| confined.launcher.clone()).unwrap_or_default(),
            clears_environment: confined.is_some(),
        };
        Ok(Self { plan, programs, port, log: plan.to.join(SERVER_LOG), without_tls: false })
    }

    async fn run(
        &self,
        run: &RunContext,
        plan: &PhysicalRestorePlan,
        left: &mut ServerState,
    ) -> Result<Started, PhysicalRestoreError> {
        let mut seen = None;
        let begun = match self.begin().await {
            Ok(()) => self.wait(run, &mut seen).await,
            Err(error) => Err(error),
        };
        let process = match begun {
            Ok(process) => process,
            Err(error) => {
                *left = match self.stop("immediate").await {
                    ServerState::Stopped if seen.is_none() && error.is_interruption() => ServerState::MayRun(
                        "it has not said which process it is, and may be about to begin".to_owned(),
                    ),
                    left => left,
                };
                return Err(error);
            }
        };
        let ended = self.ended().await;
        match ended.and_then(|ended| prove(plan, &ended).map(|()| ended).map_err(|why| self.unproven(why))) {
            Ok(ended) => Ok(Started {
                port: self.port,
                socket_directory: self.socket_directory().map(Path::to_owned),
                log: self.log.clone(),
                process,
                timeline: ended.timeline,
                ended_at: ended.at,
                // Where it stops after a commit, it does not count that one.
                last_commit: ended.last_commit.max(plan.steps.stop_commit),
            }),
            Err(error) => {
                // It must not be used before an operator has inspected it.
                *left = self.stop("fast").await;
                Err(error)
            }
        }
    }

    fn program(&self, name: &str) -> Program {
        self.programs.program(name)
    }

    fn confined(&self) -> Option<&ConfinedStart> {
        self.plan.steps.start.as_ref()?.confined.as_ref()
    }

    fn socket_directory(&self) -> Option<&Path> {
        if let Some(confined) = self.confined() {
            return Some(&confined.socket_directory);
        }
        (self.plan.to.as_os_str().len() <= SOCKET_PATH).then_some(&self.plan.to)
    }

    /// Its log is read here, whatever its configuration says.
    fn options(&self) -> String {
        let socket = self.socket_directory().map(|path| path.to_string_lossy()).unwrap_or_default();
        let settings = [
            ("data_directory", self.plan.to.to_string_lossy().into_owned()),
            ("listen_addresses", if self.confined().is_some() { "" } else { "127.0.0.1" }.to_owned()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", format!("\"{}\"", socket.replace('"', "\"\"")).replace("\"\"", "")),
            ("logging_collector", "off".to_owned()),
            ("log_destination", "stderr".to_owned()),
            ("log_min_messages", "warning".to_owned()),
            ("log_line_prefix", "%m [%p] ".to_owned()),
            ("lc_messages", "C".to_owned()),
        ];
        let tls = self.without_tls.then(|| ("ssl", "off".to_owned()));
        let hba =
            self.confined().map(|confined| ("hba_file", confined.hba_file.to_string_lossy().into_owned()));
        // Nobody but drctl logs in there.
        let triggers = without_event_triggers(self.plan.major).filter(|_| self.confined().is_some());
        let triggers = triggers.map(|(name, value)| (name, value.to_owned()));
        let of_sandbox = self.confined().map(|confined| confined.settings.clone()).unwrap_or_default();
        let options = settings
            .iter()
            .chain(&tls)
            .chain(&hba)
            .chain(&triggers)
            .chain(&of_sandbox)
            .map(|(name, value)| format!("-c {}", shell(&format!("{name}={value}"))));
        options.collect::<Vec<_>>().join(" ")
    }

    /// Returns a file that TLS needs and that is not on this host, where TLS is on.
    async fn missing_certificate(&self) -> Option<PathBuf> {
        let ask = async |name: &str| {
            let program = self.program("postgres").arg("-D").arg(&self.plan.to).arg("-C").arg(name);
            let said = program.run(PROGRAM_WITHIN, &CancellationToken::new()).await.ok()?.stdout;
            Some(said.trim().to_owned()).filter(|said| !said.is_empty())
        };
        // Where this fails, the start will report why.
        if ask("ssl").await? != "on" {
            return None;
        }
        for name in ["ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file", "ssl_dh_params_file"] {
            if let Some(path) = ask(name).await.map(|path| self.plan.to.join(path))
                && !path.exists()
            {
                return Some(path);
            }
        }
        None
    }

    async fn begin(&self) -> Result<(), PhysicalRestoreError> {
        let program =
            self.programs.launched("pg_ctl").arg("start").arg("--no-wait").arg("-D").arg(&self.plan.to);
        let program = program.arg("-l").arg(&self.log).arg("-o").arg(self.options());
        // It takes an instant. If interrupted, it would be unknown whether a server is running.
        let begun = program.run(PROGRAM_WITHIN, &CancellationToken::new()).await;
        begun.map(drop).map_err(|error| self.failed(error_chain(&error)))
    }

    /// Waits until it accepts connections, which it does only out of recovery. Returns its main process id.
    async fn wait(&self, run: &RunContext, process: &mut Option<i32>) -> Result<i32, PhysicalRestoreError> {
        let mut heard = (0, Instant::now());
        loop {
            // A server that has not reported its process id yet could not be stopped.
            if run.cancel.is_cancelled() && (process.is_some() || heard.1.elapsed() > KNOWN_WITHIN) {
                return Err(PhysicalRestoreError::Interrupted);
            }
            let text = std::fs::read_to_string(self.plan.to.join("postmaster.pid")).unwrap_or_default();
            let named =
                text.lines().next().and_then(|line| line.trim().parse().ok()).filter(|n: &i32| *n > 0);
            *process = named.or(*process);
            // The eighth line is its state.
            if let Some(process) = *process
                && text.lines().nth(7).is_some_and(|line| line.trim() == "ready")
            {
                return Ok(process);
            }
            let is_gone = process.and_then(Pid::from_raw).is_some_and(|process| !is_alive(process));
            let size = std::fs::metadata(&self.log).map_or(0, |log| log.len());
            if size != heard.0 {
                heard = (size, Instant::now());
            }
            let silent = heard.1.elapsed();
            if is_gone || (process.is_none() && silent > PROGRAM_WITHIN) {
                return Err(self.failed("it ended".to_owned()));
            }
            if silent > SILENT {
                let silent = format_duration(SILENT);
                return Err(self.failed(format!("it has said nothing for {silent} and is still not ready")));
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Reads where it ended.
    async fn ended(&self) -> Result<ReplayResult, PhysicalRestoreError> {
        let control = self.program("pg_controldata").arg("-D").arg(&self.plan.to);
        let control = control.run(PROGRAM_WITHIN, &CancellationToken::new()).await;
        let control = control.map_err(PhysicalRestoreError::Program)?.stdout;
        let log = std::fs::read(&self.log)
            .map_err(|source| PhysicalRestoreError::Look { path: self.log.clone(), source })?;
        let log = String::from_utf8_lossy(&log);
        let mut ended = ReplayResult::read(&log, &control).map_err(|why| self.unproven(why))?;
        let path = self.plan.to.join(format!("pg_wal/{}.history", ended.timeline.in_names()));
        let history = std::fs::read_to_string(&path)
            .map_err(|source| PhysicalRestoreError::Look { path: path.clone(), source })?;
        let history =
            History::parse(ended.timeline, &history).map_err(|error| self.unproven(error_chain(&error)))?;
        match history.parent() {
            Some(parent) => {
                (ended.parent, ended.at) = (parent.timeline, parent.until);
                Ok(ended)
            }
            None => Err(self.unproven("the history of its timeline names no other".to_owned())),
        }
    }

    async fn stop(&self, mode: &str) -> ServerState {
        stop(&self.programs, &self.plan.to, mode).await
    }

    fn failed(&self, why: String) -> PhysicalRestoreError {
        PhysicalRestoreError::Start { why, log: self.last_lines() }
    }

    fn unproven(&self, why: String) -> PhysicalRestoreError {
        PhysicalRestoreError::Proof { why, log: self.last_lines() }
    }

    fn last_lines(&self) -> Vec<String> {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(TOLD_LINES)..].to_vec()
    }
}
