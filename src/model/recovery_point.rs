//! Backups that belong together.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::SourceName;

/// How well the backups of a recovery point fit together. Ordered: the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PointMode {
    /// The application was paused while they were taken: their data is of one time.
    Paused,
    /// They were taken one after the other, in an order in which what a later one has and an earlier one lacks does no harm.
    Ordered,
    /// They were taken apart from each other.
    #[serde(other)]
    Independent,
}

impl PointMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Ordered => "ordered",
            Self::Independent => "independent",
        }
    }
}

impl Display for PointMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The place of a backup in a recovery point. The point's id is that of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointFacts {
    /// Of this backup: that of the point is the worst of its members.
    pub mode: PointMode,
    /// The sources of the point, in the order they were taken; the time of the first is the point's.
    pub members: Vec<SourceName>,
    /// Which of `members` this one is, from 0 on.
    pub position: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_mode_is_the_maximum_and_an_unknown_one_promises_nothing() {
        assert!(PointMode::Paused < PointMode::Ordered && PointMode::Ordered < PointMode::Independent);
        assert_eq!(serde_json::from_str::<PointMode>("\"ordered\"").unwrap(), PointMode::Ordered);
        assert_eq!(serde_json::from_str::<PointMode>("\"frozen\"").unwrap(), PointMode::Independent);
    }
}
