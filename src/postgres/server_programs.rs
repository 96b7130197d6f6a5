use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::platform::{CancellationToken, ProcessError, Program};

/// What a server may need of an environment.
const HARMLESS: [&str; 8] = [
    "HOME",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NSS_WRAPPER_GROUP",
    "NSS_WRAPPER_PASSWD",
    "PATH",
    "TMPDIR",
    "TZ",
];
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// The first major version with triggers that run when somebody logs in.
const LOGIN_TRIGGERS: u32 = 17;

/// Returns the setting with which a server of this major version runs no event trigger; `None`: it has no such
/// setting, and no trigger that a login runs.
pub fn without_event_triggers(major: u32) -> Option<(&'static str, &'static str)> {
    (major >= LOGIN_TRIGGERS).then_some(("event_triggers", "off"))
}

/// The programs of a server that this host runs.
#[derive(Clone, Debug)]
pub struct ServerPrograms {
    pub directory: PathBuf,
    /// The user and group that run it; `None`: this process's own.
    pub owner: Option<(u32, u32)>,
    /// A program with its arguments that runs the server, such as one without a network; may be empty.
    pub launcher: Vec<OsString>,
    /// Whether the server gets nothing of this process's environment that could be a secret.
    pub clears_environment: bool,
}

impl ServerPrograms {
    /// Returns a program that the owner runs.
    pub fn program(&self, name: &str) -> Program {
        self.launched_by(&[], name)
    }

    /// Returns a program that the owner runs and the launcher starts.
    pub fn launched(&self, name: &str) -> Program {
        let program = self.launched_by(&self.launcher, name);
        if self.clears_environment { program.only_env(&HARMLESS) } else { program }
    }

    fn launched_by(&self, launcher: &[OsString], name: &str) -> Program {
        let as_owner = self.owner.into_iter().flat_map(|(user, group)| {
            let words = [format!("--reuid={user}"), format!("--regid={group}")];
            std::iter::once("setpriv".to_owned()).chain(words).chain(["--init-groups".to_owned()])
        });
        let path = self.directory.join(name).into_os_string();
        let mut words = launcher.iter().cloned().chain(as_owner.map(OsString::from)).chain([path]);
        Program::new(words.next().unwrap_or_default()).args(words)
    }

    /// Lets the server of a data directory read its configuration again.
    pub async fn reload(&self, data: &Path) -> Result<(), ProcessError> {
        let program = self.program("pg_ctl").args(["reload", "-D"]).arg(data);
        program.run(STOPPED_WITHIN, &CancellationToken::new()).await.map(drop)
    }

    /// Stops the server of a data directory, if one runs there. Runs also after an interruption: it has its own
    /// deadline.
    ///
    /// # Errors
    /// It may still run.
    pub async fn stop(&self, data: &Path, mode: &str) -> Result<(), ProcessError> {
        let program = self.program("pg_ctl").args(["stop", "-D"]).arg(data).args(["-m", mode]);
        match program.run(STOPPED_WITHIN, &CancellationToken::new()).await {
            Err(error) if data.join("postmaster.pid").exists() => Err(error),
            // It had ended by itself, or was never started.
            _ => Ok(()),
        }
    }
}
