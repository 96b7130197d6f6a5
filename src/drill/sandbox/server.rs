//! An empty server that a dump is restored into.

use std::path::Path;
use std::time::Duration;

use super::{Sandbox, SandboxError};
use crate::platform::{CancellationToken, ProcessError};
use crate::postgres::{ConnectionParameters, ServerPrograms, Tools, shell, without_event_triggers};
use crate::text::error_chain;

const INITIALIZED_WITHIN: Duration = Duration::from_secs(180);
const STARTED_WITHIN: Duration = Duration::from_secs(120);
const LOG_LINES: usize = 15;
/// The role that owns everything in it.
const SUPERUSER: &str = "postgres";
pub(in crate::drill) const PORT: u16 = 5432;

/// A server of the sandbox that runs.
#[derive(Clone, Debug)]
pub(in crate::drill) struct SandboxServer {
    /// Of its superuser, in database `postgres`.
    pub(in crate::drill) login: ConnectionParameters,
    pub(in crate::drill) version: String,
}

/// Returns the settings of every server of a sandbox: what it would need more memory for than there may be here, and
/// what would reach beyond it if it had a network.
pub(super) fn settings() -> Vec<(&'static str, String)> {
    [
        ("archive_mode", "off"),
        ("shared_buffers", "256MB"),
        ("huge_pages", "try"),
        ("max_logical_replication_workers", "0"),
        ("synchronous_standby_names", ""),
        ("unix_socket_group", ""),
        ("unix_socket_permissions", "0700"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

impl SandboxServer {
    /// Creates an empty cluster of this major version in the sandbox, and starts it.
    /// `tools`: where to look first.
    pub(in crate::drill) async fn start(
        sandbox: &Sandbox,
        tools: Option<&Path>,
        major: u32,
        cancel: &CancellationToken,
    ) -> Result<Self, SandboxError> {
        let mut servers = Tools::servers(tools).await;
        // A dump goes into a server of its own version, or of a newer one.
        servers.sort_by_key(|tools| tools.major);
        let newer = servers.into_iter().find(|tools| tools.major >= major);
        let tools = newer.ok_or(SandboxError::NoServer { major })?;
        let programs = sandbox.programs(tools.directory.clone());
        initialize(&programs, sandbox, cancel).await?;
        begin(&programs, sandbox, tools.major, cancel).await?;
        let directory = sandbox.socket_directory();
        let login = ConnectionParameters::by_socket(&directory, PORT, SUPERUSER, "postgres")
            .map_err(SandboxError::Reach)?;
        Ok(Self { login, version: tools.version })
    }
}

async fn initialize(
    programs: &ServerPrograms,
    sandbox: &Sandbox,
    cancel: &CancellationToken,
) -> Result<(), SandboxError> {
    let program = programs
        .program("initdb")
        .args([
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=trust",
            "--username",
            SUPERUSER,
            "-D",
        ])
        .arg(sandbox.data());
    program.run(INITIALIZED_WITHIN, cancel).await.map(drop).map_err(started)
}

async fn begin(
    programs: &ServerPrograms,
    sandbox: &Sandbox,
    major: u32,
    cancel: &CancellationToken,
) -> Result<(), SandboxError> {
    let confined = sandbox.confined();
    let own = [
        ("listen_addresses", String::new()),
        ("port", PORT.to_string()),
        ("unix_socket_directories", confined.socket_directory.to_string_lossy().into_owned()),
        ("hba_file", confined.hba_file.to_string_lossy().into_owned()),
        ("max_wal_size", "4GB".to_owned()),
        ("maintenance_work_mem", "256MB".to_owned()),
        ("lc_messages", "C".to_owned()),
    ];
    let triggers = without_event_triggers(major).map(|(name, value)| (name, value.to_owned()));
    let settings = own.into_iter().chain(triggers).chain(confined.settings);
    let options: Vec<String> =
        settings.map(|(name, value)| format!("-c {}", shell(&format!("{name}={value}")))).collect();
    let log = sandbox.data().join("drctl.log");
    let program = programs
        .launched("pg_ctl")
        .args(["start", "--wait", "--silent", "-t"])
        .arg(STARTED_WITHIN.as_secs().to_string())
        .arg("-D")
        .arg(sandbox.data())
        .arg("-l")
        .arg(&log)
        .arg("-o")
        .arg(options.join(" "));
    program.run(STARTED_WITHIN + Duration::from_secs(10), cancel).await.map(drop).map_err(|error| match error
    {
        ProcessError::Failed { program, how, code, stderr } => {
            let said = read_log(&log);
            let lines: Vec<String> = said.lines().map(str::to_owned).collect();
            let last = lines[lines.len().saturating_sub(LOG_LINES)..].iter().cloned();
            SandboxError::Start(ProcessError::Failed {
                program,
                how,
                code,
                stderr: stderr.into_iter().chain(last).collect(),
            })
        }
        error => started(error),
    })
}

/// Reads a log in a directory of the server's user: a link there is not followed.
fn read_log(path: &Path) -> String {
    use rustix::fs::{Mode, OFlags, open};
    let file = open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let mut text = Vec::new();
    let _unread = file.map(|file| std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut text));
    String::from_utf8_lossy(&text).into_owned()
}

fn started(error: ProcessError) -> SandboxError {
    match error {
        ProcessError::Interrupted { .. } => SandboxError::Interrupted,
        error => {
            tracing::info!("{}", error_chain(&error));
            SandboxError::Start(error)
        }
    }
}
