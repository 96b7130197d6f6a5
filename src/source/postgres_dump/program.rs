use std::io::Read;

use thiserror::Error;

use crate::event::Events;
use crate::pipeline::Produce;
use crate::platform::Piped;

/// Lines of stderr that are kept for the final judgement.
pub(crate) const STDERR_LINES: usize = 5_000;
/// The magic bytes of a custom-format archive.
const MAGIC: &[u8; 5] = b"PGDMP";

/// Why a dump failed, or is not accepted although its exit status was 0.
#[derive(Debug, Error)]
pub enum DumpError {
    #[error(transparent)]
    Process(#[from] crate::platform::ProcessError),
    #[error("`{program}` ended well but warned of something that may be missing from the backup: {line}")]
    Warned { program: &'static str, line: String },
    #[error("`{program}` wrote so much on stderr that it could not be judged; its last line: {line}")]
    TooMuchSaid { program: &'static str, line: String },
    #[error("what `pg_dump` wrote is not an archive: it has {size} bytes and does not begin with `PGDMP`")]
    NotAnArchive { size: u64 },
    #[error("what `pg_dumpall` wrote is cut: its last line is missing")]
    Cut,
}

/// A running `pg_dump`, which succeeds only without warnings.
pub(crate) struct Dump {
    child: Piped,
    begin: Vec<u8>,
    size: u64,
    events: Events,
}

impl Dump {
    pub(crate) fn new(child: Piped, events: Events) -> Self {
        Self { child, begin: Vec::with_capacity(MAGIC.len()), size: 0, events }
    }
}

impl Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.child.read(buffer)?;
        let missing = MAGIC.len() - self.begin.len();
        self.begin.extend_from_slice(&buffer[..count.min(missing)]);
        self.size += count as u64;
        Ok(count)
    }
}

impl Produce for Dump {
    fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        let said = self.child.finish().map_err(DumpError::from)?;
        judge("pg_dump", &said, &self.events)?;
        if self.begin != MAGIC {
            return Err(DumpError::NotAnArchive { size: self.size }.into());
        }
        Ok(said)
    }
}

/// Fails on a warning of the program itself, except the one that a full dump may ignore. Warnings of the
/// server are only passed on: they are about the server's state, not about the dump.
pub(crate) fn judge(program: &'static str, said: &[String], events: &Events) -> Result<(), DumpError> {
    let own = format!("{program}: warning: ");
    for line in said {
        if let Some(warning) = line.strip_prefix(&own) {
            // It matters to a restore of the data alone; with the tables, foreign keys are created last.
            if !warning.starts_with("there are circular foreign-key constraints") {
                return Err(DumpError::Warned { program, line: line.clone() });
            }
        } else if line.starts_with("WARNING:") {
            events.warning(line.clone());
        }
    }
    match said.last() {
        Some(line) if said.len() >= STDERR_LINES => {
            Err(DumpError::TooMuchSaid { program, line: line.clone() })
        }
        _ => Ok(()),
    }
}

/// Checks the last line of the globals, which are complete only with it; newer minors add lines after it.
pub(crate) fn check_globals(sql: &str) -> Result<(), DumpError> {
    const TRAILER: &str = "-- PostgreSQL database cluster dump complete";
    if sql.lines().rev().take(20).any(|line| line == TRAILER) { Ok(()) } else { Err(DumpError::Cut) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{CancellationToken, Program};

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_warning_of_the_program_is_a_failure() {
        let said = lines(
            "WARNING:  database \"shop\" has a collation version mismatch\npg_dump: warning: subscriptions not dumped because current user is not a superuser",
        );
        let error = judge("pg_dump", &said, &Events::default()).unwrap_err().to_string();
        assert!(error.contains("subscriptions not dumped"), "{error}");
    }

    #[test]
    fn circular_foreign_keys_are_no_failure() {
        let said = lines(
            "pg_dump: warning: there are circular foreign-key constraints on this table:\npg_dump: detail: staff\npg_dump: hint: You might not be able to restore the dump without using --disable-triggers.",
        );
        judge("pg_dump", &said, &Events::default()).unwrap();
    }

    #[test]
    fn globals_without_their_last_line_are_cut() {
        check_globals(
            "CREATE ROLE a;\n--\n-- PostgreSQL database cluster dump complete\n--\n\n\\unrestrict x\n",
        )
        .unwrap();
        assert!(matches!(check_globals("CREATE ROLE a;\n"), Err(DumpError::Cut)));
    }

    fn ended(script: &str) -> Result<Vec<String>, String> {
        let program = Program::new("/bin/sh").arg("-c").arg(script);
        let child = program.pipe(&CancellationToken::new()).unwrap();
        let mut dump = Box::new(Dump::new(child, Events::default()));
        std::io::copy(&mut dump, &mut std::io::sink()).unwrap();
        dump.finish().map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn only_an_archive_is_an_archive() {
        assert!(ended("printf PGDMP; printf data").is_ok());
        assert!(ended("true").unwrap_err().contains("0 bytes"));
        assert!(ended("echo connected to the wrong thing").unwrap_err().contains("not an archive"));
        assert!(ended("printf PGDMP; exit 1").unwrap_err().contains("exit status 1"));
    }
}
