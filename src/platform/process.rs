use std::any::Any;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;

use super::hidden_text::Hidden;
use super::{CancellationToken, ExposeSecret as _, SecretString};
use crate::text::format_duration;

/// How many lines of a child's stderr an error shows.
const TAIL_LINES: usize = 20;
/// Maximum bytes of a line of stderr before it is cut.
const LINE_BYTES: usize = 2_000;
/// How long a child may take to terminate before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Why a child failed.
#[derive(Debug, Error)]
pub enum ProcessError {
    #[error("failed to start `{program}`")]
    Start {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to follow `{program}`")]
    Follow {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{program}` {how}{}", tail(.stderr))]
    Failed { program: String, how: String, code: Option<i32>, stderr: Vec<String> },
    #[error("`{program}` was still running after {} and was stopped", format_duration(*.deadline))]
    Deadline { program: String, deadline: Duration },
    #[error("`{program}` was stopped because the run was interrupted")]
    Interrupted { program: String },
}

fn tail(lines: &[String]) -> String {
    let lines = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    if lines.is_empty() { String::new() } else { format!(": {}", lines.join("\n    ")) }
}

/// A child to start: program, arguments, environment.
///
/// Arguments are shown in errors and logs, so a secret is never one of them: it goes through
/// [`Program::env`].
#[derive(Clone)]
pub struct Program {
    path: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    without: Vec<OsString>,
    /// Only these of this process's variables are passed on; `None`: all.
    only: Option<&'static [&'static str]>,
    pub(super) stderr_lines: usize,
    /// Which lines of stderr are kept.
    pub(super) keeps: fn(&str) -> bool,
    /// Whether a failure with these lines on stderr counts as a success.
    accepts: fn(&[String]) -> bool,
    input: Option<Vec<u8>>,
    held: Vec<Arc<dyn Any + Send + Sync>>,
    /// What its stderr is kept and logged without.
    pub(super) hidden: Hidden,
}

impl Program {
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        let mut program = Self {
            path: path.as_ref().to_owned(),
            arguments: vec![],
            environment: vec![],
            without: vec![],
            only: None,
            stderr_lines: TAIL_LINES,
            keeps: |_| true,
            accepts: |_| false,
            input: None,
            held: vec![],
            hidden: Hidden::default(),
        };
        // Messages are matched and shown; they must not depend on the host's language.
        program.environment.push(("LC_ALL".into(), "C".into()));
        program
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets a variable whose value is hidden where the child writes it on its stderr.
    pub fn secret_env(self, name: impl AsRef<OsStr>, value: &SecretString) -> Self {
        self.hide(value.expose_secret()).env(name, value.expose_secret())
    }

    /// Hides a text where the child writes it on its stderr: a child that rejects a secret may repeat it.
    pub fn hide(mut self, text: &str) -> Self {
        self.hidden.add(text);
        self
    }

    /// Removes a variable of this process from the child's environment, unless [`Program::env`] sets it.
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.without.push(name.as_ref().to_owned());
        self
    }

    /// Passes on no variable of this process but these, beside those that [`Program::env`] sets.
    pub fn only_env(mut self, names: &'static [&'static str]) -> Self {
        self.only = Some(names);
        self
    }

    /// Sets how many of the last lines of stderr are kept; an error shows no more than usual.
    pub fn keep_stderr(mut self, lines: usize) -> Self {
        self.stderr_lines = lines;
        self
    }

    /// Keeps only some lines of stderr, if there may be too many.
    pub fn keep_stderr_where(mut self, keeps: fn(&str) -> bool) -> Self {
        self.keeps = keeps;
        self
    }

    /// Accepts an exit status other than 0 as a success depending on the kept lines of stderr. An end by a
    /// signal is never accepted.
    pub fn accept_failure(mut self, accepts: fn(&[String]) -> bool) -> Self {
        self.accepts = accepts;
        self
    }

    /// Sets the child's standard input; empty by default.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Holds a resource of the child, e.g. a file, for as long as this exists.
    pub fn holding(mut self, needed: Arc<dyn Any + Send + Sync>) -> Self {
        self.held.push(needed);
        self
    }

    /// Returns the program's name, for messages.
    pub fn name(&self) -> String {
        std::path::Path::new(&self.path).file_name().unwrap_or(&self.path).to_string_lossy().into_owned()
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(names) = self.only {
            command.env_clear();
            command.envs(names.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        }
        self.without.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.args(&self.arguments).envs(self.environment.iter().cloned()).process_group(0);
        command
    }

    pub(super) fn start_failed(&self, source: std::io::Error) -> ProcessError {
        ProcessError::Start { program: self.path.to_string_lossy().into_owned(), source }
    }

    /// Runs to the end and returns the output. An exit status other than 0 is an error, and so is output that
    /// is not UTF-8.
    pub async fn run(
        &self,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<ProcessOutcome, ProcessError> {
        let (stdout, stderr) = self.run_bytes(deadline, cancel).await?;
        let stdout = String::from_utf8(stdout).map_err(|error| ProcessError::Follow {
            program: self.name(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        })?;
        Ok(ProcessOutcome { stdout, stderr })
    }

    /// Runs to the end and returns its standard output, and the last lines of its stderr. An exit status other than 0
    /// is an error.
    pub async fn run_bytes(
        &self,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<(Vec<u8>, Vec<String>), ProcessError> {
        let mut command = self.command();
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| self.start_failed(source))?;
        let group = Group::from_child(&child);
        let stderr = Tail::follow(child.stderr.take(), self.stderr_lines, self.keeps, self.hidden.clone());
        let stdout = child.stdout.take();
        let stdin = child.stdin.take();
        let input = self.input.clone();
        let work = tokio::task::spawn_blocking(move || {
            let writer = write_input(stdin, input);
            let mut bytes = Vec::new();
            let read = stdout.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes));
            let status = child.wait();
            if let Some(writer) = writer {
                let _ended = writer.join();
            }
            (read, status, bytes, stderr.end())
        });
        let outcome = self.attend(group, deadline, cancel, work).await?;
        let follow = |source| ProcessError::Follow { program: self.name(), source };
        let (read, status, stdout, stderr) = outcome.map_err(|error| follow(std::io::Error::other(error)))?;
        self.judge(status.map_err(follow)?, &stderr)?;
        read.map_err(follow)?;
        Ok((stdout, stderr))
    }

    pub(super) fn judge(&self, status: ExitStatus, stderr: &[String]) -> Result<(), ProcessError> {
        match judge(&self.name(), status, stderr) {
            Err(_) if status.code().is_some() && (self.accepts)(stderr) => Ok(()),
            judged => judged,
        }
    }

    /// Waits for `work`, which follows the child to its end. Ends the child at the deadline or on
    /// cancellation, and still waits: no process is left on return.
    pub(super) async fn attend<T>(
        &self,
        group: Group,
        deadline: Duration,
        cancel: &CancellationToken,
        mut work: tokio::task::JoinHandle<T>,
    ) -> Result<Result<T, tokio::task::JoinError>, ProcessError> {
        let stopped = tokio::select! {
            outcome = &mut work => return Ok(outcome),
            () = tokio::time::sleep(deadline) => ProcessError::Deadline { program: self.name(), deadline },
            () = cancel.cancelled() => ProcessError::Interrupted { program: self.name() },
        };
        group.end();
        let _ended = work.await;
        Err(stopped)
    }

    /// Starts it with its standard output as a stream. Once `cancel` is cancelled, the child is terminated,
    /// then killed.
    pub fn pipe(&self, cancel: &CancellationToken) -> Result<Piped, ProcessError> {
        let mut command = self.command();
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| self.start_failed(source))?;
        let group = Group::from_child(&child);
        write_input(child.stdin.take(), self.input.clone());
        let stderr = Tail::follow(child.stderr.take(), self.stderr_lines, self.keeps, self.hidden.clone());
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| self.start_failed(std::io::Error::other("the child has no standard output")))?;
        let watch = {
            let cancel = cancel.clone();
            tokio::spawn(async move {
                cancel.cancelled().await;
                group.end();
            })
        };
        Ok(Piped {
            program: self.name(),
            child: Some(child),
            group,
            stdout,
            stderr: Some(stderr),
            watch,
            cancel: cancel.clone(),
        })
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.to_string_lossy())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", argument.to_string_lossy()))
    }
}

/// The output of a successful child.
#[derive(Clone, Debug)]
pub struct ProcessOutcome {
    pub stdout: String,
    /// The last lines only.
    pub stderr: Vec<String>,
}

/// A running child whose standard output is read as a stream. Dropping it kills it.
pub struct Piped {
    program: String,
    child: Option<Child>,
    group: Group,
    stdout: ChildStdout,
    stderr: Option<Tail>,
    watch: tokio::task::JoinHandle<()>,
    cancel: CancellationToken,
}

impl Piped {
    /// Returns the process ID, for tests and messages.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Waits for the end, after the stream was read to its end, and checks the exit status. Returns the last
    /// lines of stderr.
    pub fn finish(mut self) -> Result<Vec<String>, ProcessError> {
        let Some(mut child) = self.child.take() else { return Ok(vec![]) };
        let status =
            child.wait().map_err(|source| ProcessError::Follow { program: self.program.clone(), source })?;
        self.watch.abort();
        let stderr = self.stderr.take().map(Tail::end).unwrap_or_default();
        if self.cancel.is_cancelled() {
            return Err(ProcessError::Interrupted { program: self.program.clone() });
        }
        judge(&self.program, status, &stderr)?;
        Ok(stderr)
    }
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stdout.read(buffer)
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        self.watch.abort();
        if let Some(mut child) = self.child.take() {
            self.group.kill();
            let _reaped = child.wait();
        }
    }
}

/// Writes a child's standard input, and closes it.
fn write_input(stdin: Option<ChildStdin>, input: Option<Vec<u8>>) -> Option<JoinHandle<()>> {
    let (mut pipe, bytes) = stdin.zip(input)?;
    Some(std::thread::spawn(move || {
        use std::io::Write as _;
        // A child that ends without reading everything reports it by its exit status.
        let _unread = pipe.write_all(&bytes);
    }))
}

/// Returns an error with a description unless the exit status is 0.
fn judge(program: &str, status: ExitStatus, stderr: &[String]) -> Result<(), ProcessError> {
    if status.success() {
        return Ok(());
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit status {code}"),
        (None, Some(9)) => "was killed (signal 9: manually, or by the kernel when memory ran out)".to_owned(),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    };
    Err(ProcessError::Failed {
        program: program.to_owned(),
        how,
        code: status.code(),
        stderr: stderr.to_vec(),
    })
}

/// A child's process group: the child and all of its descendants.
#[derive(Clone, Copy)]
pub(super) struct Group(Option<Pid>);

impl Group {
    pub(super) fn from_child(child: &Child) -> Self {
        Self(i32::try_from(child.id()).ok().and_then(Pid::from_raw))
    }

    fn signal(self, signal: Signal) -> bool {
        self.0.is_some_and(|group| kill_process_group(group, signal).is_ok())
    }

    pub(super) fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Terminates the group, and kills after [`GRACE`] what is left of it.
    pub(super) fn end(self) {
        if self.signal(Signal::TERM) {
            std::thread::spawn(move || {
                let step = Duration::from_millis(100);
                let mut waited = Duration::ZERO;
                while waited < GRACE
                    && self.0.is_some_and(|g| rustix::process::test_kill_process_group(g).is_ok())
                {
                    std::thread::sleep(step);
                    waited += step;
                }
                self.kill();
            });
        }
    }
}

/// Follows a child's stderr and keeps its last lines.
pub(super) struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Tail {
    pub(super) fn follow(
        stderr: Option<impl Read + Send + 'static>,
        limit: usize,
        keeps: fn(&str) -> bool,
        hidden: Hidden,
    ) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let reader = stderr.map(|pipe| {
            let lines = Arc::clone(&lines);
            std::thread::spawn(move || {
                let mut pipe = BufReader::new(pipe);
                let mut line = Vec::new();
                while matches!(pipe.by_ref().take(LINE_BYTES as u64).read_until(b'\n', &mut line), Ok(1..)) {
                    let text = hidden.without(String::from_utf8_lossy(&line).trim_end());
                    line.clear();
                    if text.is_empty() {
                        continue;
                    }
                    tracing::debug!(target: "drctl::child", "{text}");
                    if !keeps(&text) {
                        continue;
                    }
                    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    if lines.len() >= limit {
                        lines.pop_front();
                    }
                    lines.push_back(text);
                }
            })
        });
        Self { lines, reader }
    }

    pub(super) fn end(self) -> Vec<String> {
        if let Some(reader) = self.reader {
            let _ended = reader.join();
        }
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Program {
        Program::new("/bin/sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn a_failure_shows_the_status_and_the_last_words() {
        let error =
            sh("echo one >&2; echo two >&2; exit 3").run(GRACE, &CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed with exit status 3: one\n    two");
    }

    #[tokio::test]
    async fn a_secret_that_the_child_repeats_is_not_shown() {
        let program = sh("echo \"bad token $TOKEN, really\" >&2; exit 1");
        let program = program.secret_env("TOKEN", &SecretString::from("hush-hush\nsecond line".to_owned()));
        let error = program.run(GRACE, &CancellationToken::new()).await.unwrap_err().to_string();
        assert!(error.contains("bad token [hidden]") && !error.contains("hush"), "{error}");
        assert!(!error.contains("second line") && error.contains("really"), "{error}");
    }

    #[tokio::test]
    async fn a_failure_is_accepted_by_what_was_said_and_never_a_death() {
        let accepts: fn(&[String]) -> bool = |lines| lines == ["kept: fine"];
        let program = |script: &str| {
            sh(script).keep_stderr_where(|line| line.starts_with("kept: ")).accept_failure(accepts)
        };
        let run = async |script: &str| program(script).run(GRACE, &CancellationToken::new()).await;
        let fine = "echo other >&2; echo kept: fine >&2;";
        assert_eq!(run(&format!("{fine} exit 1")).await.unwrap().stderr, ["kept: fine"]);
        run(&format!("{fine} kill -9 $$")).await.unwrap_err();
        run("echo kept: bad >&2; exit 1").await.unwrap_err();
    }

    #[tokio::test]
    async fn a_child_past_its_deadline_is_ended_with_its_children() {
        let begun = std::time::Instant::now();
        let deadline = Duration::from_millis(200);
        let error =
            sh("sleep 60 & sleep 60; wait").run(deadline, &CancellationToken::new()).await.unwrap_err();
        assert!(matches!(error, ProcessError::Deadline { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn a_piped_child_that_dies_is_not_a_success() {
        let cancel = CancellationToken::new();
        let mut child = sh("echo data; kill -9 $$").pipe(&cancel).unwrap();
        let mut text = String::new();
        child.read_to_string(&mut text).unwrap();
        assert_eq!(text, "data\n");
        let error = child.finish().unwrap_err().to_string();
        assert!(error.contains("killed"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn cancelling_ends_a_piped_child() {
        let cancel = CancellationToken::new();
        let mut child = sh("sleep 60").pipe(&cancel).unwrap();
        cancel.cancel();
        let error = tokio::task::spawn_blocking(move || {
            let mut rest = Vec::new();
            child.read_to_end(&mut rest).unwrap();
            child.finish().unwrap_err()
        });
        assert!(matches!(error.await.unwrap(), ProcessError::Interrupted { .. }));
    }
}
