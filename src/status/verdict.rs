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
    /// Inside the objective, and the server's log does not come any more.
    Stalled,
    /// It could not be reached, so nothing is promised.
    NotReached,
    /// What is archived now cannot be recovered: some log before it is missing.
    Gap,
    /// Some log was bad when it was last read: what comes after it cannot be recovered.
    BadLog,
    /// The server was told that some log is archived there, and it is not.
    Lost,
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
            Self::Stalled => "stalled",
            Self::NotReached => "not reached",
            Self::Gap => "gap",
            Self::BadLog => "bad log",
            Self::Lost => "lost",
            Self::ObjectiveMissed => "objective missed",
            Self::OtherCluster => "another cluster",
            Self::Nothing => "nothing to restore",
        }
    }
}
