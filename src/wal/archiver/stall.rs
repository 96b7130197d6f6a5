use std::fmt;

use chrono::{DateTime, Utc};

use crate::policy::WalMethod;
use crate::text::format_time;
use crate::wal::ArchiverFacts;

/// Why nothing is being added to the archive, however intact it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stall {
    /// The server's last attempt failed.
    Failing {
        /// `None` where the server reports no file.
        file: Option<String>,
        at: DateTime<Utc>,
        /// Since the server's counters were reset.
        times: u64,
    },
    NoSlot(String),
    /// The server has removed WAL that the slot required.
    SlotLost(String),
    /// No receiver is connected.
    NotFollowed(String),
}

impl Stall {
    /// Detects a stall from the server's facts. `None`: nothing in them blocks WAL.
    pub fn detect(through: &WalMethod, facts: &ArchiverFacts) -> Option<Self> {
        match through {
            WalMethod::Archive => Self::of_archiver(facts),
            WalMethod::Stream { slot } => Self::of_slot(slot, facts),
        }
    }

    fn of_archiver(facts: &ArchiverFacts) -> Option<Self> {
        let at = facts.last_failed.filter(|_| facts.archive_mode != "off")?;
        let is_last = facts.last_archived.is_none_or(|archived| archived < at);
        is_last.then(|| Self::Failing {
            file: facts.last_failed_file.clone(),
            at,
            times: facts.failed_count.unsigned_abs(),
        })
    }

    fn of_slot(name: &str, facts: &ArchiverFacts) -> Option<Self> {
        let slot = facts.slots.iter().find(|slot| slot.name == name);
        match slot {
            None => Some(Self::NoSlot(name.to_owned())),
            Some(slot) if slot.wal_status.as_deref() == Some("lost") => Some(Self::SlotLost(name.to_owned())),
            Some(slot) if !slot.is_active => Some(Self::NotFollowed(name.to_owned())),
            Some(_) => None,
        }
    }

    /// Returns what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Failing { .. } => {
                "The server log has the message of drctl; `drctl wal push` of that file repeats it."
            }
            Self::NoSlot(_) | Self::SlotLost(_) => {
                "`drctl wal configure --apply` recreates the slot; then take a base backup (`drctl backup --kind base`), since the WAL has a gap."
            }
            Self::NotFollowed(_) => "Is `drctl wal stream` running? If so, its messages have the cause.",
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failing { file, at, times } => {
                let file = file.as_deref().unwrap_or("a file");
                let at = format_time(*at);
                write!(f, "archiving fails: {file} was not archived, last tried at {at}; ")?;
                write!(f, "{times} attempts failed since the server's counters began")
            }
            Self::NoSlot(name) => write!(f, "WAL is not streamed: the server has no slot `{name}`"),
            Self::SlotLost(name) => {
                write!(f, "WAL is not streamed: the server removed the WAL that slot `{name}` needs")
            }
            Self::NotFollowed(name) => write!(f, "WAL is not streamed: slot `{name}` is inactive"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::archiver::facts::{SlotFacts, facts_for_tests};

    #[test]
    fn archiving_stands_still_from_a_failure_until_something_is_archived() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().ok();
        let (early, late) = (time("2026-11-20T12:00:00Z"), time("2026-11-20T12:01:00Z"));
        let facts = |last_failed, last_archived| ArchiverFacts {
            last_failed,
            last_archived,
            last_failed_file: Some("000000010000000000000007".to_owned()),
            failed_count: 3,
            ..facts_for_tests()
        };
        let of = |facts: &ArchiverFacts| Stall::detect(&WalMethod::Archive, facts);
        let failing = of(&facts(late, early)).unwrap().to_string();
        assert!(failing.contains("000000010000000000000007 was not archived"), "{failing}");
        assert!(failing.contains("2026-11-20T12:01:00Z; 3 attempts"), "{failing}");
        assert!(of(&facts(early, None)).is_some());
        assert_eq!(of(&facts(early, late)), None);
        assert_eq!(of(&facts(None, None)), None);
        assert_eq!(of(&ArchiverFacts { archive_mode: "off".to_owned(), ..facts(late, early) }), None);
    }

    #[test]
    fn a_stream_stands_still_without_a_slot_that_someone_follows() {
        let through = WalMethod::Stream { slot: "drctl".to_owned() };
        let of = |slots: &[(&str, bool, &str)]| {
            let slot = |(name, is_active, status): &(&str, bool, &str)| SlotFacts {
                name: (*name).to_owned(),
                is_active: *is_active,
                wal_status: Some((*status).to_owned()),
            };
            Stall::detect(
                &through,
                &ArchiverFacts { slots: slots.iter().map(slot).collect(), ..facts_for_tests() },
            )
        };
        let name = || "drctl".to_owned();
        assert_eq!(of(&[("other", true, "reserved")]), Some(Stall::NoSlot(name())));
        assert_eq!(of(&[("drctl", false, "lost")]), Some(Stall::SlotLost(name())));
        assert_eq!(of(&[("drctl", false, "reserved")]), Some(Stall::NotFollowed(name())));
        assert_eq!(of(&[("drctl", true, "extended")]), None);
    }
}
