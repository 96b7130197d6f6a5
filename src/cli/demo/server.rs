use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::error::CommandError;
use crate::platform::{CancellationToken, Program};
use crate::postgres::Tools;

/// The role that owns everything in the throw-away server.
const ROLE: &str = "postgres";
const INITDB_WITHIN: Duration = Duration::from_secs(120);
const PG_CTL_WITHIN: Duration = Duration::from_secs(90);

/// A temporary PostgreSQL server that listens on a socket accessible to this user (and its own) only.
pub(super) struct DemoServer {
    directory: PathBuf,
    tools: Tools,
    started: bool,
}

impl DemoServer {
    /// Creates a cluster in `directory`, which must not exist, and starts it.
    pub(super) async fn start(directory: &Path, cancel: &CancellationToken) -> Result<Self, CommandError> {
        let tools = Tools::find_server().await.map_err(CommandError::failed)?;
        std::fs::create_dir(directory)
            .and_then(|()| std::fs::set_permissions(directory, Permissions::from_mode(0o700)))
            .map_err(|error| {
                CommandError::failed(error).context(format!("failed to make `{}`", directory.display()))
            })?;
        let mut server = Self { directory: directory.to_owned(), tools, started: false };
        server
            .program("initdb")?
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth=trust",
                "--username",
                ROLE,
                "-D",
            ])
            .arg(server.data())
            .run(INITDB_WITHIN, cancel)
            .await
            .map_err(CommandError::failed)?;
        // From here on it may be running, even if pg_ctl is interrupted.
        server.started = true;
        let settings = format!(
            "-c listen_addresses='' -c fsync=off -c wal_level=replica -c archive_mode=on -k '{}'",
            server.directory.display()
        );
        let started = server
            .program("pg_ctl")?
            .args(["start", "--wait", "--silent", "-D"])
            .arg(server.data())
            .arg("-l")
            .arg(server.directory.join("log"))
            .arg("-o")
            .arg(settings)
            .run(PG_CTL_WITHIN, cancel)
            .await;
        match started {
            Ok(_) => Ok(server),
            Err(error) => {
                let log = std::fs::read_to_string(server.directory.join("log")).unwrap_or_default();
                server.stop().await?;
                Err(CommandError::failed(error).context(format!("PostgreSQL did not start: {}", log.trim())))
            }
        }
    }

    /// Returns the major version of the server's programs.
    pub(super) fn major(&self) -> u32 {
        self.tools.major
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user={ROLE}", self.directory.display())
    }

    /// Returns the command that stops the server, for a demo that is kept.
    pub(super) fn stop_command(&self) -> String {
        stop_command(&self.data())
    }

    /// Stops the server. Runs also after an interruption, so it has its own deadline and no cancellation.
    pub(super) async fn stop(&mut self) -> Result<(), CommandError> {
        if !std::mem::take(&mut self.started) {
            return Ok(());
        }
        self.stop_in(&self.data()).await
    }

    /// Stops the server of another data directory, if one runs there.
    pub(super) async fn stop_in(&self, data: &Path) -> Result<(), CommandError> {
        let stopped = self
            .program("pg_ctl")?
            .args(["stop", "--wait", "--silent", "-m", "immediate", "-D"])
            .arg(data)
            .run(PG_CTL_WITHIN, &CancellationToken::new())
            .await;
        match stopped {
            Ok(_) => Ok(()),
            // It never started.
            Err(_) if !data.join("postmaster.pid").exists() => Ok(()),
            Err(error) => {
                Err(CommandError::failed(error).context("failed to stop the throw-away PostgreSQL"))
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn program(&self, name: &'static str) -> Result<Program, CommandError> {
        self.tools.program(name).map_err(CommandError::failed)
    }
}

/// Returns a command that stops the server of a data directory, also when root types it.
pub(super) fn stop_command(data: &Path) -> String {
    format!("while kill -INT $(head -1 {}/postmaster.pid); do sleep 0.1; done 2>/dev/null", data.display())
}
