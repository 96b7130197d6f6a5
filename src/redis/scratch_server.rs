//! A server that loads a dump in a private directory, and is gone afterwards.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use thiserror::Error;

use super::{RedisConnection, RedisEndpoint, RedisError, RedisTarget};
use crate::platform::{CancellationToken, Piped, PrivateScratch, ProcessError, Program, is_alive};
use crate::text::visible;

/// The names of the program, the usual one first.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
const STEP: Duration = Duration::from_millis(20);
/// How long a server may take to listen; while it loads, it answers so.
const LISTENS: Duration = Duration::from_secs(60);
/// How many databases it has at least.
const DATABASES: u64 = 16;
const LOG_LINES: usize = 3;

/// Why a dump was not loaded.
#[derive(Debug, Error)]
pub enum ScratchServerError {
    #[error("there is neither `redis-server` nor `valkey-server` on this host")]
    NoProgram,
    #[error("failed to write to the scratch directory")]
    Scratch(#[source] std::io::Error),
    #[error("failed to start a server for it")]
    Start(#[source] ProcessError),
    #[error("the server that was started for it has ended: {}", visible(.log))]
    Ended { log: String },
    #[error(transparent)]
    Server(#[from] RedisError),
}

/// Returns the server's program, where this host has one.
pub fn server_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let named = PROGRAMS.iter().flat_map(|name| places.iter().map(move |place| place.join(name)));
    named.into_iter().find(|program| program.is_file())
}

/// A server on a socket that only this user reaches. It writes nothing; dropping it kills it.
pub struct ScratchServer {
    child: Piped,
    target: RedisTarget,
    _scratch: PrivateScratch,
}

impl std::fmt::Debug for ScratchServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScratchServer({})", self.target.endpoint)
    }
}

impl ScratchServer {
    /// Starts it for the `dump.rdb` of a directory, and waits until it was loaded. `databases`: more than the highest
    /// number of one that has keys.
    pub async fn start(
        directory: &Path,
        dump: &str,
        databases: u64,
        cancel: &CancellationToken,
    ) -> Result<Self, ScratchServerError> {
        let program = server_program().ok_or(ScratchServerError::NoProgram)?;
        let scratch = PrivateScratch::create().map_err(ScratchServerError::Scratch)?;
        let (socket, log) = (scratch.path().join("socket"), scratch.path().join("log"));
        let databases = databases.max(DATABASES).to_string();
        let settings: [(&str, &str); 9] = [
            ("port", "0"),
            ("unixsocketperm", "700"),
            ("dbfilename", dump),
            ("save", ""),
            // With an append-only file it would not read the dump.
            ("appendonly", "no"),
            ("databases", &databases),
            ("daemonize", "no"),
            ("activerehashing", "no"),
            ("maxmemory", "0"),
        ];
        let mut command = Program::new(&program);
        for (name, value) in settings {
            command = command.arg(format!("--{name}")).arg(value);
        }
        for (name, path) in [("unixsocket", &socket), ("logfile", &log), ("dir", &directory.to_owned())] {
            command = command.arg(format!("--{name}")).arg(path);
        }
        let child = command.pipe(cancel).map_err(ScratchServerError::Start)?;
        let target = RedisTarget {
            endpoint: RedisEndpoint::Unix(socket.clone()),
            user: None,
            password: None,
            sentinel_master: None,
            authority: None,
        };
        let server = Self { child, target, _scratch: scratch };
        server.wait_until_loaded(&log, cancel).await?;
        Ok(server)
    }

    pub async fn connect(&self) -> Result<RedisConnection, RedisError> {
        RedisConnection::open(&self.target).await
    }

    async fn wait_until_loaded(
        &self,
        log: &Path,
        cancel: &CancellationToken,
    ) -> Result<(), ScratchServerError> {
        let begun = Instant::now();
        let process = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        loop {
            if cancel.is_cancelled() {
                return Err(RedisError::Interrupted.into());
            }
            let answer = match self.connect().await {
                Ok(mut connection) => connection.call(&["PING"]).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(_) => return Ok(()),
                Err(_) if !process.is_some_and(is_alive) => {
                    return Err(ScratchServerError::Ended { log: last_lines(log) });
                }
                Err(RedisError::Loading { .. }) => {}
                Err(error) if begun.elapsed() > LISTENS => return Err(error.into()),
                Err(_) => {}
            }
            tokio::time::sleep(STEP).await;
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> =
        text.lines().rev().filter(|line| !line.trim().is_empty()).take(LOG_LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
