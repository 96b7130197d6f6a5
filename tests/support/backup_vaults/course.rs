use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::world::now;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum JobKind {
    Backup,
    Copy,
    Restore,
}

impl JobKind {
    /// Before its end.
    fn states(self) -> &'static [&'static str] {
        match self {
            Self::Backup => &["CREATED", "PENDING", "RUNNING"],
            Self::Copy => &["CREATED", "RUNNING"],
            Self::Restore => &["PENDING", "RUNNING"],
        }
    }
}

/// How a job is going to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed,
    /// Completed, with issues.
    WithMessage(String),
    Failed(String),
    Partial(String),
    Aborted(String),
    /// Its start window passed before it began.
    Expired,
    /// Of a restore of S3: these keys fail, and it says that it completed.
    WithoutKeys(Vec<String>),
}

impl Ending {
    fn state(&self) -> &'static str {
        match self {
            Self::Completed | Self::WithMessage(_) | Self::WithoutKeys(_) => "COMPLETED",
            Self::Failed(_) => "FAILED",
            Self::Partial(_) => "PARTIAL",
            Self::Aborted(_) => "ABORTED",
            Self::Expired => "EXPIRED",
        }
    }

    fn message(&self) -> Option<String> {
        match self {
            Self::Completed => None,
            Self::WithMessage(text) | Self::Failed(text) | Self::Partial(text) | Self::Aborted(text) => {
                Some(text.clone())
            }
            Self::Expired => Some("Backup job expired before completion.".to_owned()),
            Self::WithoutKeys(keys) => {
                Some(format!("Completed with failures: {} objects could not be restored.", keys.len()))
            }
        }
    }
}

/// Where a job is on its way.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) kind: JobKind,
    pub(crate) state: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) ending: Ending,
    entered: Instant,
    pub(crate) is_over: bool,
    pub(crate) ended: Option<DateTime<Utc>>,
}

impl Course {
    pub(super) fn new(kind: JobKind, ending: Ending) -> Self {
        let state = kind.states().first().copied().unwrap_or_default();
        Self { kind, state, message: None, ending, entered: Instant::now(), is_over: false, ended: None }
    }

    pub(super) fn percent(&self) -> String {
        let at = self.kind.states().iter().position(|state| *state == self.state);
        at.map_or("100.0".to_owned(), |at| format!("{}.0", at * 40))
    }

    /// The state it enters now, if it does.
    pub(super) fn step(&mut self, pace: Duration, held: Option<&str>) -> Option<&'static str> {
        if self.is_over || held == Some(self.state) || self.entered.elapsed() < pace {
            return None;
        }
        let states = self.kind.states();
        let at = states.iter().position(|state| *state == self.state)?;
        match states.get(at + 1).filter(|_| self.ending != Ending::Expired) {
            Some(next) => self.state = next,
            None => self.end(self.ending.clone()),
        }
        self.entered = Instant::now();
        Some(self.state)
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.is_over = true;
        self.ended = Some(now());
        self.state = ending.state();
        self.message = ending.message();
        self.ending = ending;
    }
}
