use std::time::Duration;

use serde::Serialize;

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveVerdict {
    Ok,
    /// Three quarters of the objective are gone.
    Late,
    /// Inside the objective, but a newer backup is elsewhere.
    Behind,
    /// Inside the objective, but a backup that was there is not any more, or one that should be there is not.
    MissingCopy,
    /// Inside the objective, but there are backups that cannot be counted on: the last check found them bad, or they
    /// hold damaged pages.
    BadCopy,
    /// Its marker was removed: what it holds can be restored, and no backup is written there.
    NoMarker,
    /// Inside the objective, and the server's log does not come any more.
    Stalled,
    /// It could not be reached, so nothing is promised.
    NotReached,
    /// This host's clock, or the one of a host that took backups, is wrong: how much would be lost is not known.
    WrongClock,
    /// What is archived now cannot be recovered: some log before it is missing.
    Gap,
    /// Some log was bad when it was last read: what comes after it cannot be recovered.
    BadLog,
    /// The server was told that some log is archived there, and it is not.
    Lost,
    /// The base backup that counts holds damaged pages, and no other leads anywhere.
    DamagedPages,
    /// The policy asks for base backups or WAL, and no base backup can be restored.
    NoBase,
    /// Restoring it now would lose more than the objective allows.
    ObjectiveMissed,
    /// What there is to restore is of another cluster than the server of the policy, or of another database than
    /// the one that has its name now.
    OtherCluster,
    /// There is nothing to restore.
    Nothing,
}

impl ObjectiveVerdict {
    /// Where restoring would lose so much.
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
