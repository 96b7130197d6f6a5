use std::fmt;

use serde::Serialize;

use super::WalInventory;
use crate::model::Timeline;

/// The archive and its server diverged onto different timelines: another server archives, too, or this one
/// has not archived since it switched timelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TimelineDivergence {
    /// The newest one in the archive.
    pub newest: Timeline,
    pub server: Timeline,
}

impl TimelineDivergence {
    /// Detects a divergence; `None`: the newest timeline is the server's own.
    pub fn detect(newest: Option<Timeline>, server: Timeline) -> Option<Self> {
        let newest = newest.filter(|newest| *newest != server)?;
        Some(Self { newest, server })
    }

    pub fn of_held(held: &WalInventory, server: Timeline) -> Option<Self> {
        Self::detect(held.timelines().last(), server)
    }
}

impl fmt::Display for TimelineDivergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { newest, server } = self;
        if newest > server {
            write!(
                f,
                "timelines diverged: WAL of timeline {newest} is archived, and the policy's server is on timeline {server}; another server, such as a restored one, archives to the same location"
            )
        } else {
            write!(
                f,
                "no WAL of the server's timeline {server} is archived: the newest is of timeline {newest}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_timeline_is_told_and_in_which_way_it_is_another() {
        let timeline = |number| Timeline::new(number).unwrap();
        assert_eq!(TimelineDivergence::detect(None, timeline(1)), None);
        assert_eq!(TimelineDivergence::detect(Some(timeline(2)), timeline(2)), None);
        let told = |newest, server| {
            TimelineDivergence::detect(Some(timeline(newest)), timeline(server)).unwrap().to_string()
        };
        assert!(told(3, 1).contains("another server"));
        assert!(told(1, 2).contains("is archived: the newest is of timeline 1"));
    }
}
