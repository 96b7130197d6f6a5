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
  20   a drill failed
  21   an objective is missed
  22   it could not be determined
  130  interrupted
Treat any other as a failure.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
