//! All events of a use case, as data.
//!
//! *Invariants.* Use cases never print: they emit events, which observers (terminal, JSON lines, later
//! metrics and notifications) display. An event contains no secrets. Observers must not block: events are
//! emitted from the hot path.
//!
//! *Not here.* How an event is displayed: [`crate::cli`].

mod phase_timer;

use std::sync::Arc;

use serde::Serialize;

use crate::model::{BackupId, RepositoryName, RunId, SourceName};

pub use phase_timer::{PhaseSeconds, PhaseTimer};

/// One event. Serialised with its name as `kind`; consumers ignore unknown ones.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    RunBegan {
        run: RunId,
        verb: &'static str,
    },
    SourceBegan {
        source: SourceName,
        backup: BackupId,
    },
    /// A phase began; the one before it ended.
    PhaseBegan {
        phase: Phase,
    },
    PhaseEnded {
        phase: Phase,
        seconds: f64,
    },
    /// Progress of the bytes of `subject`. `total` is absent if unknown, and an estimate if `estimated`.
    /// Emitted a few times per second at most.
    Progress {
        subject: String,
        bytes: u64,
        total: Option<u64>,
        estimated: bool,
    },
    /// Progress as reported by AWS; once for each change.
    Status {
        subject: String,
        /// As in AWS's API: `creating`.
        status: String,
        percent: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    ArtifactStored {
        backup: BackupId,
        artifact: String,
        plain_bytes: u64,
        stored_bytes: u64,
    },
    /// A repository was given up for this run; the run continues with the others and ends `degraded`.
    RepositoryLost {
        repository: RepositoryName,
        reason: String,
    },
    BackupStored {
        backup: BackupId,
        repositories: Vec<RepositoryName>,
    },
    SourceFailed {
        source: SourceName,
        reason: String,
    },
    ObjectChecked {
        repository: RepositoryName,
        backup: BackupId,
        object: String,
        good: bool,
    },
    /// Information for the user that does not change the outcome.
    Notice {
        message: String,
    },
    Warning {
        message: String,
    },
}

/// The phases that are timed and reported, each by this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Prepare,
    Inspect,
    Globals,
    Dump,
    Capture,
    BaseBackup,
    Snapshot,
    RecoveryPoint,
    CopyToRegions,
    Details,
    Commit,
    AwaitLog,
    Fetch,
    Combine,
    CreateDatabase,
    Load,
    Analyze,
    Compare,
    Publish,
    Settings,
    Recover,
    CreateInstance,
    Available,
    Members,
    LogIn,
    Validate,
    Hydrate,
    RestoreJob,
    TurnOnBackups,
    FirstBackup,
    Verify,
    Copy,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Inspect => "inspect",
            Self::Globals => "globals",
            Self::Dump => "dump",
            Self::Capture => "capture",
            Self::BaseBackup => "base backup",
            Self::Snapshot => "snapshot",
            Self::RecoveryPoint => "recovery point",
            Self::CopyToRegions => "copy to regions",
            Self::Details => "details",
            Self::Commit => "commit",
            Self::AwaitLog => "await log",
            Self::Fetch => "fetch",
            Self::Combine => "combine",
            Self::CreateDatabase => "create database",
            Self::Load => "load",
            Self::Analyze => "analyze",
            Self::Compare => "compare",
            Self::Publish => "publish",
            Self::Settings => "settings",
            Self::Recover => "recover",
            Self::CreateInstance => "create instance",
            Self::Available => "available",
            Self::Members => "members",
            Self::LogIn => "log in",
            Self::Validate => "validate",
            Self::Hydrate => "hydrate",
            Self::RestoreJob => "restore job",
            Self::TurnOnBackups => "turn on backups",
            Self::FirstBackup => "first backup",
            Self::Verify => "verify",
            Self::Copy => "copy",
        }
    }
}

/// A receiver of events.
pub trait Observer: Send + Sync {
    fn observe(&self, event: &Event);
}

/// The events of one run; cheap to clone, and silent by default.
#[derive(Clone, Default)]
pub struct Events(Arc<Vec<Box<dyn Observer>>>);

impl Events {
    pub fn to(observers: Vec<Box<dyn Observer>>) -> Self {
        Self(Arc::new(observers))
    }

    pub fn emit(&self, event: &Event) {
        self.0.iter().for_each(|observer| observer.observe(event));
    }

    pub fn notice(&self, message: impl Into<String>) {
        self.emit(&Event::Notice { message: message.into() });
    }

    pub fn warning(&self, message: impl Into<String>) {
        self.emit(&Event::Warning { message: message.into() });
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Events({} observers)", self.0.len())
    }
}
