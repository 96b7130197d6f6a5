use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A folder to run drctl in, with nothing of this machine in its environment.
pub(crate) struct Sandbox(tempfile::TempDir);

impl Sandbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        let folder = crate::support::scratch::folder()?;
        for name in ["host", "safe"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> std::io::Result<Output> {
        Command::new(env!("CARGO_BIN_EXE_drctl"))
            .env_clear()
            .env("HOME", self.path())
            .env("DRCTL_STATE_DIR", self.path().join("state"))
            .current_dir(self.path())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
    }

    /// Exit status, stdout and stderr, as a snapshot shows them: without this folder's name, and without
    /// keys that were just made.
    pub(crate) fn run(&self, arguments: &[&str]) -> std::io::Result<String> {
        let output = self.output(arguments)?;
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(&*self.path().to_string_lossy(), "[folder]");
            text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).map(hidden).collect::<String>()
        };
        let status = output.status.code().map_or("none".to_owned(), |code| code.to_string());
        Ok(format!(
            "status {status}\n--- stdout\n{}--- stderr\n{}",
            text(&output.stdout),
            text(&output.stderr)
        ))
    }
}

fn hidden(word: &str) -> String {
    if word.starts_with("age1") && word.len() > 60 {
        format!("age1[…]{}", &word[62..])
    } else {
        word.to_owned()
    }
}
