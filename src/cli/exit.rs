use std::ffi::OsString;
use std::process::ExitCode;

/// How a command ended. The numbers are part of drctl's interface; treat one you do not know as a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    /// The command line or the policy is wrong; nothing was touched.
    Usage = 2,
    /// Some of it was done: a source failed, or a copy is missing.
    Partly = 3,
    /// There is nothing to restore.
    Nothing = 10,
    /// Another run holds the lease.
    LeaseHeld = 11,
    CannotDecrypt = 12,
    DrillFailed = 20,
    ObjectiveMissed = 21,
    Undetermined = 22,
    Interrupted = 130,
}

/// Shown below every command's help.
pub const HELP: &str = "\
Exit status:
  0    done
  1    failed
  2    the command line or the policy is wrong; nothing was touched
  3    partly done: a source failed, or a repository does not have the backup
  10   there is nothing to restore
  11   another run holds the lease
  12   no identity given opens the backup
  20   a drill or a check failed, or the restored data is not complete
  21   an objective is missed
  22   the result could not be determined
  130  interrupted
Treat any other as a failure.";

impl Exit {
    /// Returns the meaning as the help has it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "the command line or the policy is wrong; nothing was touched",
            Self::Partly => "partly done: a source failed, or a repository does not have the backup",
            Self::Nothing => "there is nothing to restore",
            Self::LeaseHeld => "another run holds the lease",
            Self::CannotDecrypt => "no identity given opens the backup",
            Self::DrillFailed => "a drill or a check failed, or the restored data is not complete",
            Self::ObjectiveMissed => "an objective is missed",
            Self::Undetermined => "the result could not be determined",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The reader of the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerTerminal {
    /// People, and their scripts.
    Anyone,
    /// PostgreSQL, by `archive_command`: a status above 125 would stop the archiver instead of counting as a
    /// failure.
    Archiver,
    /// PostgreSQL, by `restore_command`: it takes 1 to 125 for the end of the WAL.
    Recovery,
}

/// A status that PostgreSQL does not take for the end of the WAL.
const NOT_THE_END: u8 = 200;
/// 128 + SIGTERM: PostgreSQL sent it, and handles the status accordingly.
const ASKED_TO_END: u8 = 143;
/// The exit status of a panic.
const PANIC: u8 = 101;

impl CallerTerminal {
    /// Recognizes the caller by the raw arguments, since a command line that cannot be parsed has one too.
    pub(super) fn from_arguments(arguments: impl Iterator<Item = OsString>) -> Self {
        let mut words = arguments.skip_while(|word| word != "wal");
        match (words.next(), words.find(|word| word == "push" || word == "fetch")) {
            (Some(_), Some(verb)) if verb == "push" => Self::Archiver,
            (Some(_), Some(_)) => Self::Recovery,
            _ => Self::Anyone,
        }
    }

    /// Returns the exit status of a failed command.
    pub(super) fn failure(self, exit: Exit) -> u8 {
        match (self, exit) {
            (Self::Recovery, Exit::Interrupted) => ASKED_TO_END,
            (Self::Recovery, _) => NOT_THE_END,
            (Self::Archiver, exit) if exit as u8 > 125 => Exit::Failed as u8,
            (_, exit) => exit as u8,
        }
    }

    pub(super) fn panic(self) -> u8 {
        if self == Self::Recovery { NOT_THE_END } else { PANIC }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(words: &str) -> CallerTerminal {
        CallerTerminal::from_arguments(words.split(' ').map(OsString::from))
    }

    #[test]
    fn every_status_means_what_the_help_says() {
        use Exit as E;
        let all = [
            E::Done,
            E::Failed,
            E::Usage,
            E::Partly,
            E::Nothing,
            E::LeaseHeld,
            E::CannotDecrypt,
            E::DrillFailed,
            E::ObjectiveMissed,
            E::Undetermined,
            E::Interrupted,
        ];
        for exit in all {
            let row = format!("  {:<3}  {}\n", exit as u8, exit.meaning());
            assert!(HELP.contains(&row), "{row}");
        }
    }

    #[test]
    fn postgresql_is_never_told_that_a_failure_is_the_end_of_the_log() {
        for words in ["drctl wal fetch a b", "drctl -p x wal fetch", "drctl wal --policy x fetch --wrong"] {
            assert_eq!(caller(words), CallerTerminal::Recovery);
        }
        for exit in [Exit::Failed, Exit::Usage, Exit::CannotDecrypt, Exit::Nothing] {
            assert_eq!(CallerTerminal::Recovery.failure(exit), NOT_THE_END);
        }
        assert_eq!(CallerTerminal::Recovery.failure(Exit::Interrupted), ASKED_TO_END);
        assert_eq!(CallerTerminal::Recovery.panic(), NOT_THE_END);
    }

    #[test]
    fn postgresql_counts_every_failure_to_archive() {
        assert_eq!(caller("drctl wal push db pg_wal/x"), CallerTerminal::Archiver);
        for exit in [Exit::Failed, Exit::Usage, Exit::Interrupted, Exit::Undetermined] {
            assert!((1..=125).contains(&CallerTerminal::Archiver.failure(exit)));
        }
        assert_eq!(caller("drctl status"), CallerTerminal::Anyone);
        assert_eq!(caller("drctl wal status"), CallerTerminal::Anyone);
        assert_eq!(CallerTerminal::Anyone.failure(Exit::Interrupted), 130);
    }
}
