//! A script of `sh`, whose output is passed on line by line while it runs.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::process::{Group, Program};
use super::{CancellationToken, ProcessError};

/// How long output is awaited after the end: what a script leaves running may keep the pipe open.
const DRAIN: Duration = Duration::from_secs(2);
/// A longer line is cut.
const LINE_BYTES: u64 = 1 << 20;

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptEnd {
    Exited(i32),
    Killed(i32),
    Deadline,
    Interrupted,
}

/// Takes lines of output, of stdout and stderr in the order in which they were written.
pub type OnLine = Arc<dyn Fn(&str) + Send + Sync>;

impl Program {
    /// Runs it to its end, with its output passed on. Ends it and its children at the deadline or on cancellation.
    ///
    /// # Errors
    /// Where it cannot be started or followed; how it ended is no error.
    pub async fn run_lines(
        &self,
        deadline: Duration,
        cancel: &CancellationToken,
        on_line: OnLine,
    ) -> Result<ScriptEnd, ProcessError> {
        let (reader, writer) = std::io::pipe().map_err(|source| self.start_failed(source))?;
        let errors = writer.try_clone().map_err(|source| self.start_failed(source))?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(writer).stderr(errors);
        let spawned = command.spawn();
        // It holds the writing ends of the pipe, which would never end.
        drop(command);
        let mut child = spawned.map_err(|source| self.start_failed(source))?;
        let group = Group::from_child(&child);
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || {
            use std::io::Read as _;
            let mut pipe = BufReader::new(reader);
            let mut line = Vec::new();
            while matches!(pipe.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line), Ok(1..)) {
                on_line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
                line.clear();
            }
            let _gone = done.send(());
        });
        let work = tokio::task::spawn_blocking(move || {
            let status = child.wait();
            let _late = ended.recv_timeout(DRAIN);
            status
        });
        let status = match self.attend(group, deadline, cancel, work).await {
            Ok(status) => status,
            Err(ProcessError::Deadline { .. }) => return Ok(ScriptEnd::Deadline),
            Err(ProcessError::Interrupted { .. }) => return Ok(ScriptEnd::Interrupted),
            Err(error) => return Err(error),
        };
        let follow = |source| ProcessError::Follow { program: self.name(), source };
        let status = status.map_err(|error| follow(std::io::Error::other(error)))?.map_err(follow)?;
        Ok(match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
            (Some(code), _) => ScriptEnd::Exited(code),
            (None, signal) => ScriptEnd::Killed(signal.unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    async fn run(script: &str, deadline: Duration) -> (ScriptEnd, Vec<String>) {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let own = Arc::clone(&lines);
        let on_line: OnLine = Arc::new(move |line: &str| own.lock().unwrap().push(line.to_owned()));
        let program = Program::new("/bin/sh").args(["-eu", "-c", script]);
        let end = program.run_lines(deadline, &CancellationToken::new(), on_line).await.unwrap();
        let lines = lines.lock().unwrap().clone();
        (end, lines)
    }

    #[tokio::test]
    async fn lines_are_passed_on_in_order_and_what_is_left_running_lives() {
        let (end, lines) = run("echo a; echo b >&2; echo c; exit 3", DRAIN).await;
        assert_eq!((end, lines), (ScriptEnd::Exited(3), ["a", "b", "c"].map(str::to_owned).to_vec()));
        let begun = std::time::Instant::now();
        let (end, lines) = run("sleep 30 & echo $!", Duration::from_secs(20)).await;
        assert_eq!(end, ScriptEnd::Exited(0));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let process = rustix::process::Pid::from_raw(lines[0].parse().unwrap()).unwrap();
        assert!(super::super::is_alive(process));
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        assert_eq!(run("sleep 30", Duration::from_millis(100)).await.0, ScriptEnd::Deadline);
    }
}
