use std::io::{self, Read};
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;

use super::process::{Group, Tail};
use super::{CancellationToken, ProcessError, ProcessOutcome, Program};

const BUFFER: usize = 256 << 10;

/// Why a child with a stream as input failed.
#[derive(Debug, Error)]
pub enum PipeStdinError {
    /// The stream broke; the child was killed before it could take the partial input for complete.
    #[error("failed to read the input of `{program}`")]
    Input {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl Program {
    /// Runs to the end with `input` as its standard input. Discards its standard output.
    ///
    /// A child that succeeds without reading everything is a success only if the rest of `input` can be read
    /// to its end: a stream may be verified only there.
    pub async fn feed(
        &self,
        mut input: impl Read + Send + 'static,
        deadline: Duration,
        cancel: &CancellationToken,
    ) -> Result<ProcessOutcome, PipeStdinError> {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| self.start_failed(source))?;
        let group = Group::from_child(&child);
        let stderr = Tail::follow(child.stderr.take(), self.stderr_lines, self.keeps, self.hidden.clone());
        let stdin = child.stdin.take();
        let work = tokio::task::spawn_blocking(move || {
            let mut stdin = stdin;
            let broken = stdin.as_mut().and_then(|pipe| copy(&mut input, pipe).err());
            if broken.is_some() {
                group.kill();
            }
            // Closed only now: for the child this is the end of a complete stream.
            drop(stdin);
            let status = child.wait();
            (broken, status, stderr.end(), input)
        });
        let outcome = self.attend(group, deadline, cancel, work).await?;
        let follow = |source| ProcessError::Follow { program: self.name(), source };
        let broke = |source| PipeStdinError::Input { program: self.name(), source };
        let (broken, status, stderr, mut input) = outcome.map_err(|error| follow(io::Error::other(error)))?;
        if let Some(source) = broken {
            return Err(broke(source));
        }
        self.judge(status.map_err(follow)?, &stderr)?;
        let rest = tokio::task::spawn_blocking(move || io::copy(&mut input, &mut io::sink()));
        rest.await.map_err(|error| follow(io::Error::other(error)))?.map_err(broke)?;
        Ok(ProcessOutcome { stdout: String::new(), stderr })
    }
}

/// Copies until either side ends. Only a failure of the source is an error: the child reports its own.
fn copy(source: &mut impl Read, pipe: &mut impl io::Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if pipe.write_all(&buffer[..count]).is_err() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    fn sh(script: &str) -> Program {
        Program::new("/bin/sh").arg("-c").arg(script)
    }

    /// Some bytes, then an error.
    struct Breaks(usize);

    impl Read for Breaks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("cut"));
            }
            let count = buffer.len().min(self.0);
            self.0 -= count;
            Ok(count)
        }
    }

    #[tokio::test]
    async fn a_child_reads_all_of_it() {
        let input = io::repeat(1).take(1_000_000);
        sh("test $(wc -c) = 1000000").feed(input, SOON, &CancellationToken::new()).await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_that_breaks_kills_the_child_before_it_takes_it_for_the_end() {
        let marker = tempfile::tempdir().unwrap();
        let done = marker.path().join("done");
        let script = format!("cat > /dev/null; touch {}", done.display());
        let error = sh(&script).feed(Breaks(500_000), SOON, &CancellationToken::new()).await.unwrap_err();
        assert!(matches!(error, PipeStdinError::Input { .. }), "{error}");
        assert!(!done.exists());
    }

    #[tokio::test]
    async fn a_stream_that_turns_out_bad_after_the_child_has_ended_is_a_failure() {
        let error = sh("head -c 10 > /dev/null").feed(Breaks(500_000), SOON, &CancellationToken::new()).await;
        assert!(matches!(error, Err(PipeStdinError::Input { .. })), "{error:?}");
    }

    #[tokio::test]
    async fn a_failure_that_is_accepted_makes_no_bad_stream_good() {
        let accepting = || sh("head -c 10 > /dev/null; exit 1").accept_failure(|_| true);
        let error = accepting().feed(Breaks(500_000), SOON, &CancellationToken::new()).await;
        assert!(matches!(error, Err(PipeStdinError::Input { .. })), "{error:?}");
        let input = io::repeat(1).take(500_000);
        accepting().feed(input, SOON, &CancellationToken::new()).await.unwrap();
    }

    #[tokio::test]
    async fn the_childs_own_failure_is_told_as_its_own() {
        let error = sh("head -c 10 > /dev/null; echo no >&2; exit 4")
            .feed(Breaks(500_000), SOON, &CancellationToken::new())
            .await;
        assert_eq!(error.unwrap_err().to_string(), "`sh` failed with exit status 4: no");
    }
}
