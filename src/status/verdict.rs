use std::time::Duration;

use serde::Serialize;

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveVerdict {
    Ok,
    /// 75 % of the objective is used up.
    Late,
    /// It meets the objective, but a newer backup exists elsewhere.
    Behind,
    /// It meets the objective, but a backup that was there, or should be there, is missing.
    MissingCopy,
    /// It meets the objective, but has backups that cannot be relied on: the last check found them damaged,
    /// they have damaged pages, or the archived WAL is of another server.
    BadCopy,
    /// Its marker was removed: its contents can be restored, and no backup is written there.
    NoMarker,
    /// It meets the objective, and no more WAL arrives from the server.
    Stalled,
    /// It could not be reached, so nothing is promised.
    NotReached,
    /// This host's clock, or that of a host that took backups, is wrong: the possible loss is unknown.
    WrongClock,
    /// The latest WAL is not recoverable: some before it is missing.
    Gap,
    /// Some WAL was damaged when it was last read: what follows is not recoverable.
    BadLog,
    /// WAL whose archiving was confirmed to the server is missing there.
    Lost,
    /// The base backup that counts has damaged pages, and no other leads anywhere.
    DamagedPages,
    /// The policy asks for base backups or WAL, and no base backup is restorable.
    NoBase,
    /// A restore now would lose more than the objective allows.
    ObjectiveMissed,
    /// The restorable data is of another cluster than the server of the policy, or of another database than
    /// the current owner of the name.
    OtherCluster,
    /// There is nothing to restore.
    Nothing,
}

impl ObjectiveVerdict {
    /// Returns the verdict for a loss of this duration.
    pub(crate) fn of_loss(loses: Duration, rpo: Duration) -> Self {
        match loses {
            loses if loses > rpo => Self::ObjectiveMissed,
            loses if loses > rpo * 3 / 4 => Self::Late,
            _ => Self::Ok,
        }
    }

    pub(super) fn of_age(age: Option<Duration>, rpo: Duration) -> Self {
        age.map_or(Self::Nothing, |age| Self::of_loss(age, rpo))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Behind => "behind",
            Self::MissingCopy => "missing copy",
            Self::BadCopy => "bad copy",
            Self::NoMarker => "no marker",
            Self::Stalled => "stalled",
            Self::NotReached => "not reached",
            Self::WrongClock => "wrong clock",
            Self::Gap => "gap",
            Self::BadLog => "bad log",
            Self::Lost => "lost",
            Self::DamagedPages => "damaged pages",
            Self::NoBase => "no base backup",
            Self::ObjectiveMissed => "objective missed",
            Self::OtherCluster => "another cluster",
            Self::Nothing => "nothing to restore",
        }
    }
}
