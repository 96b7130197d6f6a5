use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::RunTyped;
use super::files::DemoFiles;
use super::server::{DemoServer, stop_command};
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::style;
use crate::cli::{Context, Global};

/// The folder and the servers, and the means to run commands.
pub(super) struct DemoSandbox {
    // Dropped after the servers were stopped.
    pub(super) server: DemoServer,
    /// Data directories of servers that a restore started.
    recovered: Vec<PathBuf>,
    context: Context,
    drctl: RunTyped,
    folder: Folder,
}

/// Removed with this value, unless it is kept.
struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            let _best_effort = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// What must be true of what was restored.
const CHECK: &str = "
[[drill.checks]]
name = \"there are orders\"
sql = \"select count(*) from orders\"
at_least = 1
";

impl DemoSandbox {
    /// Starts the sandbox, in the folder `within` where one was created for it.
    pub(super) async fn set(
        context: &Context,
        drctl: RunTyped,
        within: Option<PathBuf>,
    ) -> Result<Self, CommandError> {
        let path = match within {
            Some(path) => path,
            None => tempfile::Builder::new()
                .prefix("drctl-demo-")
                .tempdir()
                .map_err(|error| CommandError::failed(error).context("failed to make a temporary folder"))?
                .keep(),
        };
        let folder = Folder { path, is_kept: false };
        let server = DemoServer::start(&folder.path.join("server"), &context.cancel).await?;
        let global = Global { policy: Some(folder.path.join("drctl.toml")), ..context.global.clone() };
        let context = Context {
            global,
            output: context.output.clone(),
            clock: context.clock.clone(),
            cancel: context.cancel.clone(),
            refuse_words: context.refuse_words,
        };
        Ok(Self { server, recovered: vec![], context, drctl, folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder.path
    }

    pub(super) fn policy(&self) -> PathBuf {
        self.folder.path.join("drctl.toml")
    }

    /// Returns the directory in the role of the first region.
    pub(super) fn primary(&self) -> PathBuf {
        self.folder.path.join("us-east-1")
    }

    pub(super) fn files(&self) -> DemoFiles {
        DemoFiles::below(&self.folder.path)
    }

    /// Returns the directory that the whole application is restored to.
    pub(super) fn restored(&self) -> PathBuf {
        self.folder.path.join("restored")
    }

    pub(super) fn operational(&self) -> PathBuf {
        self.folder.path.join("keys/operational.key")
    }

    pub(super) fn escrow(&self) -> PathBuf {
        self.folder.path.join("safe/escrow.key")
    }

    /// Returns the directory of the copy, in the role of the second region.
    pub(super) fn copy(&self) -> PathBuf {
        self.folder.path.join("us-west-2")
    }

    /// Returns the directory that the cluster is recovered to.
    pub(super) fn recovered(&self) -> PathBuf {
        self.folder.path.join("recovered")
    }

    /// Records that a server will run in this directory, to be stopped with the others.
    pub(super) fn note_recovered(&mut self, data: PathBuf) {
        self.recovered.push(data);
    }

    /// Creates the directories of the backups and of the keys, which a user would have.
    pub(super) fn make_places(&self) -> Result<(), CommandError> {
        let mut private = DirBuilder::new();
        private.mode(0o700);
        let keys = [self.operational(), self.escrow()];
        let folders = keys.iter().filter_map(|key| key.parent().map(Path::to_owned));
        for path in [self.primary(), self.copy()].into_iter().chain(folders) {
            private.create(&path).map_err(|error| {
                CommandError::failed(error).context(format!("failed to make `{}`", path.display()))
            })?;
        }
        Ok(())
    }

    /// Adds the application's other sources to the policy, and puts the catalog into the sandbox rather than this host's
    /// state directory.
    pub(super) fn complete_policy(&self) -> Result<(), CommandError> {
        let catalog = self.folder.path.join("catalog.db");
        let sources = self.files().policy();
        OpenOptions::new()
            .append(true)
            .open(self.policy())
            .and_then(|mut file| {
                write!(file, "{sources}\n[catalog]\nurl = \"sqlite:{}\"\n{CHECK}", catalog.display())
            })
            .map_err(CommandError::failed)
    }

    /// Deletes the first region, and the key for daily work.
    pub(super) fn lose_region(&self) -> Result<(), CommandError> {
        std::fs::remove_dir_all(self.primary())
            .and_then(|()| std::fs::remove_file(self.operational()))
            .map_err(CommandError::failed)
    }

    pub(super) fn heading(&self, text: &str) {
        self.context.output.line(format!("\n{}{text}{:#}", style::STRONG, style::STRONG));
    }

    pub(super) fn say(&self, text: impl AsRef<str>) {
        self.context.output.line(text);
    }

    /// Shows a command and runs it, in this process, as if it had been typed.
    pub(super) async fn drctl(&self, arguments: &[&str]) -> Result<(), CommandError> {
        self.drctl_ending(arguments, &[Exit::Done]).await.map(drop)
    }

    /// Runs a command that may end with any of these statuses.
    pub(super) async fn drctl_ending(&self, arguments: &[&str], ends: &[Exit]) -> Result<Exit, CommandError> {
        self.show(&typed(arguments));
        let exit = (self.drctl)(arguments, &self.context).await?;
        if self.context.cancel.is_cancelled() {
            return Err(CommandError::new(Exit::Interrupted, "interrupted"));
        }
        if ends.contains(&exit) {
            return Ok(exit);
        }
        Err(CommandError::new(exit, format!("`{}` failed", typed(arguments))))
    }

    /// Shows a command that is not drctl's.
    pub(super) fn show(&self, command: &str) {
        self.say(format!("{}${:#} {command}", style::FAINT, style::FAINT));
    }

    /// Stops the server and removes everything.
    pub(super) async fn teardown(mut self) -> Result<(), CommandError> {
        let mut stopped = Ok(());
        for data in &self.recovered {
            stopped = stopped.and(self.server.stop_in(data).await);
        }
        stopped = stopped.and(self.server.stop().await);
        if stopped.is_ok() {
            self.heading("The servers are stopped and their files are deleted.");
        }
        stopped
    }

    /// Keeps everything, and prints how to continue and how to remove it.
    pub(super) fn leave(mut self) {
        self.folder.is_kept = true;
        let folder = self.folder.path.clone();
        let program = std::env::current_exe().unwrap_or_else(|_| "drctl".into());
        let output = &self.context.output;
        output.line(format!(
            "\n{}Everything is kept in {}.{:#}",
            style::STRONG,
            folder.display(),
            style::STRONG
        ));
        for line in [
            "To continue, for example:".to_owned(),
            format!("  alias drctl={}", program.display()),
            format!("  export DRCTL_POLICY={}", folder.join("drctl.toml").display()),
            "  drctl list".to_owned(),
            format!("  psql '{}'", self.server.url("shop_restored")),
            "To clean up:".to_owned(),
            format!("  {}", self.server.stop_command()),
        ] {
            output.line(line);
        }
        for data in &self.recovered {
            output.line(format!("  {}", stop_command(data)));
        }
        output.line(format!("  rm -r {}", folder.display()));
    }
}

/// Formats a command as typed, a long one in several lines.
fn typed(arguments: &[&str]) -> String {
    let mut text = "drctl".to_owned();
    for argument in arguments {
        let long = arguments.len() > 6 && argument.starts_with("--");
        text.push_str(if long { " \\\n    " } else { " " });
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,".contains(c);
        if argument.chars().all(plain) {
            text.push_str(argument);
        } else {
            text.push_str(&format!("'{argument}'"));
        }
    }
    text
}
