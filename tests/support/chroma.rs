//! The real ChromaDB, as a library in Python.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Outcome;

fn python() -> Outcome<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/chroma/bin/python");
    match python.exists() {
        true => Ok(python),
        false => Err(format!("there is no {}: `.ci/install test` installs it", python.display()).into()),
    }
}

fn command(verb: &str, directory: &Path) -> Outcome<Command> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/chroma.py");
    let mut command = Command::new(python()?);
    command.arg(script).arg(verb).arg(directory).env("ANONYMIZED_TELEMETRY", "False");
    Ok(command)
}

/// Makes two collections, `documents` with 400 embeddings and `pictures` with 30.
pub(crate) fn fill(directory: &Path) -> Outcome<()> {
    let done = command("fill", directory)?.output()?;
    if done.status.success() { Ok(()) } else { Err(format!("{done:?}").into()) }
}

/// What the library finds in each collection.
pub(crate) fn counts(directory: &Path) -> Outcome<serde_json::Value> {
    let done = command("counts", directory)?.output()?;
    if !done.status.success() {
        return Err(format!("{done:?}").into());
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}

/// Adds embeddings until it is ended. Dropping it kills it.
pub(crate) struct Writer(Child);

impl Writer {
    pub(crate) fn start(directory: &Path) -> Outcome<Self> {
        use std::io::{BufRead as _, BufReader};
        let mut child = command("write", directory)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.as_mut().ok_or("stdout")?;
        let mut line = String::new();
        BufReader::with_capacity(1, stdout).read_line(&mut line)?;
        let writer = Self(child);
        if line.trim() == "writing" { Ok(writer) } else { Err(format!("it does not write: {line}").into()) }
    }

    /// Ends it, and returns how many it has added.
    pub(crate) fn end(mut self) -> Outcome<u64> {
        use std::io::Read as _;
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().ok_or("stdout")?.read_to_string(&mut text)?;
        self.0.wait()?;
        Ok(text.trim().parse::<u64>()? - 10_000)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _may_have_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
