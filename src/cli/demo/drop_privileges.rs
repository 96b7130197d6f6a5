use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cli::error::CommandError;
use crate::platform::{CancellationToken, Program};

/// The first of these that exists runs the demo for root.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// Replaces this process by the same command run as another user, in a folder created for it. Returns only on
/// an error.
pub(super) async fn go_on(cancel: &CancellationToken) -> CommandError {
    match replace(cancel).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn replace(cancel: &CancellationToken) -> Result<std::convert::Infallible, CommandError> {
    let (user, group) = user(cancel).await?;
    let folder = tempfile::Builder::new()
        .prefix("drctl-demo-")
        .permissions(Permissions::from_mode(0o711))
        .tempdir()
        .map_err(|error| CommandError::failed(error).context("failed to make a temporary folder"))?;
    let program = folder.path().join("drctl");
    make(folder.path(), &program, user, group).map_err(|error| {
        CommandError::failed(error).context(format!("failed to make `{}`", program.display()))
    })?;
    let error = Command::new("setpriv")
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"))
        .arg("--init-groups")
        .arg(&program)
        .args(std::env::args_os().skip(1))
        .arg("--within")
        .arg(folder.path())
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .env("DRCTL_STATE_DIR", folder.path().join("state"))
        .current_dir("/")
        .exec();
    Err(CommandError::failed(error).context("failed to run `setpriv`"))
}

/// The program itself may be accessible to root only.
fn make(folder: &Path, program: &Path, user: u32, group: u32) -> std::io::Result<()> {
    let this = std::env::current_exe()?;
    if std::fs::hard_link(&this, program).is_err() {
        std::fs::copy(&this, program)?;
    }
    chown(folder, Some(user), Some(group))
}

async fn user(cancel: &CancellationToken) -> Result<(u32, u32), CommandError> {
    for name in USERS {
        if let (Some(user), Some(group)) =
            (ask_id("-u", name, cancel).await, ask_id("-g", name, cancel).await)
        {
            return Ok((user, group));
        }
    }
    Err(CommandError::failed("PostgreSQL refuses to run as root, and there is no user to run it as")
        .hint(format!("Run the demo as another user, or make one called `{}`.", USERS[0])))
}

async fn ask_id(flag: &str, user: &str, cancel: &CancellationToken) -> Option<u32> {
    let finished = Program::new("id").args([flag, user]).run(Duration::from_secs(10), cancel).await.ok()?;
    finished.stdout.trim().parse().ok()
}
